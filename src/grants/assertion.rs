//! `private_key_jwt` (RFC 7523): a client proves itself by a token that it has signed.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::Grants;
use crate::{
    config::{Client, ClientAuthentication},
    jose::{KeySet, peek, verify},
    model::{Secret, TokenError},
};

impl Grants {
    /// The client that has signed `assertion`, which is good once.
    pub(super) async fn by_assertion(
        &self,
        id: Option<&str>,
        assertion: &Secret<String>,
    ) -> Result<Arc<Client>, TokenError> {
        let refused = |cause: &str| TokenError::invalid_client().because(cause);
        let peek = peek(assertion.expose()).map_err(|error| refused(error.code()))?;
        let named = peek.issuer().to_owned();
        if id.is_some_and(|id| id != named) {
            return Err(refused("assertion_of_other_client"));
        }
        let client = self.authority.client(&named).filter(|client| client.enabled).cloned();
        let Some((client, ClientAuthentication::PrivateKeyJwt(keys))) =
            client.as_ref().map(|client| (client, &client.authentication))
        else {
            return Err(refused("no_such_client_with_keys"));
        };
        let (keys, _) = KeySet::parse(keys).map_err(|_| refused("client_keys_unreadable"))?;
        let now = self.sessions.now();
        let rules = verify::rules(&named, &TOKEN_TYPES, false);
        let verified = peek.verify(&rules, &keys, now).map_err(|error| refused(error.code()))?;
        let claims = &verified.claims;
        if claims.subject() != Some(&named) {
            return Err(refused("assertion_subject"));
        }
        // Us and nobody else: an assertion for two could be used by one of them at the other.
        if !claims.audiences().eq([self.settings().issuer.as_str()]) {
            return Err(refused("assertion_audience"));
        }
        let leeway = rules.leeway.as_secs();
        if verified.expires > now.plus(LONGEST + leeway) {
            return Err(refused("assertion_lives_too_long"));
        }
        let jti = claims.text("jti").filter(|jti| !jti.is_empty()).ok_or_else(|| refused("assertion_without_jti"))?;
        // Last, so that nobody can spend the `jti` of another.
        let fresh = self.sessions.use_once(key(&named, jti), verified.expires.plus(leeway)).await?;
        if fresh { Ok(client.clone()) } else { Err(refused("assertion_replayed")) }
    }
}

/// Under which an assertion is remembered: lengths first, so that no two pairs have the same.
fn key(client: &str, jti: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"client assertion");
    context.update(&(client.len() as u64).to_be_bytes());
    context.update(client.as_bytes());
    context.update(jti.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// None of the tokens that we make ourselves, nor an access token of anybody.
const TOKEN_TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];
/// Seconds that an assertion may live.
const LONGEST: u64 = 300;
