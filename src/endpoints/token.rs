//! The token endpoints: read in a dialect, act, write in the same dialect.

use http::{Request, request::Parts};
use hyper::body::Incoming;

use super::{Answer, Endpoints, served::posted};
use crate::{
    dialect::Dialect,
    model::{Context, TokenError},
};

impl Endpoints {
    pub(super) async fn token(&self, dialect: Dialect, request: Request<Incoming>, cx: &Context) -> Answer {
        let options = &self.grants.settings().endpoints;
        let refuse =
            |error: &TokenError, head: &Parts| dialect.write_reply(&Err(error.clone()), head, options, &self.realm);
        let (head, body) = match posted(request, dialect.methods(options), refuse).await {
            Ok(posted) => posted,
            Err(refused) => return refused,
        };
        let request = dialect.read_request(&head, &body, options);
        let grant = request.as_ref().ok().map(|request| request.grant.kind());
        let reply = match request {
            Ok(request) => self.grants.issue(request, cx).await,
            Err(error) => Err(error),
        };
        if let (Ok(_), Some(grant)) = (&reply, grant) {
            self.grants.metrics.oauth.issued(dialect.name(options), grant);
        }
        Answer {
            response: dialect.write_reply(&reply, &head, options, &self.realm),
            refused: reply.err().map(Into::into),
            grant,
        }
    }
}
