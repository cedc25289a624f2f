//! What the authority says of itself (OpenID Connect Discovery, RFC 8414): read once somebody needs it, and kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::{runtime::Handle, sync::watch};
use url::Url;

use crate::{
    config,
    fetch::{Bounds, FetchError, Fetcher},
    json,
    model::UnixTime,
};

/// Where the authority is and what it can, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub token: Url,
    /// `None`: nobody signs in there.
    pub authorization: Option<Url>,
    /// Whether it checks a code challenge made with S256 (RFC 7636); `None`: it does not say.
    pub s256: Option<bool>,
    /// It names itself when it sends a user back (RFC 9207).
    pub names_itself: bool,
    /// When they were read.
    pub read: UnixTime,
}

/// Why there are no metadata. Holds nothing of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("its metadata: {0}")]
    Fetch(#[from] FetchError),
    #[error("its metadata are not a JSON object")]
    NotJson,
    #[error("its metadata name another issuer")]
    OtherIssuer,
    #[error("its metadata: {0} is missing")]
    Missing(&'static str),
    #[error("its metadata: {0} is not an https URL (http: only where the issuer is one on this machine)")]
    NotTrusted(&'static str),
    #[error("its metadata: the reading was cut short")]
    CutShort,
    /// Within a moment of the failure that it holds.
    #[error("{0}")]
    JustFailed(Box<MetadataError>),
}

impl MetadataError {
    /// Whether the authority was asked for this answer.
    pub(super) fn was_asked(&self) -> bool {
        !matches!(self, MetadataError::JustFailed(_) | MetadataError::CutShort)
    }
}

/// The metadata of one issuer: one reading at a time, whoever waits for it.
pub(super) struct Discovery {
    shared: Arc<Shared>,
    background: Handle,
}

struct Shared {
    issuer: String,
    fetcher: Arc<Fetcher>,
    bounds: Bounds,
    known: ArcSwapOption<Metadata>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: Option<Reading>,
    failed: Option<(UnixTime, MetadataError)>,
}

type Outcome = Result<Arc<Metadata>, MetadataError>;
type Reading = watch::Receiver<Option<Outcome>>;

impl Discovery {
    pub(super) fn new(issuer: &str, fetcher: Arc<Fetcher>, bounds: Bounds, background: Handle) -> Discovery {
        let issuer = issuer.to_owned();
        let shared = Shared { issuer, fetcher, bounds, known: ArcSwapOption::empty(), state: Mutex::default() };
        Discovery { shared: Arc::new(shared), background }
    }

    /// The metadata. Those that are older than an hour are read again beside whoever asks; they are good for a day.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn get(&self, now: UnixTime) -> Outcome {
        if let Some(known) = self.shared.known.load_full() {
            let age = known.read.until(now).as_secs();
            if age >= FRESH {
                // Beside: nobody waits for it, and a failure is noted there.
                let _ = self.read(now);
            }
            if age < KEPT {
                return Ok(known);
            }
        }
        let mut reading = self.read(now)?;
        let outcome = reading.wait_for(Option::is_some).await.map_err(|_| MetadataError::CutShort)?;
        outcome.clone().unwrap_or(Err(MetadataError::CutShort))
    }

    /// Begins to read, or joins who does. A failure is the answer to everybody for a moment.
    fn read(&self, now: UnixTime) -> Result<Reading, MetadataError> {
        let (done, reading) = watch::channel(None);
        {
            let mut state = self.shared.state();
            if let Some(reading) = state.reading.as_ref().filter(|reading| reading.has_changed().is_ok()) {
                return Ok(reading.clone());
            }
            if let Some((at, error)) = &state.failed
                && (at.0..at.plus(PAUSE).0).contains(&now.0)
            {
                return Err(MetadataError::JustFailed(Box::new(error.clone())));
            }
            state.reading = Some(reading.clone());
        }
        let shared = self.shared.clone();
        // Detached: whoever asked may hang up, and others wait for the same.
        self.background.spawn(async move {
            let outcome = shared.fetch(now).await.map(Arc::new);
            shared.settle(&outcome, now);
            done.send_replace(Some(outcome));
        });
        Ok(reading)
    }
}

impl Shared {
    async fn fetch(&self, now: UnixTime) -> Result<Metadata, MetadataError> {
        let document = match self.fetcher.get_json(&below(&self.issuer)?, self.bounds).await {
            // Not every authority is an OpenID provider.
            Err(FetchError::Status(StatusCode::NOT_FOUND)) => {
                self.fetcher.get_json(&between(&self.issuer)?, self.bounds).await?
            }
            answer => answer?,
        };
        read(&document, &self.issuer, now)
    }

    fn settle(&self, outcome: &Outcome, now: UnixTime) {
        let mut state = self.state();
        match outcome {
            Ok(metadata) => {
                if state.failed.take().is_some() {
                    tracing::info!(issuer = self.issuer, "the authority outside tells its metadata again");
                }
                self.known.store(Some(metadata.clone()));
            }
            Err(error) => {
                if state.failed.is_none() {
                    tracing::warn!(issuer = self.issuer, %error, "the authority outside cannot be asked for its metadata");
                }
                state.failed = Some((now, error.clone()));
            }
        }
        state.reading = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where OpenID Connect Discovery puts them: behind the path of the issuer.
fn below(issuer: &str) -> Result<Url, FetchError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    Url::parse(&url).map_err(|_| FetchError::Url)
}

/// Where RFC 8414 puts them: between its host and its path.
fn between(issuer: &str) -> Result<Url, FetchError> {
    let mut url = Url::parse(issuer).map_err(|_| FetchError::Url)?;
    let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn read(document: &[u8], issuer: &str, now: UnixTime) -> Result<Metadata, MetadataError> {
    let members = json::object(document).map_err(|_| MetadataError::NotJson)?;
    // Byte for byte: otherwise one issuer could speak in the name of another (RFC 8414, section 3.3).
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(MetadataError::OtherIssuer);
    }
    let plain = issuer.starts_with("http:");
    let endpoint = |name| endpoint(&members, name, plain);
    let methods = members.get("code_challenge_methods_supported").and_then(Value::as_array);
    Ok(Metadata {
        token: endpoint("token_endpoint")?.ok_or(MetadataError::Missing("token_endpoint"))?,
        authorization: endpoint("authorization_endpoint")?,
        s256: methods.map(|methods| methods.iter().any(|method| method == "S256")),
        names_itself: members.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        read: now,
    })
}

/// Secrets travel there, so the same holds as for a URL in the configuration; and who is elsewhere (not `plain`, which is
/// for this machine only) sends us to nothing that listens here without TLS.
fn endpoint(members: &Map<String, Value>, name: &'static str, plain: bool) -> Result<Option<Url>, MetadataError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let url = value.as_str().and_then(|text| Url::parse(text).ok());
            url.filter(|url| config::is_trusted(url) && (plain || url.scheme() == "https"))
                .map(Some)
                .ok_or(MetadataError::NotTrusted(name))
        }
    }
}

/// Seconds after which they are read again beside.
const FRESH: u64 = 3600;
/// Seconds that they are good for while they cannot be read again.
const KEPT: u64 = 24 * 3600;
/// Seconds for which a failure is not tried again.
const PAUSE: u64 = 2;

#[cfg(test)]
mod tests;
