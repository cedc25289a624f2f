//! RFC 6749: a form comes in, JSON goes out.

mod client;
mod form;
mod reply;
mod spoken;
#[cfg(test)]
mod tests;

use http::{header, request::Parts};

use self::form::Malformed;
pub(super) use self::{client::basic, form::Form};
pub use self::{
    reply::{answer, empty, write_error, write_grant},
    spoken::{read_reply, write_request},
};
use crate::model::{ErrorCode, Grant, PresentedClient, RefreshForm, Scope, Secret, TokenError, TokenRequest};

/// A question about one token: revoke it (RFC 7009), or tell of it (RFC 7662).
#[derive(Debug, Clone)]
pub struct TokenQuestion {
    pub client: PresentedClient,
    pub token: Secret<String>,
}

pub(super) fn read_request(head: &Parts, body: &[u8]) -> Result<TokenRequest, TokenError> {
    let mut form = read_form(head, body)?;
    let client = client::read(head, &mut form)?;
    let grant_type = form.take("grant_type").ok_or_else(|| TokenError::invalid_request("grant_type is missing"))?;
    // What belongs to another grant stays in the form and is ignored, as published.
    let (grant, scope) = match grant_type.expose().as_str() {
        "authorization_code" => {
            let code = form.take("code").ok_or_else(|| TokenError::invalid_request("code is missing"))?;
            let redirect_uri = form.take("redirect_uri").map(|uri| uri.expose().clone());
            (Grant::AuthorizationCode { code, redirect_uri, verifier: form.take("code_verifier") }, None)
        }
        "client_credentials" => (Grant::ClientCredentials, read_scope(&mut form)?),
        "password" => {
            let username = form.take("username").ok_or_else(|| TokenError::invalid_request("username is missing"))?;
            let password = form.take("password").ok_or_else(|| TokenError::invalid_request("password is missing"))?;
            (Grant::Password { username: username.expose().clone(), password, company: None }, read_scope(&mut form)?)
        }
        "refresh_token" => {
            let token =
                form.take("refresh_token").ok_or_else(|| TokenError::invalid_request("refresh_token is missing"))?;
            (Grant::RefreshToken { token }, narrower_scope(&mut form))
        }
        _ => return Err(TokenError::new(ErrorCode::UnsupportedGrantType)),
    };
    Ok(TokenRequest { client, grant, refresh_form: RefreshForm::Full, scope, resources: form.resources })
}

/// Reads a request to the revocation or the introspection endpoint. The hint of a token's type is not needed: every
/// token says itself what it is.
///
/// # Errors
/// What is wrong with its form.
pub fn read_question(head: &Parts, body: &[u8]) -> Result<TokenQuestion, TokenError> {
    let mut form = read_form(head, body)?;
    let client = client::read(head, &mut form)?;
    let token = form.take("token").ok_or_else(|| TokenError::invalid_request("token is missing"))?;
    Ok(TokenQuestion { client, token })
}

fn read_form(head: &Parts, body: &[u8]) -> Result<Form, TokenError> {
    // URIs end up in logs and histories of others (RFC 6749, section 2.3.1).
    if head.uri.query().is_some_and(form::names_a_secret) {
        return Err(TokenError::invalid_request("secrets and tokens do not belong into the URI"));
    }
    if !is_form(head) {
        return Err(TokenError::invalid_request("the body must be application/x-www-form-urlencoded"));
    }
    Form::read(body).map_err(|malformed| {
        TokenError::invalid_request(match malformed {
            Malformed::Encoding => "the body is not well-formed UTF-8 in application/x-www-form-urlencoded",
            Malformed::Repeated => "a parameter is repeated",
        })
    })
}

/// Exactly one `Content-Type`, and no encoding around it; a charset can only be UTF-8.
fn is_form(head: &Parts) -> bool {
    let mut types = head.headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(media)), None) = (types.next().map(|value| value.to_str()), types.next()) else { return false };
    let mut parts = media.split(';').map(str::trim);
    let is_form = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(FORM));
    let charset_fits = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    let plain = head.headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    is_form && charset_fits && plain
}

/// Some published clients separate with commas. Nothing but separators is as if it were not there, as it is at the
/// authorization endpoint: nobody wants a token that is good for nothing.
fn read_scope(form: &mut Form) -> Result<Option<Scope>, TokenError> {
    let Some(text) = form.take("scope") else { return Ok(None) };
    let scope = Scope::parse(&text.expose().replace(',', " "))
        .map_err(|_| TokenError::new(ErrorCode::InvalidScope).described("scope is malformed"))?;
    Ok(Some(scope).filter(|scope| !scope.is_empty()))
}

/// The scope of a refresh, which most clients have ignored: what cannot be read becomes a scope that nobody has.
fn narrower_scope(form: &mut Form) -> Option<Scope> {
    let text = form.take("scope")?.expose().replace(',', " ");
    let scope = Scope::parse(&text).unwrap_or_else(|_| [text].into_iter().collect());
    Some(scope).filter(|scope| !scope.is_empty())
}

const FORM: &str = "application/x-www-form-urlencoded";
/// RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
