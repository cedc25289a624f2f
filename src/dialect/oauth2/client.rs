//! Who a client says that it is: by HTTP Basic or in the form, and by one of them only (RFC 6749, section 2.3).

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, header, request::Parts};

use super::{
    JWT_BEARER,
    form::{self, Form},
};
use crate::model::{ClientProof, PresentedClient, Secret, TokenError};

pub fn read(head: &Parts, form: &mut Form) -> Result<PresentedClient, TokenError> {
    let id = form.take("client_id").map(|id| id.expose().clone());
    let in_form = proof_in_form(form)?;
    let mut headers = head.headers.get_all(header::AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Ok(PresentedClient { id, proof: in_form, by_header: false });
    };
    if headers.next().is_some() || !matches!(in_form, ClientProof::None) {
        return Err(two_methods());
    }
    let Some((by_header, secret)) = basic(header) else {
        return Err(TokenError::invalid_client().described("the Authorization header is not well-formed Basic"));
    };
    if id.is_some_and(|id| id != by_header) {
        return Err(TokenError::invalid_request("client_id and the Authorization header name different clients"));
    }
    // What some libraries send for a public client: a name and no secret.
    let proof = if secret.expose().is_empty() { ClientProof::None } else { ClientProof::Secret(secret) };
    Ok(PresentedClient { id: Some(by_header), proof, by_header: true })
}

fn proof_in_form(form: &mut Form) -> Result<ClientProof, TokenError> {
    let kind = form.take("client_assertion_type");
    match (form.take("client_secret"), form.take("client_assertion"), kind) {
        (Some(_), Some(_), _) => Err(two_methods()),
        (Some(secret), None, _) => Ok(ClientProof::Secret(secret)),
        (None, Some(assertion), Some(kind)) if kind.expose() == JWT_BEARER => Ok(ClientProof::Assertion(assertion)),
        (None, Some(_), Some(_)) => {
            Err(TokenError::invalid_client().described("this client_assertion_type is not supported"))
        }
        (None, Some(_), None) => Err(TokenError::invalid_request("client_assertion_type is missing")),
        (None, None, Some(_)) => Err(TokenError::invalid_request("client_assertion is missing")),
        (None, None, None) => Ok(ClientProof::None),
    }
}

fn two_methods() -> TokenError {
    TokenError::invalid_request("more than one method of client authentication")
}

/// Id and secret, both form-encoded inside (RFC 6749, section 2.3.1). There is one reading: a secret that was sent as it
/// is, without encoding, is right only where decoding changes nothing.
pub fn basic(header: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Secret::new(BASE64_STANDARD.decode(credentials.trim_matches(' ')).ok()?);
    let colon = pair.expose().iter().position(|&byte| byte == b':')?;
    let (id, secret) = pair.expose().split_at(colon);
    let id = form::decode(id).filter(|id| !id.is_empty())?;
    Some((id, Secret::new(form::decode(&secret[1..])?)))
}
