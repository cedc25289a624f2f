//! The same table, said to an authority that knows this API, and its answer read backwards.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    found::{Document, Found},
    read::plain,
    write::{self, Filler},
};
use crate::{
    config::{
        DeclaredDialect,
        declared::{Content, DeclaredEndpoint, Format, Leaf, Message, Place, Presence, Times},
    },
    dialect::{
        members::{fit, seconds},
        spoken::{self, CannotSay, Endpoint, Heard, Said},
        xml::BYTE_ORDER_MARK,
    },
    model::{ClientProof, ErrorCode, Grant, GrantType, Scope, Secret, TokenError, TokenGrant, TokenRequest, UnixTime},
};

/// Says a request in the first form that the dialect has for it.
///
/// # Errors
/// If the dialect has no such grant, or a member is missing that it must have.
pub fn write_request(dialect: &DeclaredDialect, request: &TokenRequest) -> Result<Said, CannotSay> {
    let kind = request.grant.kind();
    let endpoint = dialect.endpoints.iter().find(|endpoint| endpoint.grant == kind);
    let endpoint = endpoint.ok_or(CannotSay("this grant"))?;
    let message = endpoint.requests.first().ok_or(CannotSay("this grant"))?;
    let value = |place: &Place, _: usize| of_request(place, request);
    for leaf in message.leaves() {
        if let (Content::Template(template), Presence::Required) = (&leaf.content, leaf.presence)
            && template.places().any(|(place, _)| value(place, 0).is_none())
        {
            return Err(CannotSay("a request without one of the members that it must have"));
        }
    }
    let body = write::message(message, &Filler { value: &value, omits: true, items: 0 });
    let content = match message.media_types.first() {
        Some(media) => spoken::Content::Body { content_type: media.header.clone(), body: Secret::new(body) },
        None => spoken::Content::Query(Secret::new(String::from_utf8(body).unwrap_or_default())),
    };
    let accept = endpoint.responses.iter().flat_map(|response| &response.message.media_types);
    let accept = accept.map(|media| HeaderValue::try_from(&media.essence)).find_map(Result::ok);
    Ok(Said {
        endpoint: if kind == GrantType::RefreshToken { Endpoint::Renew } else { Endpoint::Obtain },
        path: Some(endpoint.path.clone()),
        accept: accept.unwrap_or(HeaderValue::from_static("*/*")),
        authorization: if endpoint.basic { Some(basic(request)?) } else { None },
        content,
    })
}

fn of_request(place: &Place, request: &TokenRequest) -> Option<Value> {
    let text = match (place, &request.grant) {
        (Place::RefreshToken, Grant::RefreshToken { token }) => token.expose().clone(),
        (Place::ApiKey, Grant::ApiKey { key }) => key.expose().clone(),
        (Place::Username, Grant::Password { username, .. }) => username.clone(),
        (Place::Password, Grant::Password { password, .. }) => password.expose().clone(),
        (Place::Company, Grant::Password { company, .. }) => company.clone()?,
        (Place::ClientId, _) => request.client.id.clone()?,
        (Place::ClientSecret, _) => match &request.client.proof {
            ClientProof::Secret(secret) => secret.expose().clone(),
            ClientProof::None | ClientProof::Assertion(_) => return None,
        },
        (Place::Scope, _) => request.scope.as_ref().filter(|scope| !scope.is_empty())?.to_string(),
        _ => return None,
    };
    Some(Value::String(text))
}

