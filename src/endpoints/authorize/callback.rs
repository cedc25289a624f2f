//! Sign-in at the authority outside: the user is sent there, and comes back to a path of ours.
//!
//! Nothing is kept here meanwhile. What was asked for lies sealed in a cookie, one for each tab; only the `state` that
//! the authority returns can open it. So a return counts only in the browser that was sent away, only for the request
//! that it was sent away with, and only once.

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use http::{Method, Request};
use hyper::body::Incoming;

use super::{Visit, Visited, form::Trip, relative, reply::Reply};
use crate::{
    endpoints::{
        Answer, Endpoints,
        pages::{Reader, language},
    },
    grants::authorize::{Authorization, AuthorizeError, NotSignedIn, Parameters, Refusal, check},
    model::Context,
    telemetry::{audit::Event, metrics},
};

impl Endpoints {
    /// A user who comes back.
    pub(in crate::endpoints) async fn callback(&self, request: Request<Incoming>, cx: &Context) -> Answer {
        let (head, _) = request.into_parts();
        let reader = Reader { texts: language::of(&head.headers), cx };
        let action = relative(head.uri.path(), self.grants.settings().endpoints.authorize.as_deref());
        let visit = Visit { headers: &head.headers, reader, cx, posted: false, action: &action };
        let visited = Visited { grants: &self.grants, own: &self.authorize, visit };
        let reply = match head.method {
            Method::GET => visited.come_back(head.uri.query().unwrap_or_default().as_bytes()).await,
            _ => visited.wrong_method("GET"),
        };
        reply.counted(metrics::Endpoint::Callback, &self.grants)
    }
}

impl Visited<'_> {
    /// To the authority outside, with a cookie that waits for the return.
    pub(super) async fn send_away(&self, asked: &Authorization, request: &str) -> Reply {
        let Ok(state) = new_state() else { return self.failed() };
        let (location, away) = match self.grants.send_away(asked, &state).await {
            Ok(sent) => sent,
            Err(refusal) => return self.refuse(&asked.target, refusal, Some(asked)),
        };
        let seconds = self.grants.settings().pages.form_lifetime.as_secs();
        let trip = Trip { request: request.to_owned(), expires: self.now().plus(seconds), away };
        let Ok(sealed) = trip.seal(&state, self.grants.sessions.ring()) else { return self.failed() };
        let mut reply = self.redirect(&location, "away", Some(asked));
        let (cookies, now) = (self.own.cookies, self.now());
        if cookies.send_away(&tab(&state), &sealed, (now, seconds), self.visit.headers, reply.response.headers_mut()) {
            return reply;
        }
        let refusal = Refusal::invalid_request("the request is too long for a sign-in elsewhere");
        self.refuse(&asked.target, refusal, Some(asked))
    }

    async fn come_back(&self, query: &[u8]) -> Reply {
        let answer = Parameters::parse(query);
        if answer.repeats(&[]) {
            return self.unreadable(http::StatusCode::BAD_REQUEST);
        }
        let state = answer.text("state").ok().flatten().unwrap_or_default();
        let tab = tab(&state);
        let sealed = self.own.cookies.read_away(&tab, self.visit.headers);
        let trip = sealed.and_then(|sealed| Trip::open(&sealed, &state, self.grants.sessions.ring()));
        let Some(trip) = trip else { return self.other_sign_in() };
        let mut reply = self.arrive(&trip, &state, &answer).await;
        self.own.cookies.forget_away(&tab, reply.response.headers_mut());
        reply
    }

    async fn arrive(&self, trip: &Trip, state: &str, answer: &Parameters<'_>) -> Reply {
        let asked = match check(trip.request.as_bytes(), self.grants.settings()) {
            Ok(asked) => asked,
            Err(failure) => return self.fail(failure),
        };
        if self.now() >= trip.expires {
            return self.expired(&trip.request);
        }
        if self.is_flooded(&self.own.returns) {
            return self.refuse(&asked.target, AuthorizeError::TemporarilyUnavailable.into(), Some(&asked));
        }
        // A browser forgets the cookie now; whoever has kept a copy of it comes too late.
        match self.grants.sessions.use_once(once(state.as_bytes()), trip.expires).await {
            Ok(true) => {}
            Ok(false) => return self.other_sign_in(),
            Err(error) => {
                tracing::warn!(%error, "nobody can say whether a user has come back already");
                return self.refuse(&asked.target, AuthorizeError::TemporarilyUnavailable.into(), Some(&asked));
            }
        }
        match self.grants.welcome_back(&trip.away, &asked, answer).await {
            Ok(user) => {
                self.note(Event::SignedIn, &asked, &user.subject, None);
                self.proceed(&asked, &trip.request, user).await
            }
            Err(NotSignedIn { refusal, reason }) => {
                self.note(Event::SignInFailed, &asked, "", Some(reason));
                self.refuse(&asked.target, refusal, Some(&asked))
            }
        }
    }
}

/// 128 random bits.
fn new_state() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut random = [0; 16];
    rand::fill(&mut random)?;
    Ok(BASE64URL.encode(random))
}

/// What the cookie of a tab is called by: it tells nothing of the `state` that opens it.
fn tab(state: &str) -> String {
    let digest = digest::digest(&digest::SHA256, state.as_bytes());
    BASE64URL.encode(&digest.as_ref()[..9])
}

/// What the store knows something by that is good once.
pub(super) fn once(content: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"sidegate authorization once v1");
    context.update(content);
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
