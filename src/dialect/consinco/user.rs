//! What the answer tells of the user: which claim is shown as which member.

use serde_json::{Map, Value};

use crate::{
    config::Consinco,
    dialect::members::{Kind, fit},
    model::TokenGrant,
};

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
