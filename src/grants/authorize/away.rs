//! Sign-in at the authority outside (OpenID Connect Core, section 3.1): how users are sent there, and what their return
//! says.

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Authorization, AuthorizeError, Parameters, Refusal, Repeated, SignedIn};
use crate::{
    authority::remote::Remote,
    config::SignInAt,
    grants::{Grants, outside::SIGNS_IN},
    model::{ErrorCode, Grant, Secret, TokenError},
    session::record::exposed,
};

/// What must be known of users when they come back. It leaves us sealed only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Away {
    /// RFC 7636, section 4.1.
    #[serde(with = "exposed")]
    verifier: Secret<String>,
    #[serde(with = "exposed")]
    nonce: Secret<String>,
    /// Who they were sent to.
    issuer: String,
    /// It says who it is in each of its answers (RFC 9207).
    names_itself: bool,
}

/// Why nobody has signed in: what the client is told, and a stable word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSignedIn {
    pub refusal: Refusal,
    pub reason: &'static str,
}

impl Grants {
    /// Whether users sign in at the authority outside, and how.
    pub fn sign_in_outside(&self) -> Option<(&Remote, &SignInAt)> {
        let remote = self.outside.as_ref()?.remote();
        Some((remote, remote.settings().sign_in()?))
    }

    /// Where to send a user whose return will say `state`. What the client has asked for stays here: it is ours to give.
    ///
    /// # Errors
    /// What the client is told if nobody knows where, or what to ask for.
    pub async fn send_away(&self, asked: &Authorization, state: &str) -> Result<(Secret<String>, Away), Refusal> {
        let Some((remote, sign_in)) = self.sign_in_outside() else { return Err(AuthorizeError::ServerError.into()) };
        let page = remote.sign_in_page(self.sessions.now()).await.map_err(|error| {
            let cause = error.cause.as_deref().unwrap_or_default();
            tracing::warn!(cause, "users cannot be sent to the authority outside");
            Refusal::from(AuthorizeError::TemporarilyUnavailable)
        })?;
        let away = Away::new(remote, page.names_itself).map_err(|_| Refusal::from(AuthorizeError::ServerError))?;
        Ok((Secret::new(location(page.url, remote, sign_in, asked, state, &away).into()), away))
    }

    /// Who signed in, by `answer`, which the browser brought back from where it was sent with `away`.
    ///
    /// # Errors
    /// Why nobody did.
    pub async fn welcome_back(
        &self,
        away: &Away,
        asked: &Authorization,
        answer: &Parameters<'_>,
    ) -> Result<SignedIn, NotSignedIn> {
        let (remote, sign_in) = self.sign_in_outside().ok_or(NotSignedIn::broken("authority_removed"))?;
        let code = away.read(asked, answer)?;
        let grant = Grant::AuthorizationCode {
            code,
            redirect_uri: Some(sign_in.redirect_uri.clone()),
            verifier: Some(away.verifier.clone()),
        };
        let now = self.sessions.now();
        let given = remote.ask(grant, SIGNS_IN, now).await.map_err(|error| unredeemed(&error))?;
        self.vouched_by(remote, away, asked, given, now).await
    }
}

impl Away {
    fn new(remote: &Remote, names_itself: bool) -> Result<Away, aws_lc_rs::error::Unspecified> {
        Ok(Away {
            verifier: random::<32>()?,
            nonce: random::<16>()?,
            issuer: remote.settings().issuer().map(|issuer| issuer.issuer.clone()).unwrap_or_default(),
            names_itself,
        })
    }

    pub(super) fn nonce(&self) -> &Secret<String> {
        &self.nonce
    }

    /// S256.
    fn challenge(&self) -> String {
        BASE64URL.encode(digest::digest(&digest::SHA256, self.verifier.expose().as_bytes()))
    }

    /// The code that came back, if one did.
    fn read(&self, asked: &Authorization, answer: &Parameters<'_>) -> Result<Secret<String>, NotSignedIn> {
        let text = |name| answer.text(name).map_err(|Repeated| NotSignedIn::broken("repeated_parameter"));
        // First: what another authority says, also of errors, is none of this one's business.
        match text("iss")? {
            Some(issuer) if *issuer != *self.issuer => return Err(NotSignedIn::broken("other_issuer")),
            None if self.names_itself => return Err(NotSignedIn::broken("issuer_missing")),
            Some(_) | None => {}
        }
        if let Some(error) = text("error")? {
            return Err(refused(&error, asked));
        }
        let code = text("code")?.ok_or(NotSignedIn::broken("code_missing"))?;
        Ok(Secret::new(code.into_owned()))
    }
}

