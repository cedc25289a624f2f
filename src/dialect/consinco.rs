//! A .NET Web API: the same models as JSON and as XML, by `Content-Type` in and by `Accept` out.

mod refusal;
mod response;
mod user;

use http::{HeaderValue, Response, StatusCode, request::Parts};

pub use self::response::read_reply;
use super::{
    media::Media,
    members::{self, Members},
    spoken::{CannotSay, Endpoint, Said},
    xml,
};
use crate::{
    config::{Consinco, Format},
    model::{
        ClientProof, ErrorCode, Grant, PresentedClient, RefreshForm, Secret, TokenError, TokenGrant, TokenRequest,
    },
};

/// Reads a request to one of the two endpoints. It names no client: its sessions are those of the configured one.
///
/// # Errors
/// What is wrong with its form; 415 if it is neither JSON nor XML.
pub fn read_request(
    endpoint: Endpoint,
    head: &Parts,
    body: &[u8],
    options: &Consinco,
) -> Result<TokenRequest, TokenError> {
    let Some(media) = Media::of(&head.headers) else {
        let error = TokenError::invalid_request("Content-Type must be one of JSON or of XML");
        return Err(error.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    };
    let grant = match endpoint {
        Endpoint::Obtain => {
            let [company, username, password] = texts(media, body, "ConsincoUserBindingModel", LOGIN)?;
            let (Some(company), Some(username), Some(password)) = (company, username, password) else {
                return Err(TokenError::invalid_request("company, username and password are required"));
            };
            let (company, username) = (company.expose().clone(), username.expose().clone());
            Grant::Password { username, password, company: Some(company) }
        }
        Endpoint::Renew => {
            let [token, grant_type] = texts(media, body, "ConsincoRefreshTokenBindingModel", REFRESH)?;
            if grant_type.is_some_and(|given| given.expose() != REFRESH_TOKEN) {
                return Err(TokenError::new(ErrorCode::UnsupportedGrantType));
            }
            let token = token.ok_or_else(|| TokenError::invalid_request("the refresh token is missing"))?;
            Grant::RefreshToken { token }
        }
    };
    let client = PresentedClient { id: Some(options.client.clone()), proof: ClientProof::None, by_header: false };
    Ok(TokenRequest { client, grant, refresh_form: RefreshForm::Full, scope: None, resources: Vec::new() })
}

/// A member by its name in JSON and in XML.
type Name = (&'static str, &'static str);

const LOGIN: [Name; 3] = [("company", "Company"), ("username", "Username"), ("password", "Password")];
const REFRESH: [Name; 2] = [("refresh_token", "Refreshtoken"), ("grant_type", "GrantType")];

/// The texts of a model; `None` for one that is not there, is null or is empty.
fn texts<const N: usize>(
    media: Media,
    body: &[u8],
    root: &str,
    names: [Name; N],
) -> Result<[Option<Secret<String>>; N], TokenError> {
    if !media.is_xml() {
        let mut members = Members::read(body);
        let texts = names.map(|(name, _)| members.optional(name, usize::MAX));
        return members.finish().map(|()| texts);
    }
    let model = xml::read(body)
        .map_err(|_| TokenError::invalid_request("the body is not one well-formed XML document without a DTD"))?;
    if !model.is(MODELS, root) {
        return Err(TokenError::invalid_request("the root element or its namespace is not that of this endpoint"));
    }
    let mut texts = [const { None }; N];
    for (text, (_, name)) in texts.iter_mut().zip(names) {
        let found = model.text_of(Some(MODELS), name);
        let found = found.map_err(|_| TokenError::invalid_request("an element is repeated, or is not a text"))?;
        *text = found.filter(|text| !text.expose().is_empty()).cloned();
    }
    Ok(texts)
}

/// Writes what was given, or why nothing was, in the form that the request of `head` asks for. `realm` goes into the
/// challenge of a 401.
pub fn write_reply(
    reply: &Result<TokenGrant, TokenError>,
    head: &Parts,
    options: &Consinco,
    realm: &str,
) -> Response<bytes::Bytes> {
    let request = Media::of(&head.headers).unwrap_or(Media::ApplicationJson);
    let media = Media::negotiate(&head.headers, request);
    match reply {
        Ok(grant) => response::write(grant, media, options),
        Err(error) => refusal::write(error, media, realm),
    }
}

/// How an authority that knows this API is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    pub format: Format,
    /// For a password without a company.
    pub company: Option<String>,
}

/// Says a request to an authority that knows this API.
///
/// # Errors
/// If the API has no such grant, or a company is missing.
pub fn write_request(request: &TokenRequest, speech: &Speech) -> Result<Said, CannotSay> {
    let (endpoint, body) = match &request.grant {
        Grant::Password { username, password, company } => {
            let company =
                company.as_ref().or(speech.company.as_ref()).ok_or(CannotSay("a password without a company"))?;
            let body = match speech.format {
                Format::Json => {
                    members::write([("company", company), ("username", username), ("password", password.expose())])
                }
                Format::Xml => xml::write(
                    "ConsincoUserBindingModel",
                    Some(MODELS),
                    [
                        ("Company", Some(company.as_str())),
                        ("ControllerVersion", Some(CONTROLLER_VERSION)),
                        ("Password", Some(password.expose())),
                        ("Username", Some(username)),
                    ],
                ),
            };
            (Endpoint::Obtain, body)
        }
        Grant::RefreshToken { token } => {
            let body = match speech.format {
                Format::Json => {
                    members::write([("refresh_token", token.expose().as_str()), ("grant_type", REFRESH_TOKEN)])
                }
                Format::Xml => xml::write(
                    "ConsincoRefreshTokenBindingModel",
                    Some(MODELS),
                    [
                        ("ControllerVersion", Some(CONTROLLER_VERSION)),
                        ("GrantType", Some(REFRESH_TOKEN)),
                        ("Refreshtoken", Some(token.expose())),
                    ],
                ),
            };
            (Endpoint::Renew, body)
        }
        Grant::AuthorizationCode { .. } => return Err(CannotSay("an authorization code")),
        Grant::ClientCredentials => return Err(CannotSay("client credentials")),
        Grant::ApiKey { .. } => return Err(CannotSay("an API key")),
    };
    let media = match speech.format {
        Format::Json => Media::ApplicationJson,
        Format::Xml => Media::ApplicationXml,
    };
    Ok(Said::posted(endpoint, media.content_type(), HeaderValue::from_static(media.as_str()), body))
}

const MODELS: &str = "http://schemas.datacontract.org/2004/07/AuthenticationServer.Models";
const REFRESH_TOKEN: &str = "refresh_token";
/// What the published samples send.
const CONTROLLER_VERSION: &str = "3";
