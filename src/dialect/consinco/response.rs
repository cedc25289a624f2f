//! The one model of every success, `TokenResponse`, with its two sets of names.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use super::user;
use crate::{
    config::{Consinco, Issued, JsonNames},
    dialect::{
        answer::answer,
        media::Media,
        members::{self, Kind, seconds},
        spoken::Heard,
        xml::{self, BYTE_ORDER_MARK},
    },
    json,
    model::{ErrorCode, Scope, Secret, TokenError, TokenGrant, UnixTime},
};

/// A member of the model.
pub struct Member {
    pub documented: &'static str,
    /// The property that the compiler made a backing field for.
    property: &'static str,
    pub kind: Kind,
    /// It tells of the user, not of the tokens.
    pub of_user: bool,
    /// Only newer servers have it.
    extra: bool,
}

/// In the order of the published samples, which is that of the class.
pub const MEMBERS: [Member; 18] = [
    token("access_token", "accessToken"),
    token("token_type", "tokenType"),
    token("expires_in", "expiresIn"),
    token("refresh_token", "refreshToken"),
    user("username", "userName", Kind::Text),
    user("id", "id", Kind::Integer),
    user("name", "name", Kind::Text),
    user("userSequence", "seqUser", Kind::Integer),
    user("userCode", "userCode", Kind::Text),
    user("permissionRole", "permissionRole", Kind::Text),
    user("company", "company", Kind::Text),
    user("companyType", "companyType", Kind::Text),
    user("isExt", "isExt", Kind::Boolean),
    user("loginId", "loginId", Kind::Text),
    Member { kind: Kind::Stamp, ..token(".issued", "issued") },
    Member { kind: Kind::Stamp, ..token(".expires", "expires") },
    Member { extra: true, ..user("ADUser", "ADUser", Kind::Text) },
    Member { extra: true, ..user("productLine", "productLine", Kind::Text) },
];

const fn token(documented: &'static str, property: &'static str) -> Member {
    Member { documented, property, kind: Kind::Text, of_user: false, extra: false }
}

const fn user(documented: &'static str, property: &'static str, kind: Kind) -> Member {
    Member { documented, property, kind, of_user: true, extra: false }
}

impl Member {
    fn backing_field(&self) -> String {
        format!("<{}>k__BackingField", self.property)
    }

    /// `<` and `>` as `XmlConvert.EncodeLocalName` writes them.
    fn element(&self) -> String {
        format!("_x003C_{}_x003E_k__BackingField", self.property)
    }
}

pub fn write(grant: &TokenGrant, media: Media, options: &Consinco) -> Response<Bytes> {
    let members = MEMBERS.iter().filter(|member| options.extra_members || !member.extra);
    let mut values: Vec<(String, Value)> = members
        .map(|member| {
            let name = match options.json_names {
                _ if media.is_xml() => member.element(),
                JsonNames::Documented => member.documented.to_owned(),
                JsonNames::BackingFields => member.backing_field(),
            };
            (name, value(member, grant, options))
        })
        .collect();
    let body = if media.is_xml() {
        // A DataContract reader takes an element that is out of its ordinal order for one that is missing, without a word.
        values.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        xml::write(ROOT, Some(NAMESPACE), values.into_iter().map(|(name, value)| (name, as_text(value))))
    } else {
        members::write(values)
    };
    answer(StatusCode::OK, media.content_type(), body)
}

