//! The few documents that sidegate serves itself: its key set, and the metadata of the protected resource.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use serde_json::json;

use super::problem;
use crate::{
    config::Config,
    jose::mint::Minter,
    proxy::{routes::RouteError, upstream::ResponseBody},
};

/// By path. They come before the routes, so that no upstream can answer in their place.
pub(super) struct Documents {
    key_set: Option<(String, Document)>,
    metadata: Option<(String, Document)>,
}

pub(super) struct Document {
    media_type: &'static str,
    body: Bytes,
}

impl Documents {
    pub(super) fn new(config: &Config, minter: Option<&Minter>) -> Documents {
        let keys = config.internal_jwt.as_ref().zip(minter.and_then(Minter::public_jwks));
        Documents {
            key_set: keys.map(|(settings, keys)| {
                let document = Document { media_type: "application/jwk-set+json", body: keys.clone() };
                (settings.jwks_path.clone(), document)
            }),
            metadata: config.resource.identifier.as_ref().map(|identifier| {
                let own = config.authority.iter().map(|authority| authority.issuer.as_str());
                let foreign = config.issuers.iter().map(|issuer| issuer.issuer.as_str());
                let issuers: Vec<&str> = own.chain(foreign).collect();
                let mut scopes: Vec<&str> = config
                    .routes
                    .iter()
                    .filter_map(|route| route.policy.as_ref())
                    .flat_map(|policy| policy.scopes_all.iter().chain(&policy.scopes_any))
                    .map(String::as_str)
                    .collect();
                scopes.sort_unstable();
                scopes.dedup();
                // RFC 9728, section 2.
                let metadata = json!({
                    "resource": problem::without_slash(&identifier.to_string()),
                    "authorization_servers": issuers,
                    "scopes_supported": scopes,
                    "bearer_methods_supported": ["header"],
                });
                let document = Document { media_type: "application/json", body: metadata.to_string().into() };
                (problem::metadata_path(identifier), document)
            }),
        }
    }

    /// The document at the canonical path `path`.
    pub(super) fn find(&self, path: &str) -> Option<&Document> {
        let mut all = self.key_set.iter().chain(&self.metadata);
        all.find(|(at, _)| at == path).map(|(_, document)| document)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.key_set.is_none() && self.metadata.is_none()
    }

    pub(super) fn key_set(&self, path: &str) -> Option<Bytes> {
        self.key_set.as_ref().filter(|(at, _)| at == path).map(|(_, document)| document.body.clone())
    }
}

impl Document {
    pub(super) fn answer(&self, method: &Method) -> Result<Response<ResponseBody>, RouteError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(RouteError::MethodNotAllowed { allow: HeaderValue::from_static("GET, HEAD") });
        }
        let mut response = Response::new(ResponseBody::from(self.body.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        Ok(response)
    }
}
