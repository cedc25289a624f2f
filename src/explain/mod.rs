//! What happens to a request, step by step, and what the upstream would see.
//!
//! The request is rehearsed first: [`Gate::rehearse`] is what serves requests, up to the first byte to the upstream.
//! Its outcome says where the way ends; the steps are told from the same functions that it is made of.

mod afterwards;
pub mod dialect;
mod jwt;
mod own;
mod renewal;
mod route;
mod sight;
mod steps;
mod text;
mod token;
mod told;
mod verdict;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header, request::Parts};
use serde::Serialize;

pub use self::{sight::Sight, text::write, told::Told, verdict::Verdict};
use self::{steps::Teller, verdict::place_of};
use crate::{
    gate::Gate,
    model::{Connection, Secret},
    proxy::ProxyError,
};

/// A request as it would come in.
pub struct Question {
    /// Without the token.
    pub head: Parts,
    pub token: Option<Secret<String>>,
    pub connection: Arc<Connection>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub request: Asked,
    pub steps: Vec<Step>,
    /// What the upstream would see; none if it would hear nothing.
    pub upstream: Option<Sight>,
    /// What a proxy that asks would be told; none if nobody asks, or the answer is no.
    pub answer: Option<Told>,
    pub verdict: Verdict,
}

/// The request in short. Its query may hold a token, so it is left out.
#[derive(Debug, Serialize)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub peer: String,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub mark: Mark,
    pub says: String,
    pub details: Vec<Detail>,
}

#[derive(Debug, Serialize)]
pub struct Detail {
    pub mark: Option<Mark>,
    pub says: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Good,
    /// Nothing to decide here.
    Skipped,
    Refused,
    /// It would be refused, did the route not only observe.
    Observed,
}

/// Finds out what would happen. Waits for key sets and introspection as a request would.
pub async fn explain(gate: &Gate, question: Question) -> Result<Report, BadToken> {
    let Question { mut head, token, connection } = question;
    if let Some(token) = &token {
        put_token(gate, &mut head, token)?;
    }
    // First: the rehearsal renews what is due, as the request would.
    let standing = renewal::before(gate, &head).await;
    let rehearsal = gate.rehearse(head.clone(), &connection).await;
    let place = place_of(&rehearsal);
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        peer: connection.peer().ip().map_or_else(|| "a unix socket".to_owned(), |ip| ip.to_string()),
    };
    let mut teller = Teller { gate, head: &head, rehearsal: &rehearsal, place, standing, steps: Vec::new() };
    // Whether it ended early is what the verdict says.
    let _ = teller.tell().await;
    Ok(Report {
        request: asked,
        steps: teller.steps,
        upstream: Sight::of(gate, &head, &rehearsal),
        answer: Told::of(gate, &rehearsal),
        verdict: Verdict::of(gate, &rehearsal),
    })
}

/// The token cannot be sent: it holds a byte that no header may hold.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the token holds a byte that no header may hold")]
pub struct BadToken;

/// Puts the token where the route of the request looks for it.
fn put_token(gate: &Gate, head: &mut Parts, token: &Secret<String>) -> Result<(), BadToken> {
    let place: HeaderName = match gate.proxy().route_of(head) {
        Ok(index) => gate.config().routes[index].token.header.clone(),
        Err(_) => header::AUTHORIZATION,
    };
    let scheme = if place == header::AUTHORIZATION { "Bearer " } else { "" };
    let mut value = HeaderValue::from_str(&format!("{scheme}{}", token.expose())).map_err(|_| BadToken)?;
    value.set_sensitive(true);
    head.headers.append(place, value);
    Ok(())
}

impl Detail {
    fn plain(says: impl Into<String>) -> Detail {
        Detail { mark: None, says: says.into() }
    }
}

/// The word of an error that ends the way of a request.
fn word(error: &ProxyError) -> String {
    match error {
        ProxyError::Refused { refusal, .. } => refusal.code.to_owned(),
        other => other.to_string(),
    }
}
