//! Who may sign in, or who is asked about them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{claims, hashes, remote, service};
use crate::config::{
    SecretHash, User, Users,
    check::{names, names::Distinct, section::Section},
    settings,
};

pub(super) fn check(authority: &settings::Authority, section: &Section<'_>) -> Option<Users> {
    let listed = list(authority, &section.key("users"));
    match &authority.user_service {
        None => listed,
        Some(_) if !authority.users.is_empty() => {
            section
                .key("user_service")
                .problem("users are listed and asked about at once", "leave out users (or users_file) or user_service");
            None
        }
        Some(elsewhere) => service::check(elsewhere, &section.key("user_service")),
    }
}

fn list(authority: &settings::Authority, section: &Section<'_>) -> Option<Users> {
    let (mut names, mut subjects, mut seen) = (Distinct::default(), Distinct::default(), BTreeSet::new());
    let checked: Vec<Option<User>> = authority
        .users
        .iter()
        .enumerate()
        .map(|(index, user)| {
            let section = section.key(index);
            if let Some(name) = &user.username {
                names.note(name, index, "users", &section.key("username"));
            }
            let place = section.key(if user.subject.is_some() { "subject" } else { "username" });
            if let Some(subject) = user.subject.as_ref().or(user.username.as_ref()) {
                // Two of one name were told of above.
                if user.subject.is_some() || seen.insert(subject) {
                    subjects.note(subject, index, "users", &place);
                }
                if authority.clients.iter().any(|client| client.id.as_ref() == Some(subject)) {
                    place.problem(
                        format!(
                            "{} is also the id of a client, whose own tokens would pass for this user's",
                            place.shown(subject)
                        ),
                        "give the user another subject",
                    );
                }
            }
            check_one(user, authority, &section)
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
    warn_of_prices(authority, section);
    let all: Option<Vec<User>> = checked.into_iter().collect();
    Some(Users::Listed(all?.into_iter().map(|user| (user.username.clone(), Arc::new(user))).collect::<HashMap<_, _>>()))
}

fn check_one(user: &settings::User, authority: &settings::Authority, section: &Section<'_>) -> Option<User> {
    let username = section.required("username", user.username.as_ref(), "ana");
    let named = ["username", "subject"].into_iter().zip([username, user.subject.as_ref()]);
    let mut good = true;
    for (key, name) in named.filter_map(|(key, name)| Some((key, name?))) {
        if name.len() > LONGEST_NAME || name.contains(char::is_control) || name.is_empty() {
            let words = format!("not 1 to {LONGEST_NAME} bytes without control characters");
            section.key(key).problem(words, "");
            good = false;
        }
    }
    let password = match &user.password_hash {
        // Who has a key only has no password that could be guessed.
        None if !user.api_key_hashes.is_empty() => Some(None),
        Some(text) => {
            let section = section.key("password_hash");
            if text.starts_with("sha256:") {
                section.warn(
                    "sha256 is for generated secrets; of a password that a person chose it tells too much",
                    "sidegate hash makes a slow hash of it",
                );
            }
            hashes::check(text, &section).map(Some)
        }
        None => {
            section.key("password_hash").problem("missing, and api_key_hashes as well", "sidegate hash makes one");
            None
        }
    };
    let api_keys = names::all(&user.api_key_hashes, &section.key("api_key_hashes"), |text, section| {
        let hash = hashes::check(text, section)?;
        if !matches!(hash, SecretHash::Sha256(_)) {
            section.problem("not sha256:…: keys are found by it", "sidegate hash --generate makes a key and its hash");
            return None;
        }
        Some(hash)
    });
    Some(User {
        username: username.filter(|_| good)?.clone(),
        subject: user.subject.as_ref().or(username)?.clone(),
        password: password?,
        api_keys: api_keys?,
        enabled: user.enabled.unwrap_or(true),
        claims: claims::check(&user.claims.0, &section.key("claims"))?,
        account: remote::account(user.account.as_ref(), authority, &section.key("account"))?,
    })
}

/// A name that is not there costs what the dearest hash costs; where hashes differ, time tells the cheap ones.
fn warn_of_prices(authority: &settings::Authority, section: &Section<'_>) {
    let hashes = authority.users.iter().filter_map(|user| user.password_hash.as_deref());
    let prices: BTreeSet<_> = hashes.filter_map(hashes::parameters).collect();
    if prices.len() > 1 {
        section.warn(
            "the hashes have different parameters, so the time of a refusal tells who is listed",
            "make them anew with the same ones as their users sign in",
        );
    }
}

const LONGEST_NAME: usize = 255;
