//! An authority outside: what it speaks, where it is, and who we are to it.

pub(super) mod account;
mod client;
mod oauth2;

use std::{sync::Arc, time::Duration};

use url::Url;

use crate::{
    config::{
        DeclaredDialect, Format, Remote, RemoteApi,
        check::{declared::BUILT_IN, files, names, routes, section::Section, urls},
        settings,
        suggest::{nearest, sentence},
    },
    model::Scope,
};

/// `own_issuer` is what users are sent back below, where they sign in there.
pub(super) fn check(
    remote: &settings::Remote,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    own_issuer: Option<&str>,
    section: &Section<'_>,
) -> Option<Remote> {
    let dialect = section.required("dialect", remote.dialect.as_ref(), "oauth2")?;
    // What else belongs here depends on it.
    let declared = match BUILT_IN.contains(&dialect.as_str()) {
        true => None,
        false => Some(declared(dialect, dialects?, &section.key("dialect"))?),
    };
    let api = match (dialect.as_str(), declared) {
        (_, Some(dialect)) => base(remote, section).map(|base| RemoteApi::Declared { dialect, base }),
        ("oauth2", None) => oauth2::check(remote, own_issuer, section).map(Box::new).map(RemoteApi::OAuth2),
        (name, None) => base(remote, section).and_then(|base| old_api(name, remote, &base, section)),
    };
    only_where_meant(remote, section);
    let scopes = names::all(remote.scopes.as_deref().unwrap_or_default(), &section.key("scopes"), |scope, section| {
        routes::policy::scope(scope, section)
    });
    let authentication = client::check(remote, api.as_ref(), &section.key("client"));
    let ca_file = match &remote.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let (mut api, ca_file) = (api?, ca_file?);
    if let RemoteApi::OAuth2(oauth2) = &mut api
        && let Some(issuer) = &mut oauth2.issuer
    {
        issuer.ca_file = ca_file.clone();
    }
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
    Some(Remote {
        api,
        client_id: remote.client.id.clone().unwrap_or_default(),
        authentication: authentication?,
        scopes,
        pass_through: remote.tokens == Some(settings::RemoteTokens::PassThrough),
        mapped: remote.accounts == Some(settings::Accounts::Mapped),
        ca_file,
        timeout: section.span("timeout", remote.timeout, s(5), ms(100)..=s(60)),
        max_concurrent: section.number("max_concurrent", remote.max_concurrent, 32, 1..=10_000),
    })
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
    let path = urls::path(key, given, default, section)?;
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
