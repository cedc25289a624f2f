//! The pages of sessions, for a browser: it shows the token once, and forms carry what no other site knows.

use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{
    Admin,
    access::Denied,
    answer::{not_allowed, refusal, text},
    browsers::{PATH, is_from_here},
    pages::{page, see},
    query::Query,
    sessions::{self, View},
    wants_page,
};
use crate::{
    body,
    model::{Connection, Secret, words::grouped},
    session::StoreError,
    telemetry::metrics::Limited,
};

#[derive(Serialize, Default)]
struct SignIn<'a> {
    /// There is no token that could be right.
    off: bool,
    problem: Option<&'a str>,
}

#[derive(Serialize, Default)]
struct List {
    form: String,
    notice: Option<String>,
    problem: Option<String>,
    user: String,
    client: String,
    any: bool,
    /// Somebody is named.
    narrow: bool,
    whose: String,
    sessions: Vec<View>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Serialize)]
struct One {
    form: String,
    session: View,
    of_user: String,
    of_client: String,
}

/// Whether a browser asks, and not a program with a token.
pub(super) fn is_visit(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    let ours = path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && wants_page(request);
    let asks = reads || (*request.method() == Method::POST && path != PATH) || path == SIGN_IN || path == SIGN_OUT;
    ours && asks && !request.headers().contains_key(header::AUTHORIZATION)
}

impl Admin {
    pub(super) async fn visit(&self, request: Request<Incoming>, connection: &Connection) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let fields = match head.method {
            Method::GET | Method::HEAD => None,
            // Before anything is looked at, so that another site cannot even use up the attempts to sign in.
            Method::POST if !is_from_here(&head.headers) => {
                let message = "this form was not sent by a page of this listener";
                return refusal(StatusCode::FORBIDDEN, "origin_refused", message);
            }
            Method::POST => match tokio::time::timeout(PATIENCE, body::collect(body, LONGEST_FORM)).await {
                Ok(Ok(fields)) => Some(fields),
                Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the form could not be read\n"),
                Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the form did not come\n"),
            },
            _ => return not_allowed("GET, HEAD, POST"),
        };
        let field = |name: &str| fields.as_deref().map(|fields| value(fields, name)).unwrap_or_default();
        match (head.uri.path(), &fields) {
            (SIGN_IN, None) => self.sign_in_page(),
            (SIGN_IN, Some(_)) => self.sign_in(&head, &Secret::new(field("token")), connection),
            (path, _) => {
                let now = self.time.now();
                let Some(form) = self.browsers.find(self.token().as_ref(), &head.headers, now) else {
                    return see(SIGN_IN);
                };
                if fields.is_some() && Secret::new(field("form")) != form {
                    let message = "this form is of another sign-in; go back and look again";
                    return refusal(StatusCode::FORBIDDEN, "form_refused", message);
                }
                let form = form.expose().clone();
                match (path, &fields) {
                    (SIGN_OUT, Some(_)) => self.sign_out(&head),
                    (PATH, None) => self.list_page(&head, form).await,
                    ("/sessions/revoke", Some(_)) => self.revoke_whose(&head, &field("user"), &field("client")).await,
                    (_, None) => self.session_page(path.trim_start_matches("/sessions/"), form).await,
                    (_, Some(_)) => match path.strip_prefix("/sessions/").and_then(|id| id.strip_suffix("/revoke")) {
                        Some(id) => self.revoke_one(&head, id).await,
                        None => text(StatusCode::NOT_FOUND, "there is no such form\n"),
                    },
                }
            }
        }
    }

    fn token(&self) -> Option<Secret<String>> {
        self.gate.load().config().admin.as_ref().and_then(|admin| admin.token.clone())
    }

    fn sign_in_page(&self) -> Response<Full<Bytes>> {
        page(StatusCode::OK, "sign-in.html", &SignIn { off: self.token().is_none(), problem: None })
    }

    fn sign_in(&self, head: &Parts, presented: &Secret<String>, connection: &Connection) -> Response<Full<Bytes>> {
        let now = self.time.now();
        let judged = match self.token() {
            None => Err(Denied::Off),
            Some(token) => self.access.judge(&token, presented, connection, now).map(|()| token),
        };
        let denied = match judged {
            Ok(token) => {
                return match self.browsers.sign_in(&token, &head.headers, now) {
                    Ok(cookie) => with_cookie(see(PATH), cookie),
                    Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no randomness\n"),
                };
            }
            Err(denied) => denied,
        };
        let (status, _, _) = denied.told();
        let problem = match denied {
            Denied::Wrong | Denied::Missing => Some("This is not the token."),
            Denied::Throttled(_) => Some("Too many wrong tokens: wait a moment."),
            Denied::Off => None,
        };
        let mut response = page(status, "sign-in.html", &SignIn { off: problem.is_none(), problem });
        if let Denied::Throttled(retry) = denied {
            self.metrics.rate_limited(Limited::Admin);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry.seconds()));
        }
        response
    }

    fn sign_out(&self, head: &Parts) -> Response<Full<Bytes>> {
        match self.browsers.sign_out(&head.headers, self.time.now()) {
            Ok(cookie) => with_cookie(see(SIGN_IN), cookie),
            Err(_) => see(SIGN_IN),
        }
    }

    async fn list_page(&self, head: &Parts, form: String) -> Response<Full<Bytes>> {
        let asked = head.uri.query().unwrap_or_default();
        let typed = |name: &str| value(asked.as_bytes(), name);
        let (user, client) = (typed("user"), typed("client"));
        let any = typed("alive") == "any";
        let mut list = List {
            form,
            notice: self.browsers.take_notice(&head.headers, self.time.now()),
            whose: whose(&user, &client),
            narrow: !(user.is_empty() && client.is_empty()),
            first: (!typed("after").is_empty()).then(|| target(&user, &client, any, None)),
            user,
            client,
            any,
            ..List::default()
        };
        let (status, problem) = match (Query::of_form(asked), self.sessions()) {
            (_, Err(_)) => (StatusCode::NOT_FOUND, Some(NO_AUTHORITY.to_owned())),
            (Err(wrong), _) => (StatusCode::BAD_REQUEST, Some(wrong)),
            (Ok(query), Ok(sessions)) => match sessions::page(&sessions, query).await {
                Ok(found) => {
                    list.next = found.next.map(|next| target(&list.user, &list.client, any, Some(&next)));
                    list.sessions = found.sessions;
                    (StatusCode::OK, None)
                }
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Some(away(&error))),
            },
        };
        page(status, "sessions.html", &List { problem, ..list })
    }

    async fn session_page(&self, id: &str, form: String) -> Response<Full<Bytes>> {
        match self.found(id).await {
            Ok((session, sessions)) => {
                let session = View::of(&session, sessions.now());
                let (of_user, of_client) = (pair("user", &session.subject), pair("client", &session.client));
                page(StatusCode::OK, "session.html", &One { form, session, of_user, of_client })
            }
            Err(refused) => {
                let status = refused.status();
                let problem = if status == StatusCode::NOT_FOUND { UNKNOWN } else { AWAY };
                page(status, "sessions.html", &List { form, problem: Some(problem.to_owned()), ..List::default() })
            }
        }
    }

    async fn revoke_one(&self, head: &Parts, id: &str) -> Response<Full<Bytes>> {
        let (session, sessions) = match self.found(id).await {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let notice = match sessions::revoke(&sessions, &session).await {
            Ok(true) => "The session has ended.".to_owned(),
            Ok(false) => "The session had ended before.".to_owned(),
            Err(error) => away(&error),
        };
        self.browsers.tell(&head.headers, notice, self.time.now());
        see(PATH)
    }

    async fn revoke_whose(&self, head: &Parts, user: &str, client: &str) -> Response<Full<Bytes>> {
        let named = [("user", user), ("client", client)];
        let query = match Query::of_form(&Serializer::new(String::new()).extend_pairs(named).finish()) {
            Ok(query) if query.is_narrow() => query,
            _ => return refusal(StatusCode::BAD_REQUEST, "filter_missing", "name a user, a client or both"),
        };
        let sessions = match self.sessions() {
            Ok(sessions) => sessions,
            Err(refused) => return *refused,
        };
        let notice = match sessions::revoke_all(&sessions, query).await {
            Ok(1) => format!("One session of {} has ended.", whose(user, client)),
            Ok(ended) => format!("{} sessions of {} have ended.", grouped(ended), whose(user, client)),
            Err(error) => away(&error),
        };
        self.browsers.tell(&head.headers, notice, self.time.now());
        see(&target(user, client, false, None))
    }
}