impl NotSignedIn {
    /// Something is wrong between us and the authority: nothing that the client could do better.
    pub(super) fn broken(reason: &'static str) -> NotSignedIn {
        NotSignedIn { refusal: AuthorizeError::ServerError.into(), reason }
    }

    pub(super) fn unavailable(reason: &'static str) -> NotSignedIn {
        NotSignedIn { refusal: AuthorizeError::TemporarilyUnavailable.into(), reason }
    }
}

/// The authorization request (OpenID Connect Core, section 3.1.2.1).
fn location(mut url: Url, remote: &Remote, sign_in: &SignInAt, asked: &Authorization, state: &str, away: &Away) -> Url {
    let settings = remote.settings();
    let given = |name: &str| sign_in.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", &sign_in.redirect_uri)
        .append_pair("scope", &settings.scopes.to_string())
        .append_pair("state", state)
        .append_pair("nonce", away.nonce.expose())
        .append_pair("code_challenge", &away.challenge())
        .append_pair("code_challenge_method", "S256");
    let prompt = prompt(asked, given("prompt"));
    let max_age = asked.max_age.map(|seconds| seconds.to_string());
    for (name, value) in [
        ("prompt", prompt.as_deref()),
        ("max_age", max_age.as_deref()),
        ("login_hint", asked.login_hint.as_deref()),
        ("ui_locales", asked.ui_locales.as_deref()),
    ] {
        value.map(|value| query.append_pair(name, value));
    }
    query.extend_pairs(sign_in.parameters.iter().filter(|(name, _)| name != "prompt"));
    drop(query);
    url
}

/// What the authority is to show: what the client wants, and what the configuration adds. Consent to the client is asked
/// here, so that wish stays here.
fn prompt(asked: &Authorization, configured: Option<&str>) -> Option<String> {
    if asked.prompt.none {
        return Some("none".to_owned());
    }
    let mut words: Vec<&str> = configured.unwrap_or_default().split_ascii_whitespace().collect();
    for (wanted, word) in [(asked.prompt.login, "login"), (asked.prompt.select_account, "select_account")] {
        if wanted && !words.contains(&word) {
            words.push(word);
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// What the client is told of an error that the authority sent its user back with.
fn refused(error: &str, asked: &Authorization) -> NotSignedIn {
    // Without prompt=none nobody wanted to hear these.
    let silent = |error| if asked.prompt.none { error } else { AuthorizeError::ServerError };
    let (error, reason) = match error {
        "access_denied" => (AuthorizeError::AccessDenied, "access_denied"),
        "login_required" => (silent(AuthorizeError::LoginRequired), "login_required"),
        "consent_required" => (silent(AuthorizeError::ConsentRequired), "consent_required"),
        "interaction_required" => (silent(AuthorizeError::InteractionRequired), "interaction_required"),
        "account_selection_required" => {
            (silent(AuthorizeError::AccountSelectionRequired), "account_selection_required")
        }
        "temporarily_unavailable" => (AuthorizeError::TemporarilyUnavailable, "temporarily_unavailable"),
        "server_error" => (AuthorizeError::ServerError, "server_error"),
        "invalid_request" => (AuthorizeError::ServerError, "invalid_request"),
        "invalid_scope" => (AuthorizeError::ServerError, "invalid_scope"),
        "unauthorized_client" => (AuthorizeError::ServerError, "unauthorized_client"),
        "unsupported_response_type" => (AuthorizeError::ServerError, "unsupported_response_type"),
        // Its own word stays out of the log: anybody's browser could bring it.
        _ => (AuthorizeError::ServerError, "unknown_error"),
    };
    NotSignedIn { refusal: error.into(), reason }
}

/// What the client is told if the authority gives nothing for its own code.
fn unredeemed(error: &TokenError) -> NotSignedIn {
    let cause = error.cause.as_deref().unwrap_or_default();
    match error.code {
        ErrorCode::TemporarilyUnavailable => {
            tracing::warn!(cause, "the authority outside cannot be asked about its code");
            NotSignedIn::unavailable("authority_unavailable")
        }
        ErrorCode::InvalidGrant => NotSignedIn::broken("code_refused"),
        ErrorCode::ServerError => {
            tracing::warn!(cause, "the authority outside is in trouble with its own code");
            NotSignedIn::broken("authority_broken")
        }
        _ => {
            tracing::error!(cause, "the authority outside gives nothing for its code: look at authority.remote");
            NotSignedIn::broken("authority_refuses_us")
        }
    }
}

/// `N` random bytes, as text.
fn random<const N: usize>() -> Result<Secret<String>, aws_lc_rs::error::Unspecified> {
    let mut random = [0; N];
    rand::fill(&mut random)?;
    Ok(Secret::new(BASE64URL.encode(random)))
}
