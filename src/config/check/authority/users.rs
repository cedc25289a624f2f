//! Who may sign in, or who is asked about them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::clients;
use crate::config::{
    SecretHash, User, Users,
    check::{names, names::Distinct, section::Section},
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
    let mut keys = HashSet::new();
    for (index, user) in authority.users.iter().enumerate() {
        for (at, key) in user.api_key_hashes.iter().enumerate() {
            if !keys.insert(key.to_ascii_lowercase()) {
                section.key(index).key("api_key_hashes").key(at).problem("an API key stands for one user only", "");
                return None;
            }
        }
    }
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
    let api_keys = names::all(&user.api_key_hashes, &section.key("api_key_hashes"), |text, section| {
        let hash = clients::hash(text, section)?;
        if !matches!(hash, SecretHash::Sha256(_)) {
            section.problem("not sha256:…: keys are found by it", "sidegate hash --generate makes a key and its hash");
            return None;
        }
        Some(hash)
    });
    Some(User {
        username: username?.clone(),
        subject: user.subject.clone().unwrap_or_else(|| username.cloned().unwrap_or_default()),
        password: password?,
        api_keys: api_keys?,
        enabled: user.enabled.unwrap_or(true),
        claims: user.claims.0.iter().cloned().collect(),
    })
}