fn with_cookie(mut response: Response<Full<Bytes>>, cookie: HeaderValue) -> Response<Full<Bytes>> {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// The first field of this name; empty if there is none.
fn value(fields: &[u8], name: &str) -> String {
    let mut fields = form_urlencoded::parse(fields);
    fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn pair(name: &str, value: &str) -> String {
    Serializer::new(String::new()).append_pair(name, value).finish()
}

/// The page of the list with this filter.
fn target(user: &str, client: &str, any: bool, after: Option<&str>) -> String {
    let pairs =
        [("user", user), ("client", client), ("alive", if any { "any" } else { "" }), ("after", after.unwrap_or(""))];
    let mut query = Serializer::new(String::new());
    query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => PATH.to_owned(),
        query => format!("{PATH}?{query}"),
    }
}

fn whose(user: &str, client: &str) -> String {
    match (user, client) {
        (user, "") => user.to_owned(),
        ("", client) => format!("client {client}"),
        (user, client) => format!("{user} at client {client}"),
    }
}

fn away(error: &StoreError) -> String {
    tracing::warn!(%error, "an operator's request was not carried out");
    AWAY.to_owned()
}

const SIGN_IN: &str = "/sessions/sign-in";
const SIGN_OUT: &str = "/sessions/sign-out";
const UNKNOWN: &str = "There is no such session, or no longer.";
const AWAY: &str = "The session store does not answer; try again.";
const NO_AUTHORITY: &str = "The configuration has no `authority`, so there are no sessions.";
/// Of the body of a form.
const LONGEST_FORM: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
