//! Who is believed.

mod inquiry;

use std::time::Duration;

use url::Url;

use super::{
    files,
    names::{self, Distinct},
    section::Section,
    urls, weak,
};
use crate::config::{
    Issuer, KeySource, LOCAL,
    settings::{self, Algorithm, Settings},
};

/// RFC 8725, section 3.5: a key for HMAC is as long as its output.
pub(super) const SHORTEST_SHARED_SECRET: usize = 32;
const HOUR: u64 = 3600;

pub(super) fn check(settings: &Settings, section: &Section<'_>) -> Option<Vec<Issuer>> {
    let local = settings.authority.as_ref();
    let (mut names, mut urls) = (Distinct::default(), Distinct::default());
    let checked: Vec<Option<Issuer>> = settings
        .issuers
        .iter()
        .enumerate()
        .map(|(index, settings)| {
            let section = section.key(index);
            if let Some(name) = &settings.name {
                names.note(name, index, "issuers", &section.key("name"));
                if name == LOCAL && local.is_some() {
                    let remedy = "give this one another name";
                    section.key("name").problem(format!("policies call the authority {LOCAL:?}"), remedy);
                }
            }
            if let Some(issuer) = &settings.issuer {
                urls.note(issuer, index, "issuers", &section.key("issuer"));
                if local.is_some_and(|local| local.issuer.as_ref() == Some(issuer)) {
                    section.key("issuer").problem(
                        "this is the issuer of the authority, whose tokens only sidegate itself can make",
                        "leave this one out: policies accept the authority's tokens as those of \"local\"",
                    );
                }
            }
            check_one(settings, &section)
        })
        .collect();
    checked.into_iter().collect()
}

fn check_one(settings: &settings::Issuer, section: &Section<'_>) -> Option<Issuer> {
    let name = names::label(settings.name.as_ref(), section, "corp");
    let issuer = section.required("issuer", settings.issuer.as_ref(), "https://idp.example.com");
    let inquiry = inquiry::check(settings, section);
    let keys = check_keys(settings, issuer, section);
    let algorithms = keys.as_ref().and_then(|keys| check_algorithms(settings, keys, &section.key("algorithms")));
    if let (Some(KeySource::Shared(secret)), Some(algorithms)) = (&keys, &algorithms) {
        let section = section.key("hs_secret_file");
        weak::warn_if_shorter_than_hash(secret.expose(), algorithms, &section);
        weak::warn_if_weak(secret.expose(), &section);
    }
    let ca_file = match &settings.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let s = Duration::from_secs;
    let leeway = section.span("leeway", settings.leeway, s(30), s(0)..=s(60));
    let refresh_interval = section.span("refresh_interval", settings.refresh_interval, s(300), s(10)..=s(24 * HOUR));
    let max_stale = section.span("max_stale", settings.max_stale, s(24 * HOUR), s(0)..=s(30 * 24 * HOUR));
    let (token_types, token_type_required) = token_types(settings.token_types.as_deref(), section)?;
    Some(Issuer {
        name: name?,
        issuer: issuer?.clone(),
        keys: keys?,
        algorithms: algorithms?,
        token_types,
        token_type_required,
        leeway,
        required: settings.required.unwrap_or(false),
        ca_file: ca_file?,
        refresh_interval,
        max_stale,
        inquiry: inquiry?,
    })
}

