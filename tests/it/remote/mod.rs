//! An authority outside that speaks oauth2: how it is found, how it is asked, and what its answers are good for.

mod answers;
mod id_tokens;
mod metadata;
mod provider;
mod seen;

use self::provider::{Provider, by_secret};
use crate::{
    oauth::house::{authority, client},
    support::Sidegate,
};

/// A configuration with `app`, whose users are those of `provider`.
fn yaml(provider: &Provider, remote: &str) -> String {
    authority(
        &[client("app", "grants: [password, client_credentials, refresh_token], access_token: { format: jwt }")],
        &[],
        &provider.remote(remote),
    )
}

/// A provider, and a sidegate that asks it with a secret and for `scopes`.
async fn house(scopes: &str) -> (Provider, Sidegate) {
    let provider = Provider::start().await;
    let remote = format!("{}, scopes: [{scopes}]", by_secret());
    let sidegate = Sidegate::start(&yaml(&provider, &remote)).await;
    (provider, sidegate)
}