fn value(member: &Member, grant: &TokenGrant, options: &Consinco) -> Value {
    let stamp = |moment| Value::String(stamp(moment, &options.zone));
    match member.documented {
        "access_token" => Value::String(grant.access_token.expose().clone()),
        "token_type" => Value::from("bearer"),
        "expires_in" => Value::String(grant.expires_in.to_string()),
        "refresh_token" => grant.refresh_token.as_ref().map(|token| token.expose().clone()).into(),
        ".issued" => stamp(match options.issued {
            Issued::Login => grant.auth_time,
            Issued::Token => grant.issued,
        }),
        ".expires" => stamp(grant.issued.plus(grant.expires_in)),
        of_user => user::value(of_user, member.kind, grant, options),
    }
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// ISO 8601 with seven fraction digits and offset, as .NET's round-trip format has it.
fn stamp(moment: UnixTime, zone: &TimeZone) -> String {
    let second = i64::try_from(moment.0).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.7f%:z").to_string()
}

/// Reads the answer of an authority that knows this API: JSON with either set of names, or XML.
///
/// # Errors
/// Why the authority gave nothing, or that its answer makes no sense.
pub fn read_reply(heard: &Heard<'_>) -> Result<TokenGrant, TokenError> {
    // No JSON begins so, and all XML does: what some servers say of their answers cannot be relied on.
    let body = heard.body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(heard.body).trim_ascii_start();
    let is_xml = body.first() == Some(&b'<');
    if !heard.status.is_success() {
        let code = if is_xml { None } else { json::object(body).ok().and_then(|members| code(&members)) };
        return Err(heard.refusal(heard.status, code));
    }
    let members = if is_xml { from_xml(body) } else { json::object(body).ok().map(from_json) };
    let mut members = members.ok_or_else(|| heard.unreadable("neither JSON nor XML of this API"))?;
    let access_token = secret(&mut members, "access_token").ok_or_else(|| heard.unreadable("no access_token"))?;
    let refresh_token = secret(&mut members, "refresh_token");
    let moment = |name: &str| {
        let stamp: Timestamp = members.get(name)?.as_str()?.trim().parse().ok()?;
        u64::try_from(stamp.as_second()).ok().map(UnixTime)
    };
    let auth_time = moment(".issued").unwrap_or(heard.asked).min(heard.asked);
    let expires_in = members
        .get("expires_in")
        .and_then(seconds)
        .or_else(|| moment(".expires").map(|expires| heard.until(expires)))
        .unwrap_or(LIFETIME);
    let claims = user::claims(&mut members);
    let login = ["loginId", "name", "username"].iter().find_map(|name| claims.get(*name)?.as_str());
    Ok(TokenGrant {
        access_token,
        expires_in,
        scope: Scope::default(),
        refresh_token,
        id_token: None,
        username: login.map(str::to_owned),
        claims: Arc::new(claims),
        auth_time,
        issued: heard.asked,
    })
}

fn secret(members: &mut Map<String, Value>, name: &str) -> Option<Secret<String>> {
    match members.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(Secret::new(text)),
        _ => None,
    }
}

/// The members by their documented names, whichever names were used.
fn from_json(mut members: Map<String, Value>) -> Map<String, Value> {
    let named = |member: &Member| {
        let value = members.remove(member.documented).or_else(|| members.remove(&member.backing_field()))?;
        Some((member.documented.to_owned(), value))
    };
    MEMBERS.iter().filter_map(named).collect()
}

fn from_xml(body: &[u8]) -> Option<Map<String, Value>> {
    let model = xml::read(body).ok().filter(|root| root.is(NAMESPACE, ROOT))?;
    let mut members = Map::new();
    for member in &MEMBERS {
        if let Some(text) = model.text_of(Some(NAMESPACE), &member.element()).ok()? {
            members.insert(member.documented.to_owned(), Value::String(text.expose().clone()));
        }
    }
    Some(members)
}

/// As RFC 6749 names it.
fn code(members: &Map<String, Value>) -> Option<ErrorCode> {
    ErrorCode::parse(members.get("error")?.as_str()?)
}

const ROOT: &str = "TokenResponse";
const NAMESPACE: &str = "http://schemas.datacontract.org/2004/07/Kike.Security.Data.Dto";
/// Seconds, where the answer does not say how long its token lives: short, so that it is soon renewed.
const LIFETIME: u64 = 60;
