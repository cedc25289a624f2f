//! A token API that the configuration tells of: one table of members, read and written, served and spoken.

mod found;
mod read;
mod spoken;
mod write;

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

use self::read::Reading;
pub use self::spoken::{read_reply, write_request};
use super::{answer, media, oauth2};
use crate::{
    config::{
        DeclaredPlace,
        declared::{DeclaredEndpoint, Format, MediaType, Message, Place},
    },
    model::{
        ClientProof, ErrorCode, Grant, GrantType, PresentedClient, Scope, Secret, TokenError, TokenGrant, TokenRequest,
    },
};

/// The methods that a place takes, as `Allow` writes them.
pub fn methods(place: &DeclaredPlace) -> &'static str {
    let requests = || place.endpoints().flat_map(|endpoint| &endpoint.requests);
    let gets = requests().any(|request| request.format == Format::Query);
    let posts = requests().any(|request| request.format != Format::Query);
    match (gets, posts) {
        (true, true) => "GET, POST",
        (true, false) => "GET",
        (false, _) => "POST",
    }
}

/// Reads a request to the endpoints of one place.
///
/// # Errors
/// What is wrong with its form; 415 if its media type is another.
pub fn read_request(place: &DeclaredPlace, head: &Parts, body: &[u8]) -> Result<TokenRequest, TokenError> {
    let candidates = candidates(place, head)?;
    let read = |message: &Message| match head.method {
        Method::GET => read::request(message, head.uri.query().unwrap_or_default().as_bytes()),
        _ => read::request(message, body),
    };
    let mut readings: Vec<(&DeclaredEndpoint, Reading)> =
        candidates.into_iter().map(|(endpoint, message)| (endpoint, read(message))).collect();
    // What tells the grants of one place apart is the constants of their requests.
    let meant = readings.iter().position(|(_, reading)| reading.is_meant());
    if meant.is_none() && readings.len() > 1 && readings.iter().all(|(_, reading)| reading.is_another()) {
        return Err(TokenError::new(ErrorCode::UnsupportedGrantType));
    }
    let (endpoint, reading) = readings.swap_remove(meant.unwrap_or(0));
    let mut texts = reading.finish(endpoint.missing.as_deref())?;
    let mut take = |place: &Place| texts.iter().position(|(known, _)| known == place).map(|at| texts.swap_remove(at).1);
    let scope = match take(&Place::Scope) {
        Some(scope) => Some(Scope::parse(scope.expose()).map_err(|_| TokenError::new(ErrorCode::InvalidScope))?),
        None => None,
    };
    let client = client(endpoint, place, head, &mut take)?;
    let grant = grant(endpoint.grant, take).ok_or_else(|| TokenError::new(ErrorCode::InvalidRequest))?;
    Ok(TokenRequest { client, grant, scope, resources: Vec::new(), refresh_form: place.dialect.refresh_form })
}

