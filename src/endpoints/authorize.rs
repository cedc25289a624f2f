//! The authorization endpoint: a request is checked, then answered with a page or a redirect.
//!
//! Nothing is kept here while a user thinks: the request travels sealed in the form and is checked anew when it comes
//! back.

mod callback;
mod cookies;
mod form;
mod reply;
mod steps;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;

use self::{
    cookies::{Cookies, Name},
    form::{Form, Remembered},
    reply::Reply,
};
use super::{
    Answer, Endpoints,
    pages::{Pages, Reader, ThemeError, language},
    served::collect,
};
use crate::{
    config::{self, Users},
    fetch::Fetcher,
    grants::{
        Grants,
        authorize::{Authorization, AuthorizeError, Failure, Parameters, Repeated, SignedIn, check, verify_intent},
    },
    model::{Context, UnixTime},
    rate::{Key, Limiter},
    telemetry::metrics::{self, Limited},
};

/// What the endpoint needs beside the grants, of one generation of the configuration.
pub(super) struct Authorize {
    pages: Pages,
    fetcher: Fetcher,
    /// Questions to the verifier of intents, by address: nobody has signed in when it is asked.
    intents: Limiter,
    /// Questions to the authority outside about codes that came back, by address: a code is easily made up.
    returns: Limiter,
    cookies: Cookies,
}

/// One request to the endpoint.
#[derive(Clone, Copy)]
struct Visit<'a> {
    headers: &'a HeaderMap,
    reader: Reader<'a>,
    cx: &'a Context,
    /// Then no redirect may repeat what was posted (RFC 9700, section 4.12).
    posted: bool,
    /// Where forms are sent: relative, so that it also fits below a prefix that a proxy in front takes away.
    action: &'a str,
}

impl Authorize {
    pub(super) fn new(settings: &config::Authority) -> Result<Authorize, ThemeError> {
        Ok(Authorize {
            pages: Pages::new(settings.pages.theme.as_deref(), &settings.pages.title)?,
            fetcher: Fetcher::new(None),
            intents: Limiter::new(QUESTIONS, Instant::now()),
            returns: Limiter::new(QUESTIONS, Instant::now()),
            cookies: Cookies { secure: settings.issuer.starts_with("https:") },
        })
    }
}

impl Endpoints {
    pub(super) async fn authorize(&self, request: Request<Incoming>, cx: &Context) -> Answer {
        let (head, body) = request.into_parts();
        let reader = Reader { texts: language::of(&head.headers), cx };
        let action = relative(head.uri.path(), Some(head.uri.path()));
        let visit = Visit { headers: &head.headers, reader, cx, posted: head.method == Method::POST, action: &action };
        let visited = Visited { grants: &self.grants, own: &self.authorize, visit };
        let reply = match head.method {
            Method::GET => visited.begin(head.uri.query().unwrap_or_default().as_bytes()).await,
            Method::POST => match collect(body).await {
                Ok(_) if !is_form(&head.headers) => visited.unreadable(StatusCode::BAD_REQUEST),
                Ok(body) => visited.post(&body).await,
                Err((status, _)) => visited.unreadable(status),
            },
            _ => visited.wrong_method("GET, POST"),
        };
        reply.counted(metrics::Endpoint::Authorize, &self.grants)
    }
}

/// A request and all that is needed to answer it.
#[derive(Clone, Copy)]
struct Visited<'a> {
    grants: &'a Grants,
    own: &'a Authorize,
    visit: Visit<'a>,
}

