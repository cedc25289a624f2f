//! The authority outside.

use std::{path::Path, sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use url::Url;

use super::path;
use crate::{
    config::{
        Account, AssertionKey, DeclaredDialect, Format, Issuer, KeySource, Remote, RemoteApi, RemoteAuthentication,
        RemoteEndpoints, RemoteOAuth2, SignInAt,
        check::{declared::BUILT_IN, files, internal_jwt::is_key_for, names, routes, section::Section, urls},
        declared::Place,
        settings,
        suggest::{nearest, sentence},
    },
    model::Scope,
};

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn check(
    authority: &settings::Authority,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    own_issuer: Option<&str>,
    section: &Section<'_>,
) -> Option<Option<Remote>> {
    let Some(remote) = &authority.remote else { return Some(None) };
    let dialect = section.required("dialect", remote.dialect.as_ref(), "oauth2")?;
    // What else belongs here depends on it.
    let declared = match BUILT_IN.contains(&dialect.as_str()) {
        true => None,
        false => Some(declared(dialect, dialects?, &section.key("dialect"))?),
    };
    let api = match (dialect.as_str(), declared) {
        (_, Some(dialect)) => base(remote, section).map(|base| RemoteApi::Declared { dialect, base }),
        ("oauth2", None) => oauth2(remote, own_issuer, section).map(Box::new).map(RemoteApi::OAuth2),
        (name, None) => base(remote, section).and_then(|base| old_api(name, remote, &base, section)),
    };
    only_where_meant(remote, section);
    let scopes = names::all(remote.scopes.as_deref().unwrap_or_default(), &section.key("scopes"), |scope, section| {
        routes::policy::scope(scope, section)
    });
    let authentication = authentication(remote, api.as_ref(), &section.key("client"));
    let ca_file = match &remote.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let mapped = remote.accounts == Some(settings::Accounts::Mapped);
    if !mapped && (!authority.users.is_empty() || authority.user_service.is_some()) {
        section.key("accounts").problem(
            "users are listed here, and whoever signs in is judged by the authority outside",
            "write accounts: mapped, or leave out users, users_file and user_service",
        );
        return None;
    }
    let api = api?;
    let scopes = match &remote.scopes {
        Some(_) => scopes?.into_iter().collect(),
        None if matches!(&api, RemoteApi::OAuth2(oauth2) if oauth2.sign_in.is_some()) => {
            ["openid", "offline_access"].map(str::to_owned).into_iter().collect()
        }
        None => Scope::default(),
    };
    if matches!(&api, RemoteApi::OAuth2(oauth2) if oauth2.sign_in.is_some()) && !scopes.contains("openid") {
        section.key("scopes").problem(
            "openid is missing: without an ID token nobody knows who signed in",
            "add it, or write authorize: password",
        );
        return None;
    }
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    Some(Some(Remote {
        api,
        client_id: remote.client.id.clone().unwrap_or_default(),
        authentication: authentication?,
        scopes,
        pass_through: remote.tokens == Some(settings::RemoteTokens::PassThrough),
        mapped,
        ca_file: ca_file?,
        timeout: section.span("timeout", remote.timeout, s(5), ms(100)..=s(60)),
        max_concurrent: section.number("max_concurrent", remote.max_concurrent, 32, 1..=10_000),
    }))
}

/// One whose requests go to paths below `base`.
fn old_api(dialect: &str, remote: &settings::Remote, base: &Url, section: &Section<'_>) -> Option<RemoteApi> {
    let place = |key, given: &Option<String>, default| below(base, key, given.as_ref(), default, section);
    let at = |begin, renew| {
        (place("token_path", &remote.token_path, begin), place("refresh_path", &remote.refresh_path, renew))
    };
    if dialect == "redex" {
        let (token, refresh) = at("/public/v2/connect/token", "/public/v2/connect/token/refresh");
        return Some(RemoteApi::Redex { token: token?, refresh: refresh? });
    }
    let (login, refresh) = at("/api/v1/auth/login", "/api/v1/auth/refresh-token");
    let format = match remote.format {
        None | Some(settings::Format::Json) => Format::Json,
        Some(settings::Format::Xml) => Format::Xml,
    };
    Some(RemoteApi::Consinco { login: login?, refresh: refresh?, format, company: remote.company.clone() })
}

/// One that the configuration tells of.
fn declared(name: &str, dialects: &[Arc<DeclaredDialect>], section: &Section<'_>) -> Option<Arc<DeclaredDialect>> {
    let found = dialects.iter().find(|dialect| *dialect.name == *name).cloned();
    if found.is_none() {
        let known = BUILT_IN.into_iter().chain(dialects.iter().map(|dialect| &*dialect.name));
        let remedy = match nearest(name, known).filter(|_| !section.hides(name)) {
            Some(near) => sentence(Some(near)),
            None => "write oauth2, redex, consinco, or the name of one of `dialects`".to_owned(),
        };
        section.problem(format!("{} is no dialect", section.shown(name)), remedy);
    }
    found
}

/// What the paths of a dialect stand below.
fn base(remote: &settings::Remote, section: &Section<'_>) -> Option<Url> {
    let base = section.required("url", remote.url.as_ref(), "https://legacy.example.com");
    let url = urls::trusted(base?, &section.key("url"))?;
    if url.query().is_some() {
        section.key("url").problem("paths are put behind it, so it has no query", "");
        return None;
    }
    Some(url)
}

/// A path below `url`.
fn below(base: &Url, key: &'static str, given: Option<&String>, default: &str, section: &Section<'_>) -> Option<Url> {
    let path = path(key, given, default, section)?;
    let Some(path) = path else {
        section.key(key).problem("sessions are begun and renewed there", "leave it out for the default");
        return None;
    };
    if base.path().ends_with(&path) {
        section.key("url").problem(
            format!("it ends with {path}, which sidegate puts behind it"),
            format!("write only what stands before it, or {key} for another path"),
        );
        return None;
    }
    let whole = format!("{}{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&whole).ok()
}

fn oauth2(remote: &settings::Remote, own_issuer: Option<&str>, section: &Section<'_>) -> Option<RemoteOAuth2> {
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
    let sign_in = match path("callback", remote.callback.as_ref(), "/oauth20/callback", section)? {
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
    let issuer = issuer.zip(keys).map(|(issuer, keys)| rules(issuer, keys, remote, section));
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
fn rules(issuer: String, keys: KeySource, remote: &settings::Remote, section: &Section<'_>) -> Issuer {
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
        ca_file: remote.ca_file.as_ref().map(|file| section.resolve(file)),
        refresh_interval: Duration::from_secs(300),
        max_stale: Duration::from_secs(24 * 3600),
        inquiry: None,
    }
}

/// Scheme, host and port of our own issuer: endpoints stand below those.
fn origin(issuer: &str) -> Option<String> {
    Url::parse(issuer).ok().map(|url| url.origin().ascii_serialization())
}

fn authentication(
    remote: &settings::Remote,
    api: Option<&RemoteApi>,
    section: &Section<'_>,
) -> Option<RemoteAuthentication> {
    use settings::RemoteAuthentication::{Basic, Form, None as Nothing, PrivateKeyJwt};
    let client = &remote.client;
    let speaks_oauth2 = remote.dialect.as_deref() == Some("oauth2");
    // Whether its requests name a client, and whether they prove it.
    let (named, proved) = match api {
        Some(RemoteApi::Declared { dialect, .. }) => {
            (dialect.names(&Place::ClientId), dialect.names(&Place::ClientSecret))
        }
        _ => (remote.dialect.as_deref() != Some("consinco"), !speaks_oauth2),
    };
    if !named {
        if client != &settings::RemoteClient::default() {
            section.problem("this API has no clients", "leave it out");
            return None;
        }
        return Some(RemoteAuthentication::None);
    }
    section.required("id", client.id.as_ref(), "sidegate")?;
    let secret = match &client.secret_file {
        Some(file) => Some(files::secret_text(file, &section.key("secret_file"))?),
        None => None,
    };
    let key = match &client.key_file {
        Some(file) => Some(assertion_key(client, file, &section.key("key_file"))?),
        None => None,
    };
    if secret.is_some() && key.is_some() {
        section.problem("secret_file and key_file at once", "leave one out");
        return None;
    }
    if !speaks_oauth2 && (key.is_some() || client.authentication.is_some()) {
        section.problem("this API knows clients by their secret alone", "write id and secret_file, nothing else");
        return None;
    }
    let chosen = client.authentication.unwrap_or(match (&secret, &key) {
        (Some(_), _) if speaks_oauth2 => Basic,
        (Some(_), _) => Form,
        (None, Some(_)) => PrivateKeyJwt,
        (None, None) => Nothing,
    });
    let missing = |key: &'static str| {
        section.key(key).problem("missing", "the way of authentication that is chosen needs it");
        None
    };
    match (chosen, secret, key) {
        (Basic, Some(secret), _) => Some(RemoteAuthentication::Basic(secret)),
        (Form, Some(secret), _) => Some(RemoteAuthentication::Form(secret)),
        (PrivateKeyJwt, _, Some(key)) => Some(RemoteAuthentication::PrivateKeyJwt(key)),
        (Nothing, None, None) if !proved => Some(RemoteAuthentication::None),
        (Nothing, None, None) | (Basic | Form, None, _) => missing("secret_file"),
        (PrivateKeyJwt, _, None) => missing("key_file"),
        (Nothing, ..) => {
            section.key("authentication").problem("none, but a secret or a key is given", "leave one of the two out");
            None
        }
    }
}

/// The key that assertions are signed with: its kind decides how.
fn assertion_key(client: &settings::RemoteClient, file: &Path, section: &Section<'_>) -> Option<AssertionKey> {
    let pem = files::secret(file, section)?;
    let kinds = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];
    let Some(algorithm) = kinds.into_iter().find(|&algorithm| is_key_for(algorithm, &pem)) else {
        section.problem(
            "the file holds no key for ES256, EdDSA or RS256 as PKCS#8 in PEM",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one; RSA needs 2048 bits",
        );
        return None;
    };
    Some(AssertionKey { algorithm, pem, key_id: client.key_id.clone() })
}

/// Keys that mean nothing to the API that is chosen.
fn only_where_meant(remote: &settings::Remote, section: &Section<'_>) {
    let Some(dialect) = remote.dialect.as_deref() else { return };
    let oauth2 = [
        ("issuer", remote.issuer.is_some()),
        ("authorization_endpoint", remote.authorization_endpoint.is_some()),
        ("jwks_uri", remote.jwks_uri.is_some()),
        ("parameters", !remote.parameters.0.is_empty()),
        ("authorization_parameters", !remote.authorization_parameters.0.is_empty()),
        ("callback", remote.callback.is_some()),
    ];
    let of_paths = [("token_path", remote.token_path.is_some()), ("refresh_path", remote.refresh_path.is_some())];
    let consinco = [("format", remote.format.is_some()), ("company", remote.company.is_some())];
    let meant = |keys: &[(&'static str, bool)], is_meant: bool| {
        for (key, _) in keys.iter().filter(|(_, given)| *given && !is_meant) {
            section.key(*key).problem(format!("it means nothing to {dialect}"), "leave it out");
        }
    };
    let is_declared = !BUILT_IN.contains(&dialect);
    meant(&oauth2, dialect == "oauth2");
    meant(&[("scopes", remote.scopes.is_some())], dialect == "oauth2" || is_declared);
    meant(&of_paths, dialect != "oauth2" && !is_declared);
    meant(&consinco, dialect == "consinco");
    if dialect != "oauth2" && remote.authorize == Some(settings::AuthorizeAt::SignIn) {
        section.key("authorize").problem("only an authority that speaks oauth2 has a page of its own", "");
    }
}

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn account(
    given: Option<&settings::Account>,
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Option<Account>> {
    let Some(account) = given else { return Some(None) };
    if authority.remote.as_ref().and_then(|remote| remote.accounts) != Some(settings::Accounts::Mapped) {
        section.problem("nobody uses it", "write accounts: mapped under authority.remote");
        return None;
    }
    match (&account.api_key_file, &account.username, &account.password_file) {
        (Some(file), None, None) if account.company.is_none() => {
            files::secret_text(file, &section.key("api_key_file")).map(|key| Some(Account::ApiKey(key)))
        }
        (None, Some(username), Some(file)) => {
            let password = files::secret_text(file, &section.key("password_file"))?;
            Some(Some(Account::Password { username: username.clone(), password, company: account.company.clone() }))
        }
        _ => {
            section.problem(
                "neither an API key nor a name and a password",
                "write api_key_file, or username and password_file",
            );
            None
        }
    }
}

/// Whether it is an API key, or a name and a password.
pub(super) fn is_whole(account: &settings::Account) -> bool {
    match (&account.api_key_file, &account.username, &account.password_file) {
        (Some(_), None, None) => account.company.is_none(),
        (None, Some(_), Some(_)) => true,
        _ => false,
    }
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