fn check_keys(settings: &settings::Issuer, issuer: Option<&String>, section: &Section<'_>) -> Option<KeySource> {
    let given: Vec<&str> = [
        ("discovery_url", settings.discovery_url.is_some()),
        ("jwks_uri", settings.jwks_uri.is_some()),
        ("jwks_file", settings.jwks_file.is_some()),
        ("hs_secret_file", settings.hs_secret_file.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, given)| given.then_some(key))
    .collect();
    if let [_, second, ..] = given.as_slice() {
        section.problem(format!("more than one source of keys: {}", given.join(", ")), format!("leave {second} out"));
        return None;
    }
    if let Some(url) = &settings.discovery_url {
        return urls::trusted(url, &section.key("discovery_url")).map(KeySource::Discovery);
    }
    if let Some(url) = &settings.jwks_uri {
        return urls::trusted(url, &section.key("jwks_uri")).map(KeySource::JwksUri);
    }
    if let Some(file) = &settings.jwks_file {
        return files::key_set(file, &section.key("jwks_file")).map(KeySource::JwksFile);
    }
    if let Some(file) = &settings.hs_secret_file {
        let section = section.key("hs_secret_file");
        let secret = files::secret(file, &section)?;
        if secret.expose().len() < SHORTEST_SHARED_SECRET {
            section.problem(format!("the secret is shorter than {SHORTEST_SHARED_SECRET} bytes"), "");
            return None;
        }
        return Some(KeySource::Shared(secret));
    }
    let asked = settings.introspection.is_some() || settings.probe.is_some();
    if asked && settings.algorithms.as_deref() == Some(&[]) {
        return Some(KeySource::None);
    }
    discovery_url(issuer?, &section.key("issuer")).map(KeySource::Discovery)
}

/// OpenID Connect Discovery 1.0, section 4: the well-known path is appended to the issuer.
fn discovery_url(issuer: &str, section: &Section<'_>) -> Option<Url> {
    let url = urls::trusted(issuer, section)?;
    if url.query().is_some() {
        section.problem("the URL of an issuer has no query", "");
        return None;
    }
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()
}

fn check_algorithms(
    settings: &settings::Issuer,
    keys: &KeySource,
    section: &Section<'_>,
) -> Option<Vec<jsonwebtoken::Algorithm>> {
    let shared = matches!(keys, KeySource::Shared(_));
    let default: &[Algorithm] = match keys {
        KeySource::Shared(_) => &[Algorithm::HS256],
        _ => &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
    };
    let wanted = settings.algorithms.as_deref().unwrap_or(default);
    if wanted.is_empty() && *keys != KeySource::None {
        section.problem("empty, so no token could be valid", "leave the key out for the default");
        return None;
    }
    names::all(wanted, section, |algorithm, section| {
        let algorithm = algorithm_of(*algorithm);
        let symmetric = matches!(
            algorithm,
            jsonwebtoken::Algorithm::HS256 | jsonwebtoken::Algorithm::HS384 | jsonwebtoken::Algorithm::HS512
        );
        match (symmetric, shared) {
            (true, false) => {
                section.problem(
                    format!("{algorithm:?} needs a shared secret, and this issuer has public keys"),
                    "leave it out, or set hs_secret_file for an issuer that signs with a secret",
                );
                None
            }
            (false, true) => {
                section.problem(
                    format!("{algorithm:?} needs public keys, and this issuer has a shared secret"),
                    "with hs_secret_file only HS256, HS384 and HS512 can be used",
                );
                None
            }
            _ => Some(algorithm),
        }
    })
}

pub(super) fn algorithm_of(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
    }
}

/// The types in the form in which they are compared, and whether a token must have one.
fn token_types(types: Option<&[String]>, section: &Section<'_>) -> Option<(Vec<String>, bool)> {
    let Some(types) = types else {
        return Some((vec!["jwt".into(), "at+jwt".into()], false));
    };
    let checked = names::all(types, &section.key("token_types"), |name, section| {
        let folded = name.to_ascii_lowercase();
        let folded = folded.strip_prefix("application/").unwrap_or(&folded);
        if folded.is_empty() || !folded.bytes().all(|b| b.is_ascii_graphic()) {
            section.problem(format!("{} is not a token type", section.shown(name)), "write for example at+jwt");
            return None;
        }
        Some(folded.to_owned())
    })?;
    let required = !checked.is_empty();
    Some((checked, required))
}