/// The endpoints that take requests in the form of this one. Never empty.
fn candidates<'p>(
    place: &'p DeclaredPlace,
    head: &Parts,
) -> Result<Vec<(&'p DeclaredEndpoint, &'p Message)>, TokenError> {
    let essence = media::essence(&head.headers);
    let is_taken = |message: &Message| match (&head.method, &message.format) {
        (&Method::GET, format) => *format == Format::Query,
        (_, Format::Query) => false,
        _ => message.media_types.iter().any(|media| Some(media.essence.as_str()) == essence.as_deref()),
    };
    let taken: Vec<_> = place
        .endpoints()
        .filter_map(|endpoint| Some((endpoint, endpoint.requests.iter().find(|message| is_taken(message))?)))
        .collect();
    if taken.is_empty() {
        let text = place.endpoints().next().map(|endpoint| endpoint.wrong_media_type.to_string()).unwrap_or_default();
        return Err(TokenError::invalid_request(text).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(taken)
}

fn client(
    endpoint: &DeclaredEndpoint,
    place: &DeclaredPlace,
    head: &Parts,
    take: &mut impl FnMut(&Place) -> Option<Secret<String>>,
) -> Result<PresentedClient, TokenError> {
    if endpoint.basic {
        let mut headers = head.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else {
            return Err(TokenError::invalid_client().described("one Authorization header with Basic is needed"));
        };
        let Some((id, secret)) = oauth2::basic(header) else {
            return Err(TokenError::invalid_client().described("the Authorization header is not well-formed Basic"));
        };
        let proof = if secret.expose().is_empty() { ClientProof::None } else { ClientProof::Secret(secret) };
        return Ok(PresentedClient { id: Some(id), proof, by_header: true });
    }
    let id = take(&Place::ClientId).map(|id| id.expose().clone()).or_else(|| place.client.clone());
    let proof = take(&Place::ClientSecret).map_or(ClientProof::None, ClientProof::Secret);
    Ok(PresentedClient { id, proof, by_header: false })
}

/// `None` if a member is missing; the check of the configuration makes sure that a reading has them all.
fn grant(grant: GrantType, mut take: impl FnMut(&Place) -> Option<Secret<String>>) -> Option<Grant> {
    Some(match grant {
        GrantType::RefreshToken => Grant::RefreshToken { token: take(&Place::RefreshToken)? },
        GrantType::ApiKey => Grant::ApiKey { key: take(&Place::ApiKey)? },
        GrantType::Password => Grant::Password {
            username: take(&Place::Username)?.expose().clone(),
            password: take(&Place::Password)?,
            company: take(&Place::Company).map(|company| company.expose().clone()),
        },
        GrantType::ClientCredentials => Grant::ClientCredentials,
        GrantType::AuthorizationCode | GrantType::Implicit | GrantType::Basic => return None,
    })
}

/// Writes what was given, or why nothing was, in the form that the request of `head` asks for. `realm` goes into the
/// challenge of a 401.
pub fn write_reply(
    place: &DeclaredPlace,
    reply: &Result<TokenGrant, TokenError>,
    head: &Parts,
    realm: &str,
) -> Response<bytes::Bytes> {
    let dialect = &place.dialect;
    match reply {
        Ok(grant) => {
            // Endpoints of one place answer alike.
            let responses = place.endpoints().take(1).flat_map(|endpoint| &endpoint.responses);
            let (message, response, media) = negotiate(head, responses.map(|response| (&response.message, response)));
            let value = |place: &Place, _: usize| write::of_grant(place, grant, response.status, &dialect.times);
            let filler = write::Filler { value: &value, omits: response.omits, items: 0 };
            answer::answer(response.status, media, write::message(message, &filler))
        }
        Err(error) => {
            let status = answer::fixed_status(error).unwrap_or_else(|| dialect.status(error.code));
            let (message, (), media) = negotiate(head, dialect.errors.iter().map(|message| (message, ())));
            let value = |place: &Place, item: usize| write::of_error(place, error, item, status, dialect);
            let filler = write::Filler { value: &value, omits: false, items: error.faults.len().max(1) };
            let body = write::message(message, &filler);
            let mut response = answer::refusal(status, error, realm, media, body);
            let headers = response.headers_mut();
            if status == StatusCode::METHOD_NOT_ALLOWED {
                headers.insert(header::ALLOW, HeaderValue::from_static(methods(place)));
            }
            if status == StatusCode::UNAUTHORIZED
                && place.endpoints().any(|endpoint| endpoint.basic)
                && let Ok(challenge) = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
            {
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

/// The one of `forms`, which are not empty, that the request asks for, and its media type.
fn negotiate<'p, T: Copy>(
    head: &Parts,
    forms: impl Iterator<Item = (&'p Message, T)>,
) -> (&'p Message, T, HeaderValue) {
    let offered: Vec<(&Message, T, &MediaType)> =
        forms.flat_map(|(message, form)| message.media_types.iter().map(move |media| (message, form, media))).collect();
    let essences: Vec<&str> = offered.iter().map(|(_, _, media)| media.essence.as_str()).collect();
    let request = media::essence(&head.headers);
    let (message, form, media) = offered[media::negotiate(&head.headers, request.as_deref(), &essences)];
    (message, form, media.header.clone())
}
