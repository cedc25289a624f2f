//! The answers of the authorization endpoint.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use url::Url;

use super::{
    Visited,
    cookies::{self, Name},
    form::Form,
};
use crate::{
    dialect::Dialect,
    endpoints::{
        Answer, Refused,
        pages::{Consent, SignIn, guard},
    },
    grants::{
        Grants,
        authorize::{Authorization, Fault, Refusal, SignedIn, Target},
    },
    model::{GrantType, Secret},
    session::ring::digest16,
    telemetry::metrics,
};

/// An answer and what is counted of it.
pub(super) struct Reply {
    pub(super) response: Response<Bytes>,
    pub(super) result: &'static str,
    pub(super) grant: Option<GrantType>,
    pub(super) refused: Option<Refused>,
}

/// What was wrong with an attempt to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    Wrong,
    /// Seconds to wait.
    Throttled(u64),
}

impl Reply {
    pub(super) fn counted(self, endpoint: metrics::Endpoint, grants: &Grants) -> Answer {
        let dialect = Dialect::OAuth2.name(&grants.settings().endpoints);
        grants.metrics.oauth.answered(endpoint, dialect, self.grant, self.result);
        Answer { response: self.response, refused: self.refused, grant: self.grant }
    }
}

impl Visited<'_> {
    pub(super) fn sign_in_page(
        &self,
        asked: &Authorization,
        request: &str,
        username: &str,
        problem: Option<Problem>,
    ) -> Reply {
        let Some((form, planted)) = self.form(request, None) else { return self.failed() };
        let texts = self.visit.reader.texts;
        let page = SignIn {
            action: self.visit.action,
            form: &form,
            client: &asked.client.name,
            username,
            problem: problem.map(|problem| match problem {
                Problem::Wrong => texts.wrong.to_owned(),
                Problem::Throttled(seconds) if seconds > 120 => {
                    texts.throttled_long.replace("{minutes}", &seconds.div_ceil(60).to_string())
                }
                Problem::Throttled(seconds) => texts.throttled.replace("{seconds}", &seconds.to_string()),
            }),
            remember: self.grants.outside.is_none() && !self.grants.settings().pages.remember.is_zero(),
        };
        let mut response = self.own.pages.sign_in(&page, &asked.target.uri, self.visit.reader);
        let mut result = PAGE;
        if let Some(Problem::Throttled(seconds)) = problem {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            result = metrics::THROTTLED;
        }
        self.plant(planted, &mut response);
        let refused = problem.map(|problem| match problem {
            Problem::Wrong => refused("sign_in_failed", None),
            Problem::Throttled(_) => Refused { throttled: true, ..refused("throttled", None) },
        });
        Reply { response, result, grant: Some(asked.grant()), refused }
    }

    pub(super) fn consent_page(&self, asked: &Authorization, request: &str, user: SignedIn) -> Reply {
        let username = user.username.clone();
        let Some((form, planted)) = self.form(request, Some(user)) else { return self.failed() };
        let known = &self.grants.settings().scopes;
        let named = |scope| known.iter().find(|(name, text)| name == scope && !text.is_empty());
        let page = Consent {
            action: self.visit.action,
            form: &form,
            client: &asked.client.name,
            user: &username,
            scopes: asked.scope.iter().map(|scope| named(scope).map_or(scope, |(_, text)| text)).collect(),
            host: &destination(&asked.target.uri),
        };
        let mut response = self.own.pages.consent(&page, &asked.target.uri, self.visit.reader);
        self.plant(planted, &mut response);
        Reply { response, result: PAGE, grant: Some(asked.grant()), refused: None }
    }

    /// The sealed form for this browser, and the cookie that it must be given first, if it has none.
    fn form(&self, request: &str, user: Option<SignedIn>) -> Option<(String, Option<String>)> {
        let known = self.own.cookies.read(Name::Browser, self.visit.headers);
        let (browser, planted) = match known.filter(|known| cookies::is_browser(known)) {
            Some(browser) => (browser, None),
            None => {
                let browser = cookies::new_browser().ok()?;
                (browser.clone(), Some(browser))
            }
        };
        let expires = self.now().plus(self.grants.settings().pages.form_lifetime.as_secs());
        let form = Form { request: request.to_owned(), expires, browser: digest16(browser.as_bytes()), user };
        Some((form.seal(self.grants.sessions.ring()).ok()?, planted))
    }

    fn plant(&self, browser: Option<String>, response: &mut Response<Bytes>) {
        if let Some(browser) = browser {
            self.own.cookies.set(Name::Browser, &browser, None, response.headers_mut());
        }
    }

    pub(super) fn redirect(&self, to: &Secret<String>, result: &'static str, asked: Option<&Authorization>) -> Reply {
        let Ok(mut location) = HeaderValue::from_bytes(to.expose().as_bytes()) else { return self.failed() };
        location.set_sensitive(true);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = if self.visit.posted { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
        guard(response.headers_mut());
        response.headers_mut().insert(header::LOCATION, location);
        Reply { response, result, grant: asked.map(Authorization::grant), refused: None }
    }

    /// Tells the client.
    pub(super) fn refuse(&self, target: &Target, refusal: Refusal, asked: Option<&Authorization>) -> Reply {
        let location = Secret::new(refusal.location(target, &self.grants.settings().issuer));
        let code = refusal.error.as_str();
        Reply { refused: Some(refused(code, refusal.description)), ..self.redirect(&location, code, asked) }
    }

    /// Tells the user, since nobody knows who else to tell.
    pub(super) fn fault(&self, fault: Fault) -> Reply {
        let t = self.visit.reader.texts;
        let (text, cause) = match fault {
            Fault::ClientMissing => (t.client_missing, "client_id_missing"),
            Fault::ClientRepeated => (t.client_missing, "client_id_repeated"),
            Fault::ClientUnknown => (t.client_unknown, "client_unknown"),
            Fault::RedirectMissing => (t.redirect_missing, "redirect_uri_missing"),
            Fault::RedirectRepeated => (t.redirect_missing, "redirect_uri_repeated"),
            Fault::RedirectUnknown => (t.redirect_unknown, "redirect_uri_not_registered"),
            Fault::TooLong => (t.too_long, "too_long"),
        };
        let refused = refused("invalid_request", Some(cause));
        self.notice(StatusCode::BAD_REQUEST, t.broken_link, &[text, t.broken_link_advice], refused)
    }

    /// A form that this browser was not given, or that somebody has changed.
    pub(super) fn other_browser(&self) -> Reply {
        let t = self.visit.reader.texts;
        self.notice(
            StatusCode::FORBIDDEN,
            t.other_browser,
            &[t.other_browser_text],
            refused("form_not_of_this_browser", None),
        )
    }

    /// A return of somebody who was not sent away from here, or who has come back before.
    pub(super) fn other_sign_in(&self) -> Reply {
        let t = self.visit.reader.texts;
        let refused = refused("sign_in_not_of_this_browser", None);
        self.notice(StatusCode::FORBIDDEN, t.other_sign_in, &[t.other_sign_in_text], refused)
    }

    pub(super) fn expired(&self, request: &str) -> Reply {
        let again = format!("{}?{request}", self.visit.action);
        let response = self.own.pages.expired(&again, self.visit.reader);
        Reply { response, result: PAGE, grant: None, refused: Some(refused("form_expired", None)) }
    }

    pub(super) fn unreadable(&self, status: StatusCode) -> Reply {
        let t = self.visit.reader.texts;
        let mut reply =
            self.notice(status, t.unreadable, &[t.unreadable_text], refused("invalid_request", Some("unreadable")));
        if status != StatusCode::BAD_REQUEST {
            // The rest of the body is not worth reading.
            reply.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }

    pub(super) fn wrong_method(&self, allowed: &'static str) -> Reply {
        let t = self.visit.reader.texts;
        let refused = refused("method_not_allowed", None);
        let mut reply = self.notice(StatusCode::METHOD_NOT_ALLOWED, t.broken_link, &[t.broken_link_advice], refused);
        reply.response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        reply
    }

    pub(super) fn failed(&self) -> Reply {
        let t = self.visit.reader.texts;
        self.notice(StatusCode::INTERNAL_SERVER_ERROR, t.failed, &[t.failed_text], refused("server_error", None))
    }

    fn notice(&self, status: StatusCode, heading: &str, texts: &[&str], refused: Refused) -> Reply {
        let response = self.own.pages.notice(status, heading, texts, self.visit.reader);
        Reply { response, result: PAGE, grant: None, refused: Some(refused) }
    }
}

fn refused(code: &'static str, cause: Option<&str>) -> Refused {
    Refused { code, cause: cause.map(str::to_owned), throttled: false }
}

/// What a user understands of a redirect URI: its host, or the scheme of an application on the device.
fn destination(uri: &str) -> String {
    let url = Url::parse(uri).ok();
    let host = url.as_ref().and_then(|url| url.host_str().or(Some(url.scheme())).map(str::to_owned));
    host.unwrap_or_else(|| uri.to_owned())
}

const PAGE: &str = "page";
