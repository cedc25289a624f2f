//! A message with its placeholders filled in.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::read::plain;
use crate::{
    config::{
        DeclaredDialect,
        declared::{Content, Format, Kind, Leaf, Message, Node, Part, Place, Times},
    },
    dialect::{
        members::{self, fit},
        xml,
    },
    model::{TokenError, TokenGrant, UnixTime},
};
use http::StatusCode;

/// What is filled in, and what becomes of that for which there is nothing.
pub struct Filler<'f> {
    /// Of a placeholder; in a list of errors, of its item with that number.
    pub value: &'f dyn Fn(&Place, usize) -> Option<Value>,
    /// Left out instead of being null.
    pub omits: bool,
    /// How many items a list of errors has.
    pub items: usize,
}

enum Filled {
    Value(Value),
    Members(Vec<(String, Filled)>),
    List(Vec<Filled>),
}

impl Serialize for Filled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Filled::Value(value) => value.serialize(serializer),
            Filled::Members(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
            Filled::List(items) => serializer.collect_seq(items),
        }
    }
}

pub fn message(message: &Message, filler: &Filler<'_>) -> Vec<u8> {
    let filled = members(&message.members, filler, 0);
    match &message.format {
        Format::Json => members::write(filled),
        Format::Xml { root, namespace } => xml::write_tree(root, namespace.as_deref(), &elements(filled)),
        Format::Form | Format::Query => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in &filled {
                if let Filled::Value(value) = value
                    && !value.is_null()
                {
                    form.append_pair(name, &plain(value));
                }
            }
            form.finish().into_bytes()
        }
    }
}

fn members(members: &[(String, Node)], filler: &Filler<'_>, item: usize) -> Vec<(String, Filled)> {
    let filled = members.iter().filter_map(|(name, below)| Some((name.clone(), node(below, filler, item)?)));
    filled.collect()
}

/// `None` for what is left out.
fn node(below: &Node, filler: &Filler<'_>, item: usize) -> Option<Filled> {
    Some(match below {
        Node::Leaf(leaf) => match value(leaf, filler, item) {
            Some(value) => Filled::Value(value),
            None if filler.omits => return None,
            None => Filled::Value(Value::Null),
        },
        Node::Members(below) => Filled::Members(members(below, filler, item)),
        Node::List(nodes) => Filled::List(nodes.iter().filter_map(|below| node(below, filler, item)).collect()),
        Node::Each(below) => Filled::List((0..filler.items).filter_map(|item| node(below, filler, item)).collect()),
    })
}

/// What a leaf says; `None` if there is nothing for its placeholder.
fn value(leaf: &Leaf, filler: &Filler<'_>, item: usize) -> Option<Value> {
    let template = match &leaf.content {
        Content::Constant(value) => return Some(value.clone()),
        Content::Template(template) => template,
    };
    let Some((before, place, kind, after)) = template.around() else {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(place, _) => (filler.value)(place, item).as_ref().map(plain).unwrap_or_default(),
        };
        return Some(Value::String(template.0.iter().map(text).collect()));
    };
    let value = (filler.value)(place, item).filter(|value| !value.is_null())?;
    let value = match kind {
        Some(kind) => fit(value, self::kind(kind))?,
        None => value,
    };
    Some(if before.is_empty() && after.is_empty() { value } else { format!("{before}{}{after}", plain(&value)).into() })
}

pub fn kind(kind: Kind) -> members::Kind {
    match kind {
        Kind::Text => members::Kind::Text,
        Kind::Integer => members::Kind::Integer,
        Kind::Boolean => members::Kind::Boolean,
    }
}

/// A list is an element for each of its items.
fn elements(filled: Vec<(String, Filled)>) -> Vec<(String, xml::Content)> {
    let mut all = Vec::new();
    for (name, filled) in filled {
        match filled {
            Filled::List(items) => all.extend(items.into_iter().map(|item| (name.clone(), element(item)))),
            filled => all.push((name, element(filled))),
        }
    }
    all
}

fn element(filled: Filled) -> xml::Content {
    match filled {
        Filled::Value(Value::Null) => xml::Content::Nil,
        Filled::Value(value) => xml::Content::Text(plain(&value)),
        Filled::Members(members) => xml::Content::Children(elements(members)),
        // The check refuses a list in a list.
        Filled::List(_) => xml::Content::Nil,
    }
}

/// What a success says.
pub fn of_grant(place: &Place, grant: &TokenGrant, status: StatusCode, times: &Times) -> Option<Value> {
    let moment = |moment: UnixTime| Some(moment_of(moment, times));
    match place {
        Place::AccessToken => Some(grant.access_token.expose().as_str().into()),
        Place::RefreshToken => grant.refresh_token.as_ref().map(|token| token.expose().as_str().into()),
        Place::IdToken => grant.id_token.as_ref().map(|token| token.expose().as_str().into()),
        Place::ExpiresIn => Some(grant.expires_in.into()),
        Place::Expires => moment(grant.issued.plus(grant.expires_in)),
        Place::Issued => moment(grant.issued),
        Place::Login => moment(grant.auth_time),
        Place::Scope => Some(grant.scope.to_string().into()),
        Place::Username => grant.username.as_deref().map(Into::into),
        Place::Claim(claim) => grant.claims.get(claim).cloned(),
        place => of_status(place, status),
    }
}

/// What an error says; with faults, of the one with the number `item`.
pub fn of_error(
    place: &Place,
    error: &TokenError,
    item: usize,
    status: StatusCode,
    dialect: &DeclaredDialect,
) -> Option<Value> {
    let word = || dialect.word(error.code).to_owned();
    let description = || match (&error.description, error.faults.first()) {
        (Some(description), _) => description.clone().into_owned(),
        (None, Some(fault)) => format!("{}: {}", fault.member, fault.problem),
        (None, None) => dialect.description(error.code).map_or_else(word, str::to_owned),
    };
    match place {
        Place::Code => Some(word().into()),
        Place::Description => Some(description().into()),
        Place::Member => Some(error.faults.get(item).map_or_else(word, |fault| fault.member.clone()).into()),
        Place::Problem => Some(error.faults.get(item).map_or_else(description, |fault| fault.problem.into()).into()),
        place => of_status(place, status),
    }
}

fn of_status(place: &Place, status: StatusCode) -> Option<Value> {
    match place {
        Place::Status => Some(status.as_u16().into()),
        Place::Reason => Some(status.canonical_reason().unwrap_or("Error").into()),
        _ => None,
    }
}

fn moment_of(moment: UnixTime, times: &Times) -> Value {
    let Some(pattern) = &times.pattern else { return moment.0.into() };
    let second = i64::try_from(moment.0).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(second).unwrap_or(Timestamp::MAX).to_zoned(times.zone.clone());
    // The check has written a moment with this pattern.
    jiff::fmt::strtime::format(pattern, &moment).map_or(Value::Null, Value::String)
}
