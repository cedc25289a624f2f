//! Authorization codes (RFC 6749, section 4.1.3): bound to client, redirect and challenge, and good once.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::{
    Grants,
    opening::{First, Start},
    trail::Trail,
};
use crate::{
    config::Client,
    model::{Secret, TokenError, TokenGrant},
    session::{Code, SessionId, Spent, record::RevocationReason},
    telemetry::audit::Event,
};

/// What the client has sent.
pub(super) struct Redemption<'a> {
    pub code: &'a Secret<String>,
    pub redirect_uri: Option<&'a str>,
    pub verifier: Option<&'a Secret<String>>,
    pub resources: &'a [String],
}

impl Grants {
    pub(super) async fn redeem(
        &self,
        client: &Client,
        redemption: Redemption<'_>,
        trail: &mut Trail,
    ) -> Result<TokenGrant, TokenError> {
        if redemption.verifier.is_some_and(|verifier| !is_verifier(verifier.expose())) {
            return Err(TokenError::invalid_request("code_verifier is malformed").because("verifier_malformed"));
        }
        let (id, code) = self.find_code(redemption.code).await?;
        trail.session = Some(id);
        trail.subject = Some(code.granted.subject.clone());
        check(&code, client, &redemption)?;
        if !self.still_vouches(&code.granted) {
            return Err(TokenError::invalid_grant().because("account_changed"));
        }
        self.check_still_granted(client, &code.granted)?;
        let first = First { resources: redemption.resources, nonce: code.nonce.as_deref(), ..First::default() };
        let Start { opening, reply } = self.start(client, id, code.granted, code.held, &first)?;
        let _alone = match &opening.access {
            Some(access) => self.to_them_alone(access, &opening.client, &opening.granted).await?,
            None => None,
        };
        let (spent, tokens) = self.sessions.redeem(opening).await?;
        match spent {
            Spent::Now(_) => Ok(TokenGrant { refresh_token: tokens.refresh, ..reply }),
            // Somebody else has had it in their hands, before us or after us (RFC 6749, section 4.1.2). Whoever comes
            // here knows everything that a good redemption knows; anything less has been refused above.
            Spent::Before => {
                self.sessions.revoke(id, RevocationReason::CodeReuse).await?;
                trail.event = Some(Event::CodeReused);
                Err(TokenError::invalid_grant().because("code_reused"))
            }
            Spent::Unknown => Err(TokenError::invalid_grant().because("code_expired")),
        }
    }

    async fn find_code(&self, code: &Secret<String>) -> Result<(SessionId, Code), TokenError> {
        let unknown = || TokenError::invalid_grant().because("code_unknown");
        let presented = self.sessions.ring().read_code(code.expose()).ok_or_else(unknown)?;
        let found = self.sessions.find_code(presented.session).await?;
        let code = found.filter(|code| code.digest == presented.digest).ok_or_else(unknown)?;
        Ok((presented.session, code))
    }
}

fn check(code: &Code, client: &Client, redemption: &Redemption<'_>) -> Result<(), TokenError> {
    let refused = |cause: &str| Err(TokenError::invalid_grant().because(cause));
    if code.client != *client.id {
        return refused("other_client");
    }
    let redirect_fits = match (&code.redirect_uri, redemption.redirect_uri) {
        (Some(asked), given) => given == Some(asked),
        (None, None) => true,
        // It was left to the registration, which has one.
        (None, Some(given)) => client.redirect_uris.iter().all(|only| only == given),
    };
    if !redirect_fits {
        return refused("redirect_uri_differs");
    }
    match (&code.challenge, redemption.verifier) {
        (None, None) => Ok(()),
        (Some(_), None) => refused("verifier_missing"),
        (Some(challenge), Some(verifier)) if fits(challenge, verifier) => Ok(()),
        (Some(_), Some(_)) => refused("verifier_wrong"),
        // Somebody took the challenge out of the authorization request (RFC 9700, section 2.1.1).
        (None, Some(_)) => {
            let error = TokenError::invalid_request("there was no code_challenge for this code_verifier");
            Err(error.because("verifier_without_challenge"))
        }
    }
}

/// S256 (RFC 7636, section 4.6).
fn fits(challenge: &str, verifier: &Secret<String>) -> bool {
    let digest = digest::digest(&digest::SHA256, verifier.expose().as_bytes());
    verify_slices_are_equal(BASE64URL.encode(digest).as_bytes(), challenge.as_bytes()).is_ok()
}

/// RFC 7636, section 4.1.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}
