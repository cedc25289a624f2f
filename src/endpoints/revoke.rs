//! The revocation endpoint (RFC 7009).

use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::{Answer, Endpoints, served::posted};
use crate::{dialect::oauth2, model::Context};

impl Endpoints {
    pub(super) async fn revoke(&self, request: Request<Incoming>, cx: &Context) -> Answer {
        let (head, body) = match posted(request, "POST", |error, _| oauth2::write_error(error, &self.realm)).await {
            Ok(posted) => posted,
            Err(refused) => return refused,
        };
        let result = match oauth2::read_question(&head, &body) {
            Ok(question) => self.grants.revoke(question.client, question.token, cx).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => Answer::good(oauth2::empty(StatusCode::OK)),
            Err(error) => Answer::refused(oauth2::write_error(&error, &self.realm), error),
        }
    }
}
