//! Whether an intent is there: asked of whoever made it.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::{Authorization, AuthorizeError, Refusal};
use crate::{
    config,
    fetch::{Bounds, Fetcher},
};

/// Asks the verifier about the intent of `asked`, if there is an intent and a verifier.
///
/// # Errors
/// If it is not there, or nobody can say.
pub async fn verify(asked: &Authorization, settings: &config::Intent, fetcher: &Fetcher) -> Result<(), Refusal> {
    let (Some(intent), Some(url)) = (&asked.intent, &settings.verifier) else { return Ok(()) };
    let question = json!({ "intentid": intent.id, "itype": intent.kind, "client_id": *asked.client.id });
    match fetcher.post_json(url, None, &question, BOUNDS).await {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((StatusCode::NOT_FOUND, _)) => Err(Refusal::invalid_request("INTENT_NOT_FOUND")),
        Ok((status, _)) => {
            tracing::warn!(%status, "the verifier of intents gave no answer that decides");
            Err(AuthorizeError::TemporarilyUnavailable.into())
        }
        Err(error) => {
            tracing::warn!(%error, "the verifier of intents cannot be asked");
            Err(AuthorizeError::TemporarilyUnavailable.into())
        }
    }
}

/// A user is waiting.
const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(5), bytes: 64 * 1024 };
