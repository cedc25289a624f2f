//! The upstream of the quickstart: answers with what it was sent.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::{model::Connection, server::Handler};

pub struct Echo;

impl Handler for Echo {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: &Arc<Connection>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        let named: Map<String, Value> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let echo = json!({
            "the_upstream_saw": { "method": request.method().as_str(), "path": request.uri().to_string(), "headers": named },
            "claims_of_its_token": claims(headers),
        });
        let mut body = serde_json::to_vec_pretty(&echo).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Full::new(body.into()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// For people to read; nothing is decided by it.
fn claims(headers: &HeaderMap) -> Option<Value> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
