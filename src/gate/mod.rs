//! Every request: `handle` observes and cannot fail, `route` may use `?`; below them the one table error → status.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::model::Connection;

/// One generation of everything that a reload replaces.
pub struct Gate {}

/// What the client receives.
pub type ReplyBody = Full<Bytes>;

impl Gate {
    /// Answers one request. Never fails: every error has become a response.
    pub async fn handle(&self, _request: Request<Incoming>, _connection: &Arc<Connection>) -> Response<ReplyBody> {
        Response::new(Full::default())
    }
}
