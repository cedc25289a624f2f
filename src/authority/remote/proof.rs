//! How we prove ourselves to the authority, freshly for each question.

use url::Url;

use crate::{
    config::{self, RemoteAuthentication},
    jose::{Asserter, mint::MintError},
    model::{ClientProof, PresentedClient, Secret, TokenError, UnixTime},
};

pub(super) enum Proof {
    /// A public client, or an API without clients.
    None,
    Secret {
        secret: Secret<String>,
        by_header: bool,
    },
    Assertion(Box<Asserter>),
}

impl Proof {
    pub(super) fn new(authentication: &RemoteAuthentication) -> Result<Proof, MintError> {
        Ok(match authentication {
            RemoteAuthentication::None => Proof::None,
            RemoteAuthentication::Basic(secret) => Proof::Secret { secret: secret.clone(), by_header: true },
            RemoteAuthentication::Form(secret) => Proof::Secret { secret: secret.clone(), by_header: false },
            RemoteAuthentication::PrivateKeyJwt(key) => Proof::Assertion(Box::new(Asserter::new(key)?)),
        })
    }

    /// Who we are to the authority whose token endpoint is `token`.
    pub(super) fn client(
        &self,
        settings: &config::Remote,
        token: &Url,
        now: UnixTime,
    ) -> Result<PresentedClient, TokenError> {
        let id = settings.client_id.clone();
        let (proof, by_header) = match self {
            Proof::None => (ClientProof::None, false),
            Proof::Secret { secret, by_header } => (ClientProof::Secret(secret.clone()), *by_header),
            Proof::Assertion(asserter) => {
                // The issuer alone: what names a token endpoint could be used at another that claims to be the same
                // (draft-ietf-oauth-rfc7523bis). Only where we know none, the endpoint.
                let audience = settings.issuer().map_or(token.as_str(), |issuer| &issuer.issuer);
                let assertion = asserter
                    .assert(&id, audience, now)
                    .map_err(|error| TokenError::unavailable().because(error.to_string()))?;
                (ClientProof::Assertion(assertion), false)
            }
        };
        Ok(PresentedClient { id: Some(id), proof, by_header })
    }
}
