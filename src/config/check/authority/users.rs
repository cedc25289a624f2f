//! Who may sign in, or who is asked about them.

use std::{collections::HashMap, sync::Arc};

use super::clients;
use crate::config::{
    User, Users,
    check::{names::Distinct, section::Section},
    settings,
};

pub(super) fn check(authority: &settings::Authority, section: &Section<'_>) -> Option<Users> {
    let section = section.key("users");
    let mut names = Distinct::default();
    let checked: Vec<Option<User>> = authority
        .users
        .iter()
        .enumerate()
        .map(|(index, user)| {
            let section = section.key(index);
            if let Some(name) = &user.username {
                names.note(name, index, "users", &section.key("username"));
            }
            check_one(user, &section)
        })
        .collect();
    let all: Option<Vec<User>> = checked.into_iter().collect();
    Some(Users::Listed(all?.into_iter().map(|user| (user.username.clone(), Arc::new(user))).collect::<HashMap<_, _>>()))
}

fn check_one(user: &settings::User, section: &Section<'_>) -> Option<User> {
    let username = section.required("username", user.username.as_ref(), "ana");
    let password = match &user.password_hash {
        Some(text) => clients::hash(text, &section.key("password_hash")),
        None => {
            section.key("password_hash").problem("missing", "sidegate hash makes one");
            None
        }
    };
    Some(User {
        username: username?.clone(),
        subject: user.subject.clone().unwrap_or_else(|| username.cloned().unwrap_or_default()),
        password: password?,
        enabled: user.enabled.unwrap_or(true),
        claims: user.claims.0.iter().cloned().collect(),
    })
}