impl Visited<'_> {
    /// What is sealed here may come back to another replica: its times are those of the store that they share.
    fn now(&self) -> UnixTime {
        self.grants.sessions.now()
    }

    /// A request as the application made it.
    async fn begin(&self, request: &[u8]) -> Reply {
        let settings = self.grants.settings();
        let asked = match check(request, settings) {
            Ok(asked) => asked,
            Err(failure) => return self.fail(failure),
        };
        // Whatever its bytes, it must come back from a form as it was.
        let Ok(text) = str::from_utf8(request) else { return self.unreadable(StatusCode::BAD_REQUEST) };
        if self.asks_too_often(&asked) {
            return self.refuse(&asked.target, AuthorizeError::TemporarilyUnavailable.into(), Some(&asked));
        }
        if let Err(refusal) = verify_intent(&asked, &settings.intent, &self.own.fetcher).await {
            return self.refuse(&asked.target, refusal, Some(&asked));
        }
        let none = asked.prompt.none;
        if self.grants.sign_in_outside().is_some() {
            // Silently, no consent can be given: the authority need not be troubled.
            if none && asks_consent(&asked) {
                return self.refuse(&asked.target, AuthorizeError::ConsentRequired.into(), Some(&asked));
            }
            return self.send_away(&asked, text).await;
        }
        match self.remembered(&asked) {
            None if none => self.refuse(&asked.target, AuthorizeError::LoginRequired.into(), Some(&asked)),
            None => self.sign_in_page(&asked, text, asked.login_hint.as_deref().unwrap_or_default(), None),
            Some(_) if none && asks_consent(&asked) => {
                self.refuse(&asked.target, AuthorizeError::ConsentRequired.into(), Some(&asked))
            }
            Some(user) => self.proceed(&asked, text, user).await,
        }
    }

    /// A flood of requests must not become one at the verifier.
    fn asks_too_often(&self, asked: &Authorization) -> bool {
        let asks = asked.intent.is_some() && self.grants.settings().intent.verifier.is_some();
        asks && self.is_flooded(&self.own.intents)
    }

    /// Whether this address has asked for too much of what `limiter` counts.
    fn is_flooded(&self, limiter: &Limiter) -> bool {
        let address = self.visit.cx.client;
        let flooded =
            address.is_some_and(|address| limiter.check(Key::address(address), self.visit.cx.started).is_err());
        if flooded {
            self.grants.metrics.rate_limited(Limited::SignIn);
        }
        flooded
    }

    /// A form of ours, or a request that was posted (OpenID Connect Core, section 3.1.2.1).
    async fn post(&self, body: &Bytes) -> Reply {
        let fields = Parameters::parse(body);
        match fields.text(FORM) {
            Ok(None) if !fields.has(FORM) => self.begin(body).await,
            Ok(None) | Err(Repeated) => self.unreadable(StatusCode::BAD_REQUEST),
            Ok(Some(sealed)) => self.step(&sealed, &fields).await,
        }
    }

    async fn step(&self, sealed: &str, fields: &Parameters<'_>) -> Reply {
        let Some(form) = Form::open(sealed, self.grants.sessions.ring()) else { return self.other_browser() };
        let browser = self.own.cookies.read(Name::Browser, self.visit.headers);
        if !browser.is_some_and(|browser| form.is_of(&browser)) {
            return self.other_browser();
        }
        let asked = match check(form.request.as_bytes(), self.grants.settings()) {
            Ok(asked) => asked,
            Err(failure) => return self.fail(failure),
        };
        if self.now() >= form.expires {
            return self.expired(&form.request);
        }
        match &form.user {
            // A page from before that was so: the password is not for us to see.
            None if self.grants.sign_in_outside().is_some() => self.expired(&form.request),
            None => self.sign_in(&asked, &form.request, fields).await,
            Some(user) => self.consent(&asked, &form, user, sealed, fields).await,
        }
    }

    /// On with a user who is known.
    async fn proceed(&self, asked: &Authorization, request: &str, user: SignedIn) -> Reply {
        if asks_consent(asked) {
            return self.consent_page(asked, request, user);
        }
        self.finish(asked, &user).await
    }

    async fn finish(&self, asked: &Authorization, user: &SignedIn) -> Reply {
        match self.grants.authorize(asked, user, self.visit.cx).await {
            Ok(location) => self.redirect(&location, metrics::OK, Some(asked)),
            Err(refusal) => self.refuse(&asked.target, refusal, Some(asked)),
        }
    }

    fn fail(&self, failure: Failure) -> Reply {
        match failure {
            Failure::Page(fault) => self.fault(fault),
            Failure::Redirect(target, refusal) => self.refuse(&target, refusal, None),
        }
    }

    /// Who is signed in here already, if that is good enough for what is asked.
    fn remembered(&self, asked: &Authorization) -> Option<SignedIn> {
        let settings = self.grants.settings();
        // What the authority outside gave is no longer at hand then, and only a new sign-in brings it.
        if self.grants.outside.is_some() {
            return None;
        }
        if settings.pages.remember.is_zero() || asked.prompt.login || asked.prompt.select_account {
            return None;
        }
        let cookie = self.own.cookies.read(Name::Remembered, self.visit.headers)?;
        let now = self.now();
        let Remembered { mut user, .. } = Remembered::open(&cookie, self.grants.sessions.ring(), now)?;
        let age = user.auth_time.until(now).as_secs();
        if asked.max_age.is_some_and(|most| age >= most) {
            return None;
        }
        if !self.grants.authority.still_vouches(&user.username, user.credential.as_ref()) {
            return None;
        }
        if let Users::Listed(users) = &settings.users {
            let listed = users.get(&user.username).filter(|listed| listed.subject == user.subject)?;
            user.claims = listed.claims.clone();
        }
        Some(user)
    }
}

/// `to` as somebody at `from` names it, both of them canonical paths.
fn relative(from: &str, to: Option<&str>) -> String {
    let to = to.unwrap_or_default();
    let shared = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b);
    let shared = shared.enumerate().filter(|(_, (byte, _))| *byte == b'/').last().map_or(0, |(at, _)| at + 1);
    match from[shared..].matches('/').count() {
        0 => format!("./{}", &to[shared..]),
        up => format!("{}{}", "../".repeat(up), &to[shared..]),
    }
}

fn asks_consent(asked: &Authorization) -> bool {
    asked.client.asks_consent || asked.prompt.consent
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What one address may have asked of the verifier of intents, and of the authority outside.
const QUESTIONS: config::Rate = config::Rate { interval: Duration::from_millis(200), burst: 50 };
/// The field that holds the sealed request.
const FORM: &str = "form";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_sent_from_wherever_its_page_stands() {
        for (from, to, expected) in [
            ("/oauth20/authorize", "/oauth20/authorize", "./authorize"),
            ("/oauth20/callback", "/oauth20/authorize", "./authorize"),
            ("/oauth20/auth", "/oauth20/authorize", "./authorize"),
            ("/callback", "/oauth20/authorize", "./oauth20/authorize"),
            ("/a/b/callback", "/authorize", "../../authorize"),
            ("/a/b/callback", "/a/c/authorize", "../c/authorize"),
        ] {
            assert_eq!(relative(from, Some(to)), expected, "{from}");
            let base = url::Url::parse("https://as.test").unwrap().join(from).unwrap();
            assert_eq!(base.join(expected).unwrap().path(), to);
        }
    }
}