/// RFC 6749, section 2.3.1.
fn basic(request: &TokenRequest) -> Result<HeaderValue, CannotSay> {
    let (Some(id), ClientProof::Secret(secret)) = (&request.client.id, &request.client.proof) else {
        return Err(CannotSay("a client without an id and a secret"));
    };
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
    let header = format!("Basic {}", BASE64_STANDARD.encode(pair.expose()));
    let mut header = HeaderValue::try_from(header).map_err(|_| CannotSay("these credentials"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Reads the answer of an authority that knows this API, in any of the forms that the dialect has.
///
/// # Errors
/// Why the authority gave nothing, or that its answer makes no sense.
pub fn read_reply(dialect: &DeclaredDialect, heard: &Heard<'_>) -> Result<TokenGrant, TokenError> {
    let answer = Answer { body: heard.body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(heard.body) };
    let responses = || dialect.endpoints.iter().flat_map(|endpoint: &DeclaredEndpoint| &endpoint.responses);
    let forms = || responses().map(|response| &response.message).chain(&dialect.errors);
    // Some servers answer 200 to everything and tell the truth inside.
    let inner = forms().find_map(|message| answer.first(message, &Place::Status)).and_then(|value| seconds(&value));
    let status = match inner {
        Some(inner) if heard.status.is_success() => {
            u16::try_from(inner).ok().and_then(|inner| StatusCode::from_u16(inner).ok()).unwrap_or(heard.status)
        }
        _ => heard.status,
    };
    let code = || dialect.errors.iter().find_map(|message| answer.code(message, dialect));
    if !status.is_success() {
        // Gateways refuse in words of their own: a 401 that says nothing of this API is none of its own.
        let its_own = dialect.errors.is_empty() || dialect.errors.iter().any(|form| !answer.members(form).is_empty());
        return Err(heard.refusal(status, code().or((!its_own).then_some(ErrorCode::ServerError))));
    }
    for response in responses() {
        let members = answer.members(&response.message);
        if let Some(grant) = grant(&members, dialect, heard) {
            return Ok(grant);
        }
    }
    Err(match code() {
        Some(code) => heard.refusal(StatusCode::BAD_REQUEST, Some(code)),
        None => heard.unreadable("no access token where the dialect has it"),
    })
}

/// An answer that may be in any format: what some servers say of theirs cannot be relied on.
struct Answer<'a> {
    body: &'a [u8],
}

impl Answer<'_> {
    /// Every placeholder of `message` that the answer has something for.
    fn members<'m>(&self, message: &'m Message) -> Vec<(&'m Place, Value)> {
        let mut members = Vec::new();
        let Some(document) = Document::read(&message.format, self.body) else { return members };
        let namespace = match (&message.format, &document) {
            (Format::Xml { root, namespace }, Document::Xml(found)) => {
                let is_it = namespace.as_ref().map_or_else(|| found.is_plain(root), |it| found.is(it, root));
                if !is_it {
                    return members;
                }
                namespace.as_deref()
            }
            _ => None,
        };
        document.walk(namespace, &message.members, &mut |leaf, found| members.extend(member(leaf, found)));
        members
    }

    fn first(&self, message: &Message, place: &Place) -> Option<Value> {
        if !message.names(place) {
            return None;
        }
        self.members(message).into_iter().find(|(known, _)| *known == place).map(|(_, value)| value)
    }

    /// The one code that the answer names, in whatever member it stands.
    fn code(&self, message: &Message, dialect: &DeclaredDialect) -> Option<ErrorCode> {
        let members = self.members(message);
        let mut words = members.iter().filter(|(place, _)| matches!(place, Place::Code | Place::Member));
        words.find_map(|(_, word)| dialect.code(&plain(word)))
    }
}

/// What stands at a placeholder, without the text around it.
fn member<'m>(leaf: &'m Leaf, found: Found<'_>) -> Option<(&'m Place, Value)> {
    let Content::Template(template) = &leaf.content else { return None };
    let (before, place, kind, after) = template.around()?;
    let value = match found {
        Found::Nothing | Found::Repeated | Found::Json(Value::Null) => return None,
        Found::Json(value) => value.clone(),
        Found::Element(element) => element.text().ok()??.expose().clone().into(),
        Found::Text(text) => text.expose().clone().into(),
    };
    let value = match before.is_empty() && after.is_empty() {
        true => value,
        false => plain(&value).strip_prefix(before)?.strip_suffix(after)?.into(),
    };
    // Lifetimes and moments are read in whatever type they are written.
    let value = match (place, kind) {
        (Place::Claim(_) | Place::Username, Some(kind)) => fit(value, write::kind(kind))?,
        _ => value,
    };
    Some((place, value))
}

/// `None` if there is no access token.
fn grant(members: &[(&Place, Value)], dialect: &DeclaredDialect, heard: &Heard<'_>) -> Option<TokenGrant> {
    let value = |place: &Place| members.iter().find(|(known, _)| *known == place).map(|(_, value)| value);
    let text = |place: &Place| value(place)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let moment = |place: &Place| moment(value(place)?, &dialect.times);
    let expires_in = value(&Place::ExpiresIn).and_then(seconds);
    let expires_in = expires_in.or_else(|| moment(&Place::Expires).map(|expires| heard.until(expires)));
    let claims: Map<String, Value> = members
        .iter()
        .filter_map(|(place, value)| match place {
            Place::Claim(claim) => Some((claim.clone(), value.clone())),
            _ => None,
        })
        .collect();
    Some(TokenGrant {
        access_token: Secret::new(text(&Place::AccessToken)?),
        expires_in: expires_in.unwrap_or(dialect.lifetime),
        // A scope that RFC 6749 would not allow is no reason to lose the tokens.
        scope: text(&Place::Scope).and_then(|scope| Scope::parse(&scope).ok()).unwrap_or_default(),
        refresh_token: text(&Place::RefreshToken).map(Secret::new),
        id_token: text(&Place::IdToken).map(Secret::new),
        claims: Arc::new(claims),
        username: text(&Place::Username),
        auth_time: moment(&Place::Login).unwrap_or(heard.asked).min(heard.asked),
        issued: heard.asked,
    })
}

/// A moment as the dialect writes it, or as RFC 3339 does.
fn moment(value: &Value, times: &Times) -> Option<UnixTime> {
    let Some(pattern) = &times.pattern else { return seconds(value).map(UnixTime) };
    let text = value.as_str()?.trim();
    let moment: Timestamp = Timestamp::strptime(pattern, text).or_else(|_| text.parse()).ok()?;
    u64::try_from(moment.as_second()).ok().map(UnixTime)
}
