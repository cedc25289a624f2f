//! The signing keys of the local authority: rotated by hand.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{Admin, json, refusal};
use crate::{grants::keys::RotateError, jose::mint::MintError, model::words::stamp};

#[derive(Serialize)]
struct Rotated {
    /// The new key signs from here on; it is published at once.
    signs_from: String,
}

impl Admin {
    /// `?now=true`: the new key signs at once, and whoever keeps the key set may not know it yet.
    pub(super) async fn rotate_keys(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let at_once = match request.uri().query() {
            None => false,
            Some("now=true") => true,
            Some(_) => return refusal(StatusCode::BAD_REQUEST, "query_wrong", "known is `now=true`"),
        };
        let gate = self.gate.load_full();
        let Some(endpoints) = gate.endpoints() else {
            return refusal(StatusCode::NOT_FOUND, "authority_off", "the configuration has no `authority`");
        };
        match endpoints.grants.keys.rotate_now(at_once).await {
            Ok(begun) => json(StatusCode::OK, &Rotated { signs_from: stamp(begun.signs_from) }),
            Err(error) => {
                tracing::warn!(%error, "an operator's request was not carried out");
                let (status, code) = match &error {
                    RotateError::InFolder => (StatusCode::CONFLICT, "keys_in_folder"),
                    RotateError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
                    RotateError::Contended => (StatusCode::SERVICE_UNAVAILABLE, "keys_contended"),
                    RotateError::Mint(MintError::RingFull) => (StatusCode::CONFLICT, "keys_full"),
                    RotateError::Mint(_) => (StatusCode::INTERNAL_SERVER_ERROR, "keys_failed"),
                };
                refusal(status, code, &error.to_string())
            }
        }
    }
}
