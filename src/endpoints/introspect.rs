//! The introspection endpoint (RFC 7662), also with answers that are signed (RFC 9701).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::{Answer, Endpoints, served::posted};
use crate::{
    dialect::oauth2,
    grants::Introspected,
    model::{Context, TokenError},
};

impl Endpoints {
    pub(super) async fn introspect(&self, request: Request<Incoming>, cx: &Context) -> Answer {
        let (head, body) = match posted(request, "POST", |error, _| oauth2::write_error(error, &self.realm)).await {
            Ok(posted) => posted,
            Err(refused) => return refused,
        };
        let result = match oauth2::read_question(&head, &body) {
            Ok(question) => self.grants.introspect(question.client, &question.token, cx).await,
            Err(error) => Err(error),
        };
        match result.and_then(|told| self.told(told, &head.headers)) {
            Ok(response) => Answer::good(response),
            Err(error) => {
                let mut response = oauth2::write_error(&error, &self.realm);
                if response.status() == StatusCode::UNAUTHORIZED && is_bearer(&head.headers) {
                    challenge_bearer(&self.realm, response.headers_mut());
                }
                Answer::refused(response, error)
            }
        }
    }

    fn told(&self, told: Introspected, headers: &HeaderMap) -> Result<Response<Bytes>, TokenError> {
        // Of a token that is not good, nothing is said but that (RFC 7662, section 2.2).
        let claims = told.claims.unwrap_or_else(|| Map::from_iter([("active".to_owned(), Value::Bool(false))]));
        if !headers.get_all(header::ACCEPT).iter().any(|accept| accept == SIGNED) {
            return Ok(oauth2::answer(StatusCode::OK, &claims));
        }
        let signed = self.grants.signed_introspection(&told.caller, claims)?;
        let mut response = oauth2::empty(StatusCode::OK);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SIGNED));
        *response.body_mut() = signed.into();
        Ok(response)
    }
}

fn is_bearer(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// No token opens this door, and who comes with one is told so in their own terms (RFC 7662, section 2.3).
fn challenge_bearer(realm: &str, headers: &mut HeaderMap) {
    if let Ok(challenge) = HeaderValue::try_from(format!("Bearer realm=\"{realm}\", error=\"invalid_token\"")) {
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
}

const SIGNED: &str = "application/token-introspection+jwt";
