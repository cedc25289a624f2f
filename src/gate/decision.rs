//! A listener that decides for a proxy which asks, and forwards nothing: its answer is 200, or the refusal that a client
//! would have had.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request::Parts};
use hyper::body::Incoming;

use super::{Gate, Problem, REQUEST_ID, ReplyBody, context, told};
use crate::{
    model::{Connection, Context, Questions},
    proxy::{
        ProxyError, Seen,
        headers::is_trusted,
        limits,
        question::{self, QuestionError},
    },
};

impl Gate {
    /// Answers one question. Like [`Gate::handle`] it never fails, and it counts and logs in the same way.
    pub(super) async fn answer_question(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        questions: &Questions,
    ) -> Response<ReplyBody> {
        // A body is none of ours: a proxy that sends one along is not asked for it.
        let (mut head, _body) = request.into_parts();
        let mut cx = context::asked(&head.headers, connection, self.time.now_millis(), &self.config.trusted_proxies);
        let span = self.begin(&head.headers, &head.method, &mut cx);
        let mut seen = Seen { asked: true, ..Seen::default() };
        let understood = self.understand(&mut head, questions, &cx);
        let watched = self.observer.begin(connection, &head.method);
        let decided = match understood {
            Ok(()) => span.around(self.judge(&head, questions, &cx, &mut seen)).await,
            Err(error) => Err(error),
        };
        let mut response = match decided {
            Ok(headers) => {
                let mut response = Response::new(ReplyBody::default());
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                let mut response = self.refuse(&error, &cx, &mut seen);
                if *questions == Questions::Nginx {
                    // It writes an answer of its own, and cannot read the body of this one.
                    response.headers_mut().insert(CODE, HeaderValue::from_static(Problem::of(&error).code));
                }
                response
            }
        };
        response.headers_mut().insert(REQUEST_ID, cx.id.header().clone());
        self.observer.end(watched, &cx, &seen, &response);
        span.end(response.status(), seen.code, || told::of(&cx, &seen, &self.config));
        response
    }

    fn understand(&self, head: &mut Parts, questions: &Questions, cx: &Context) -> Result<(), ProxyError> {
        limits::check_head(&head.method, &head.uri, &head.headers, cx.connection.head_limits)?;
        // Who may reach a Unix socket is decided by its file's mode.
        let peer = cx.connection.peer().ip();
        if peer.is_some_and(|peer| !peer.is_loopback() && !is_trusted(peer, &self.config.trusted_proxies)) {
            return Err(QuestionError::Stranger.into());
        }
        question::read(head, questions)
    }

    /// The headers of the answer that lets the request with this head go on.
    pub(super) async fn judge(
        &self,
        head: &Parts,
        questions: &Questions,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<HeaderMap, ProxyError> {
        // An upstream must not answer in the place of what is served by another listener.
        if self.find(head.uri.path()).is_some() {
            return Err(ProxyError::OwnPath);
        }
        self.proxy.decide(head, questions, cx, seen).await
    }
}

/// The stable code of a refusal.
const CODE: HeaderName = HeaderName::from_static("x-sidegate-code");
