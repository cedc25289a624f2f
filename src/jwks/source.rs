//! Where the keys of an issuer come from: discovery, a URL, a file.

use std::{path::Path, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::{
    config::{Issuer, KeySource},
    fetch::{Bounds, FetchError, Fetcher},
    jose::keys::{KeySet, KeySetError, SET_BYTES, Skipped},
};

/// Why the keys could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("discovery document: {0}")]
    Discovery(FetchError),
    #[error("the discovery document is not one")]
    NotDiscovery,
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    #[error("the discovery document has a `jwks_uri` that is not https")]
    InsecureKeys,
    #[error("key set: {0}")]
    Keys(FetchError),
    #[error("key set file: {0}")]
    File(std::io::ErrorKind),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Loads the key set of `issuer` once.
///
/// # Errors
/// What failed, in words that name no content.
pub async fn load(fetcher: &Fetcher, issuer: &Issuer) -> Result<(KeySet, Vec<Skipped>), SourceError> {
    let document = match &issuer.keys {
        KeySource::Discovery(url) => {
            let document = fetcher.get_json(url, BOUNDS).await.map_err(SourceError::Discovery)?;
            let keys = jwks_uri(&document, url, &issuer.issuer)?;
            fetcher.get_json(&keys, BOUNDS).await.map_err(SourceError::Keys)?
        }
        KeySource::JwksUri(url) => fetcher.get_json(url, BOUNDS).await.map_err(SourceError::Keys)?,
        KeySource::JwksFile(file) => read(file.path()).await?.into(),
        KeySource::Shared(secret) => {
            return Ok((KeySet::shared(secret.expose(), &issuer.algorithms), Vec::new()));
        }
        KeySource::None => return Ok((KeySet::default(), Vec::new())),
    };
    Ok(KeySet::parse(&document)?)
}

/// The `jwks_uri` of a discovery document (OpenID Connect Discovery 1.0 section 4.3): only of the very issuer, and only
/// https, unless the document itself came without.
fn jwks_uri(document: &[u8], origin: &Url, issuer: &str) -> Result<Url, SourceError> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
        jwks_uri: String,
    }
    let document: Discovery = serde_json::from_slice(document).map_err(|_| SourceError::NotDiscovery)?;
    if document.issuer != issuer {
        return Err(SourceError::OtherIssuer);
    }
    let keys = Url::parse(&document.jwks_uri).map_err(|_| SourceError::NotDiscovery)?;
    match keys.scheme() {
        "https" => Ok(keys),
        "http" if origin.scheme() == "http" => Ok(keys),
        _ => Err(SourceError::InsecureKeys),
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    use tokio::io::AsyncReadExt;
    let file = tokio::fs::File::open(path).await.map_err(|error| SourceError::File(error.kind()))?;
    let mut document = Vec::new();
    // One byte more than may be, so that too long is seen.
    let mut bounded = file.take(SET_BYTES as u64 + 1);
    bounded.read_to_end(&mut document).await.map_err(|error| SourceError::File(error.kind()))?;
    Ok(document)
}

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(5), bytes: SET_BYTES };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_that_came_by_https_may_not_lead_to_http() {
        let lead = |origin: &str, keys: &str| {
            let document = format!(r#"{{"issuer":"i","jwks_uri":"{keys}"}}"#);
            jwks_uri(document.as_bytes(), &Url::parse(origin).unwrap(), "i").map(String::from)
        };
        assert_eq!(lead("https://a/", "https://b/jwks").as_deref(), Ok("https://b/jwks"));
        assert_eq!(lead("http://a/", "http://b/jwks").as_deref(), Ok("http://b/jwks"));
        assert_eq!(lead("https://a/", "http://b/jwks"), Err(SourceError::InsecureKeys));
        assert_eq!(lead("http://a/", "file:///jwks"), Err(SourceError::InsecureKeys));
    }
}
