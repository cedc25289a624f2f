//! The issuer of the quickstart: a signing key made on the spot, its discovery document and its key set.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Map, json};

use crate::{
    config::{InternalJwt, InternalKey},
    jose::mint::{MintError, Minter},
    model::{Connection, UnixTime},
    server::Handler,
};

pub struct Issuer {
    url: String,
    minter: Minter,
}

impl Issuer {
    pub fn new(url: String) -> Result<Issuer, MintError> {
        let minter = Minter::with_type(
            &InternalJwt {
                issuer: url.clone(),
                algorithm: jsonwebtoken::Algorithm::ES256,
                key: InternalKey::Generate,
                lifetime: std::time::Duration::from_secs(3600),
                jwks_path: "/jwks".into(),
            },
            "at+jwt",
        )?;
        Ok(Issuer { url, minter })
    }

    /// An access token for the audience `orders-api`.
    pub fn token(&self, issued: UnixTime, expires: UnixTime, scope: &str) -> Result<String, MintError> {
        let mut claims = Map::new();
        claims.insert("sub".into(), "ana".into());
        claims.insert("client_id".into(), "quickstart".into());
        claims.insert("scope".into(), scope.into());
        Ok(self.minter.mint("orders-api", &claims, issued, expires)?.token)
    }
}

impl Handler for Issuer {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: &Arc<Connection>) -> Response<Full<Bytes>> {
        let body = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                json!({"issuer": self.url, "jwks_uri": format!("{}/jwks", self.url)}).to_string().into()
            }
            "/jwks" => self.minter.public_jwks().cloned().unwrap_or_default(),
            _ => Bytes::new(),
        };
        let mut response = Response::new(Full::new(body));
        if http_body::Body::is_end_stream(response.body()) {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
