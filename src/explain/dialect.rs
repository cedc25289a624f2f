//! How the body of a token request is read in a dialect, and what its client would be answered. No store is opened and
//! nobody is asked, so what hangs on a secret, a password or a token is left open. No secret gets into the report: it
//! tells of lengths, and what is written has placeholders from the start.

mod answer;
mod client;
mod members;
mod outside;
mod place;
mod text;

use http::{StatusCode, header, request::Parts};
use serde::Serialize;

pub use self::{
    answer::Answer,
    outside::{Outside, Sent},
    place::{NoSuchPlace, Place},
    text::write,
};
use super::{Detail, Mark, Step};
use crate::{
    config,
    endpoints::BODY_BYTES,
    model::{Grant, Secret, TokenError, TokenRequest, UnixTime},
    session::tokens,
};

/// A token request as it would come in.
pub struct Question {
    pub place: Place,
    pub head: Parts,
    pub body: Secret<Vec<u8>>,
    pub now: UnixTime,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub request: Asked,
    pub steps: Vec<Step>,
    /// What would be said to an authority outside, if there is one.
    pub outside: Option<Outside>,
    pub answer: Answer,
    pub verdict: Verdict,
}

#[derive(Debug, Serialize)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub dialect: String,
    pub endpoint: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing in the request or in the configuration is against it.
    Read,
    Refused {
        status: u16,
        code: &'static str,
    },
}

impl Verdict {
    pub fn is_refused(&self) -> bool {
        matches!(self, Verdict::Refused { .. })
    }
}

/// Reads the request as its endpoint would, and goes on as far as the configuration alone says.
pub fn explain(question: &Question, authority: &config::Authority, realm: &str) -> Report {
    let Question { place, head, .. } = question;
    let (mut steps, mut outside) = (Vec::new(), None);
    let reply = read(question, authority, &mut steps).and_then(|request| {
        steps.push(grant(&request));
        let client = client::judge(&request, authority, &mut steps)?;
        outside = authority
            .remote
            .as_ref()
            .map(|remote| outside::tell(&request, client.map(|client| &**client), authority, remote));
        Ok(answer::placeholders(&request, client, authority, question.now))
    });
    let response = place.dialect.write_reply(&reply, head, &authority.endpoints, realm);
    let verdict = match &reply {
        Ok(_) => Verdict::Read,
        Err(error) => Verdict::Refused { status: response.status().as_u16(), code: error.code.as_str() },
    };
    let asked = Asked {
        method: head.method.to_string(),
        path: place.path.clone(),
        dialect: place.dialect_name.clone(),
        endpoint: place.name.to_owned(),
    };
    Report { request: asked, steps, outside, answer: Answer::of(&response), verdict }
}

/// In the order in which the endpoint does it.
fn read(question: &Question, authority: &config::Authority, steps: &mut Vec<Step>) -> Result<TokenRequest, TokenError> {
    let Question { place, head, body, .. } = question;
    let bytes = body.expose().len();
    if bytes > BODY_BYTES {
        let error = TokenError::invalid_request("the body is too long").with_status(StatusCode::PAYLOAD_TOO_LARGE);
        steps.push(refused("body", format!("longer than {BODY_BYTES} bytes"), &error));
        return Err(error);
    }
    steps.push(good("body", format!("{bytes} bytes, of at most {BODY_BYTES}"), Vec::new()));
    let types = head.headers.get_all(header::CONTENT_TYPE).iter();
    let types: Vec<_> = types.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let media_type = if types.is_empty() { "none is named".to_owned() } else { types.join(" and ") };
    steps.push(good("media type", media_type, Vec::new()));
    let (says, details) = members::outline(head, body.expose());
    steps.push(Step { step: "members", mark: Mark::Skipped, says, details });
    match place.dialect.read_request(head, body.expose(), &authority.endpoints) {
        Ok(request) => {
            steps.push(good(
                "read",
                "everything that is needed is there; what is not asked for is ignored",
                Vec::new(),
            ));
            Ok(request)
        }
        Err(error) => {
            let says = error.description.as_deref().unwrap_or(error.code.as_str()).to_owned();
            steps.push(refused("read", says, &error));
            Err(error)
        }
    }
}

fn grant(request: &TokenRequest) -> Step {
    let length = |what: &str, secret: &Secret<String>| Detail::plain(format!("{what}: {}", hidden(secret)));
    let named = |what: &str, text: &str| Detail::plain(format!("{what}: {text}"));
    let details = match &request.grant {
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            let mut details = vec![length("code", code)];
            details.extend(redirect_uri.as_ref().map(|uri| named("redirect URI", uri)));
            details.extend(verifier.as_ref().map(|verifier| length("code verifier", verifier)));
            details
        }
        Grant::ClientCredentials => Vec::new(),
        Grant::Password { username, password, company } => {
            let mut details = vec![named("user", username), length("password", password)];
            details.extend(company.as_ref().map(|company| named("company", company)));
            details
        }
        Grant::RefreshToken { token } => {
            let known = tokens::read_refresh(token.expose()).is_some();
            let form = Detail {
                mark: Some(if known { Mark::Good } else { Mark::Refused }),
                says: match known {
                    true => "it has the form of one of ours".to_owned(),
                    false => "it has not the form of one of ours: the answer would be `invalid_grant`".to_owned(),
                },
            };
            vec![length("refresh token", token), form]
        }
        Grant::ApiKey { key } => vec![length("API key", key)],
    };
    good("grant", request.grant.kind().as_str(), details)
}

/// A secret as reports show it.
fn hidden(secret: &Secret<String>) -> String {
    format!("\"…\" ({} characters)", secret.expose().chars().count())
}

fn good(step: &'static str, says: impl Into<String>, details: Vec<Detail>) -> Step {
    Step { step, mark: Mark::Good, says: says.into(), details }
}

/// With what is wrong with single members.
fn refused(step: &'static str, says: impl Into<String>, error: &TokenError) -> Step {
    let fault = |fault: &crate::model::Fault| Detail {
        mark: Some(Mark::Refused),
        says: format!("`{}`: {}", fault.member, fault.problem),
    };
    let details = error.faults.iter().map(fault).collect();
    Step { step, mark: Mark::Refused, says: says.into(), details }
}
