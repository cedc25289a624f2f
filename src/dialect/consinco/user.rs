//! What the answer tells of the user: which claim is shown as which member.

use serde_json::{Map, Value};

use super::response::Kind;
use crate::{config::Consinco, model::TokenGrant};

/// The value of the member that is documented as `member`; null if the user has nothing for it.
pub fn value(member: &str, kind: Kind, grant: &TokenGrant, options: &Consinco) -> Value {
    let claims = &grant.claims;
    let found = match (options.claim(member), member) {
        (Some(claim), _) => claims.get(claim).cloned(),
        // The user's name or e-mail; an authority that speaks this dialect itself has said which.
        (None, "username") => {
            ["username", "name", "email"].iter().find_map(|claim| claims.get(*claim)).cloned().or_else(|| login(grant))
        }
        (None, "userCode") => claims.get(member).cloned().or_else(|| login(grant)),
        (None, "name" | "loginId") => login(grant),
        (None, own) => claims.get(own).cloned(),
    };
    found.and_then(|value| fit(value, kind)).unwrap_or(Value::Null)
}

fn login(grant: &TokenGrant) -> Option<Value> {
    grant.username.clone().map(Value::String)
}

/// A claim in the type that a member has. Directories and call-outs give everything as text.
pub fn fit(value: Value, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => Some(Value::String(text)),
        (Kind::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
        (Kind::Text, Value::Bool(truth)) => Some(Value::String(truth.to_string())),
        (Kind::Integer, Value::Number(number)) => number.as_i64().map(Value::from),
        (Kind::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Boolean, Value::Bool(truth)) => Some(Value::Bool(truth)),
        (Kind::Boolean, Value::String(text)) => match text.trim() {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

/// The members of an answer that are claims, by their documented names.
pub fn claims(members: &mut Map<String, Value>) -> Map<String, Value> {
    super::response::MEMBERS
        .iter()
        .filter(|member| member.of_user)
        .filter_map(|member| {
            let value = fit(members.remove(member.documented)?, member.kind)?;
            Some((member.documented.to_owned(), value))
        })
        .collect()
}
