//! An authority that speaks `oauth2`: where it is, whose ID tokens are believed, and how users get there and back.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

use crate::config::{
    Issuer, KeySource, RemoteEndpoints, RemoteOAuth2, SignInAt,
    check::{section::Section, urls},
    settings,
};

pub(super) fn check(
    remote: &settings::Remote,
    own_issuer: Option<&str>,
    section: &Section<'_>,
) -> Option<RemoteOAuth2> {
    let given = |key: &'static str, url: &Option<String>| match url {
        Some(url) => urls::trusted(url, &section.key(key)).map(Some),
        None => Some(None),
    };
    let token = given("url", &remote.url);
    let authorization = given("authorization_endpoint", &remote.authorization_endpoint);
    let jwks_uri = given("jwks_uri", &remote.jwks_uri);
    let issuer = match &remote.issuer {
        Some(issuer) => issuer_of(issuer, &section.key("issuer")).map(Some),
        None => Some(None),
    };
    let (token, authorization, jwks_uri, issuer) = (token?, authorization?, jwks_uri?, issuer?);
    let keys = match (jwks_uri, &issuer) {
        (Some(uri), _) => Some(KeySource::JwksUri(uri)),
        (None, Some(issuer)) if token.is_none() => {
            let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            Url::parse(&url).ok().map(KeySource::Discovery)
        }
        (None, _) => None,
    };
    let endpoints = match (token, &issuer) {
        (Some(token), _) => RemoteEndpoints::Given { token, authorization },
        (None, Some(_)) if authorization.is_some() => {
            section.key("authorization_endpoint").problem(
                "given, but the token endpoint is not",
                "write the token endpoint as url, or leave both to the metadata of issuer",
            );
            return None;
        }
        (None, Some(issuer)) => RemoteEndpoints::Discovery { issuer: issuer.clone() },
        (None, None) => {
            section.problem(
                "neither issuer nor url: nobody knows where the authority is",
                "write for example issuer: https://idp.example.com, or its token endpoint as url",
            );
            return None;
        }
    };
    if let RemoteEndpoints::Given { token, .. } = &endpoints
        && token.path() == "/"
    {
        section.key("url").warn(
            "it has no path, and it is where tokens are asked for",
            "write the token endpoint itself, or the authority as issuer, whose metadata say where it is",
        );
    }
    let can_sign_in = !matches!(endpoints, RemoteEndpoints::Given { authorization: None, .. });
    let mapped = remote.accounts == Some(settings::Accounts::Mapped);
    let wanted = match remote.authorize {
        None => can_sign_in && !mapped,
        Some(settings::AuthorizeAt::SignIn) if mapped => {
            section.key("authorize").problem(
                "users sign in there with accounts of their own, and accounts: mapped uses those of this file",
                "write authorize: password, or leave out accounts",
            );
            return None;
        }
        Some(settings::AuthorizeAt::Password) => false,
        Some(settings::AuthorizeAt::SignIn) if can_sign_in => true,
        Some(settings::AuthorizeAt::SignIn) => {
            section.key("authorize").problem(
                "where users sign in is not known",
                "write the authorization_endpoint, or leave the endpoints to the metadata of issuer",
            );
            return None;
        }
    };
    let sign_in = match urls::path("callback", remote.callback.as_ref(), "/oauth20/callback", section)? {
        Some(callback) if wanted => {
            let redirect_uri = format!("{}{callback}", origin(own_issuer?)?);
            Some(SignInAt { callback, redirect_uri, parameters: remote.authorization_parameters.0.clone() })
        }
        None if wanted && remote.authorize.is_some() => {
            section.key("callback").problem("users must come back somewhere", "leave it out for the default");
            return None;
        }
        _ => None,
    };
    if sign_in.is_some() && issuer.is_none() {
        section.key("issuer").problem(
            "missing: who signed in stands in an ID token, and whose that is would not be known",
            "write exactly the iss of its ID tokens",
        );
        return None;
    }
    let issuer = issuer.zip(keys).map(|(issuer, keys)| rules(issuer, keys));
    let parameters = remote.parameters.0.clone();
    for (key, given, reserved) in [
        ("parameters", &parameters, &RESERVED[..]),
        ("authorization_parameters", &remote.authorization_parameters.0, &RESERVED_AT_SIGN_IN[..]),
    ] {
        if let Some((name, _)) = given.iter().find(|(name, _)| reserved.contains(&name.as_str())) {
            section.key(key).key(name.as_str()).problem("sidegate sets it itself", "leave it out");
            return None;
        }
    }
    Some(RemoteOAuth2 { issuer, endpoints, parameters, sign_in })
}

/// As it stands in the file: what is read from the authority must say exactly the same.
fn issuer_of(issuer: &str, section: &Section<'_>) -> Option<String> {
    if urls::trusted(issuer, section)?.query().is_some() {
        section
            .problem("an issuer has no query: its metadata stand below it", "write exactly the iss of its ID tokens");
        return None;
    }
    Some(issuer.to_owned())
}

/// What its ID tokens must be like (OpenID Connect Core, section 3.1.3.7).
fn rules(issuer: String, keys: KeySource) -> Issuer {
    Issuer {
        name: "remote".into(),
        issuer,
        keys,
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        token_types: vec!["jwt".to_owned()],
        token_type_required: false,
        // More than for what clients bring: it comes in the answer to a question of ours, so only the clocks can be wrong.
        leeway: Duration::from_secs(120),
        required: false,
        // That of the authority, which is checked with it.
        ca_file: None,
        refresh_interval: Duration::from_secs(300),
        max_stale: Duration::from_secs(24 * 3600),
        inquiry: None,
    }
}

/// Scheme, host and port of our own issuer: endpoints stand below those.
fn origin(issuer: &str) -> Option<String> {
    Url::parse(issuer).ok().map(|url| url.origin().ascii_serialization())
}

/// Parameters of token requests that are ours to set.
const RESERVED: [&str; 11] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "username",
    "password",
];
/// The same of what a user is sent there with. `prompt` may be given: what the client wants to be shown comes on top.
const RESERVED_AT_SIGN_IN: [&str; 15] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "login_hint",
    "max_age",
    "ui_locales",
];
