//! The token endpoint: read in a dialect, act, write in the same dialect.

use http::Request;
use hyper::body::Incoming;

use super::{Answer, Endpoints, served::posted};
use crate::{dialect::Dialect, model::Context};

impl Endpoints {
    pub(super) async fn token(&self, dialect: Dialect, request: Request<Incoming>, cx: &Context) -> Answer {
        let (head, body) = match posted(request, &self.realm).await {
            Ok(posted) => posted,
            Err(refused) => return refused,
        };
        let request = dialect.read_request(&head, &body);
        let grant = request.as_ref().ok().map(|request| request.grant.kind());
        let reply = match request {
            Ok(request) => self.grants.issue(request, cx).await,
            Err(error) => Err(error),
        };
        if let (Ok(_), Some(grant)) = (&reply, grant) {
            self.grants.metrics.oauth.issued(dialect.as_str(), grant);
        }
        Answer { response: dialect.write_reply(&reply, &self.realm), error: reply.err(), grant }
    }
}
