//! The token that an upstream is shown for everybody.

use super::{files::Folder, *};
use crate::model::GrantType;

const OAUTH2: &str = "dialect: oauth2, url: 'https://idp.test/token'";
const CLIENT: &str = "client: {id: sidegate, secret_file: secret}";

fn upstream(service: &str, rest: &str) -> String {
    config(&format!(
        "upstreams: [{{name: app, url: 'http://127.0.0.1:3000', credential: {{service: {{{service}}}}}}}]\n{rest}"
    ))
}

/// What is wrong where there is a secret, without places.
fn found(service: &str, rest: &str) -> Vec<String> {
    let folder = Folder::new();
    folder.write("secret", "hunter2-hunter2\n");
    let loaded = load_str(&upstream(service, rest), "c.yaml", folder.path(), &Environment::default());
    let told = |problem: &Problem| {
        let text = problem.to_string().replace("c.yaml:", "");
        text.split_once(": ").unwrap().1.replace("upstreams[0].credential.service", "…")
    };
    loaded.err().map(|problems| problems.list.iter().map(told).collect()).unwrap_or_default()
}

fn loaded(service: &str) -> Arc<Service> {
    let folder = Folder::new();
    folder.write("secret", "hunter2-hunter2\n");
    let source = upstream(service, DIALECT);
    let mut config = load_str(&source, "c.yaml", folder.path(), &Environment::default()).unwrap().config;
    assert!(!format!("{config:?}").contains("hunter2"));
    match config.upstreams.remove(0).credential {
        Credential::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

const DIALECT: &str = "dialects: [{name: acme, endpoints: [{grant: client_credentials, path: /t, requests: [{body: {c: \
                       '{client_id}', s: '{client_secret}'}}]}], responses: [{body: {token: '{access_token}'}}], errors: \
                       [{body: {error: '{code}'}}]}]\n";

#[test]
fn each_dialect_gets_it_with_what_it_knows() {
    let account = "account: {username: ana, password_file: secret}";
    for (service, dialect, grant) in [
        (
            format!("{OAUTH2}, {CLIENT}, scopes: [a], parameters: {{audience: x}}"),
            "oauth2",
            GrantType::ClientCredentials,
        ),
        (format!("dialect: oauth2, issuer: 'https://idp.test', {CLIENT}"), "oauth2", GrantType::ClientCredentials),
        (format!("{OAUTH2}, client: {{id: sidegate}}, {account}"), "oauth2", GrantType::Password),
        (
            format!("dialect: redex, url: 'https://old.test', {CLIENT}, account: {{api_key_file: secret}}"),
            "redex",
            GrantType::ApiKey,
        ),
        (
            format!("dialect: consinco, url: 'https://old.test', company: '12', format: xml, {account}"),
            "consinco",
            GrantType::Password,
        ),
        (format!("dialect: acme, url: 'https://acme.test', {CLIENT}"), "acme", GrantType::ClientCredentials),
    ] {
        let service = loaded(&service);
        assert_eq!((service.remote.api.dialect(), service.grant().kind()), (dialect, grant));
        assert!(service.remote.sign_in().is_none(), "nobody signs in there");
    }
}

#[test]
fn what_could_never_be_got_is_a_problem() {
    let account = "account: {username: ana, password_file: secret}";
    for (service, told) in [
        (CLIENT.to_owned(), "….dialect: missing; write for example dialect: oauth2"),
        (
            format!("{OAUTH2}, client: {{id: sidegate}}"),
            "….client: a client that proves nothing gets no token on its own behalf (RFC 6749, section 4.4); write \
             secret_file or key_file, or an account to sign in with",
        ),
        (
            format!("dialect: redex, url: 'https://old.test', {CLIENT}"),
            "….account: missing: redex gives a token for an API key; write for example account: {api_key_file: \
             secrets/api-key}",
        ),
        (
            "dialect: consinco, url: 'https://old.test', company: '12'".to_owned(),
            "….account: missing: consinco gives a token for a name and a password; write for example account: \
             {username: sidegate, password_file: secrets/password}",
        ),
        (
            format!("dialect: consinco, url: 'https://old.test', {account}"),
            "….account.company: missing: the authority outside asks for a company; write it here, or as company of the \
             service",
        ),
        (
            format!("dialect: redex, url: 'https://old.test', {CLIENT}, {account}"),
            "….account.username: the authority outside knows no passwords; write api_key_file",
        ),
        (
            format!("{OAUTH2}, {CLIENT}, account: {{username: ana}}"),
            "….account: neither an API key nor a name and a password; write api_key_file, or username and password_file",
        ),
        (
            format!("dialect: acme, url: 'https://acme.test', {CLIENT}, {account}"),
            "….account: the dialect acme has no endpoint for the grant password; give it one, or sign in with what it \
             has: a password, an API key, or no account at all",
        ),
        (
            format!("dialect: oauth2, {CLIENT}"),
            "…: neither issuer nor url: nobody knows where the authority is; write for example issuer: \
             https://idp.example.com, or its token endpoint as url",
        ),
        (
            format!("dialect: oauth2, url: 'http://idp.test/token', {CLIENT}"),
            "….url: \"http://idp.test/token\" is not https, so whoever is in between could exchange what is read from \
             it; use https; http is accepted on this machine only",
        ),
        (format!("{OAUTH2}, {CLIENT}, format: xml"), "….format: it means nothing to oauth2; leave it out"),
    ] {
        assert_eq!(found(&service, DIALECT), [told]);
    }
}

#[test]
fn a_route_that_only_observes_would_let_everybody_in() {
    let route = |more: &str| format!("routes: [{{name: all, paths: ['/*'], upstream: app, {more}}}]\n");
    let service = format!("{OAUTH2}, {CLIENT}");
    assert_eq!(
        found(&service, &route("mode: observe, policy: {audiences: [api]}")),
        [
            "routes[0].mode: observe forwards what would be refused, and this upstream's credential is service: it would \
             let it in; use enforce, or an upstream with another credential"
        ]
    );
    for good in ["policy: {audiences: [api]}, min_life: 60s", "public: true"] {
        assert_eq!(found(&service, &route(good)), Vec::<String>::new(), "{good}");
    }
}
