//! PascalCase JSON in an envelope: an API key begins a session, a refresh token goes on with it.

mod envelope;

use http::{HeaderValue, StatusCode, request::Parts};

pub use self::envelope::{read_reply, write_reply};
use super::{
    media::Media,
    members::{self, Members},
    spoken::{CannotSay, Endpoint, Said},
};
use crate::{
    config::Redex,
    model::{ClientProof, ErrorCode, Grant, PresentedClient, TokenError, TokenRequest},
};

/// Reads a request to one of the two endpoints.
///
/// # Errors
/// What is wrong with its form; 415 if it is not JSON.
pub fn read_request(
    endpoint: Endpoint,
    head: &Parts,
    body: &[u8],
    options: &Redex,
) -> Result<TokenRequest, TokenError> {
    if Media::of(&head.headers) != Some(Media::ApplicationJson) {
        let error = TokenError::invalid_request("Content-Type must be application/json");
        return Err(error.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let mut members = Members::read(body);
    let credential = match endpoint {
        Endpoint::Obtain => members.text("ApiKey", KEY),
        Endpoint::Renew => members.text("RefreshToken", usize::MAX),
    };
    let grant_type = members.text("GrantType", usize::MAX);
    let id = members.text("ClientId", KEY);
    let secret = members.text("ClientSecret", KEY);
    members.finish()?;
    let (Some(credential), Some(grant_type), Some(id), Some(secret)) = (credential, grant_type, id, secret) else {
        // Every member that is not there is a fault.
        return Err(TokenError::new(ErrorCode::InvalidRequest));
    };
    let grant = match (endpoint, grant_type.expose().as_str()) {
        (Endpoint::Obtain, API_KEY) => Grant::ApiKey { key: credential },
        (Endpoint::Renew, REFRESH_TOKEN) => Grant::RefreshToken { token: credential },
        _ => return Err(TokenError::new(ErrorCode::UnsupportedGrantType)),
    };
    let client =
        PresentedClient { id: Some(id.expose().clone()), proof: ClientProof::Secret(secret), by_header: false };
    Ok(TokenRequest { client, grant, refresh_form: options.refresh_form, scope: None, resources: Vec::new() })
}

/// Says a request to an authority that knows this API.
///
/// # Errors
/// If the API has no such grant, or the client has no secret.
pub fn write_request(request: &TokenRequest) -> Result<Said, CannotSay> {
    let (Some(id), ClientProof::Secret(secret)) = (&request.client.id, &request.client.proof) else {
        return Err(CannotSay("a client without an id and a secret"));
    };
    let (endpoint, name, credential, grant_type) = match &request.grant {
        Grant::ApiKey { key } => (Endpoint::Obtain, "ApiKey", key, API_KEY),
        Grant::RefreshToken { token } => (Endpoint::Renew, "RefreshToken", token, REFRESH_TOKEN),
        Grant::AuthorizationCode { .. } => return Err(CannotSay("an authorization code")),
        Grant::ClientCredentials => return Err(CannotSay("client credentials alone")),
        Grant::Password { .. } => return Err(CannotSay("a password")),
    };
    let body = members::write([
        (name, credential.expose().as_str()),
        ("GrantType", grant_type),
        ("ClientId", id),
        ("ClientSecret", secret.expose()),
    ]);
    Ok(Said::posted(endpoint, json(), json(), body))
}

/// As the published samples have it, without a charset.
fn json() -> HeaderValue {
    HeaderValue::from_static("application/json")
}

/// Characters of a client's id, its secret and an API key.
const KEY: usize = 36;
const API_KEY: &str = "api_key";
const REFRESH_TOKEN: &str = "refresh_token";
