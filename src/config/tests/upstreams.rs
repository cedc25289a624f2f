//! Upstreams and their credentials.

use super::{files::Folder, *};

fn upstream(more: &str) -> String {
    let url = if more.contains("url") { "" } else { ", url: 'http://127.0.0.1:1'" };
    config(&format!("upstreams: [{{name: app, {more}{url}}}]"))
}

#[test]
fn a_url_names_host_and_port_or_a_socket() {
    let target =
        |url: &str| load_with(&upstream(&format!("url: '{url}'")), &[]).unwrap().config.upstreams.remove(0).target;
    assert_eq!(target("http://app"), Target::Http { host: "app".into(), port: 80 });
    assert_eq!(target("http://[::1]:8080/"), Target::Http { host: "[::1]".into(), port: 8080 });
    let tls = UpstreamTls::default();
    assert_eq!(target("https://app.internal"), Target::Https { host: "app.internal".into(), port: 443, tls });
    assert_eq!(target("unix:/run/app.sock"), Target::Unix("/run/app.sock".into()));
    let hint = "write http://host:port, https://host:port or unix:/run/app.sock";
    for (url, fault) in [
        ("app:80", "\"app:80\" is neither http nor https"),
        ("app", "\"app\" is not a URL"),
        ("http://app/api", "\"http://app/api\" has more than host and port; a route's add_prefix puts a path before"),
        ("http://u:canary@app", "the value carries a user or a password; use credential: basic"),
    ] {
        let problems = problems(&upstream(&format!("url: '{url}'")));
        assert_eq!(problems, [format!("1:30: upstreams[0].url: {fault}; {hint}")]);
    }
}

#[test]
fn an_upstream_needs_a_name_of_its_own_and_a_url() {
    assert_eq!(
        problems(&config("upstreams: [{}, {name: app, url: 'http://a'}, {name: app, url: 'http://b'}]")),
        [
            "1:13: upstreams[0].name: missing; write for example name: orders",
            "1:13: upstreams[0].url: missing; write for example url: http://127.0.0.1:3000",
            "1:54: upstreams[2].name: \"app\" is already used by upstreams[1]",
        ]
    );
}

#[test]
fn a_credential_is_exactly_one_thing() {
    assert_eq!(
        problems(&upstream("credential: none")),
        ["1:37: upstreams[0].credential: \"none\" is a key here, not a value; write none: {}"]
    );
    assert_eq!(
        problems(&upstream("credential: {none: {}, original: {}}")),
        [
            "1:37: upstreams[0].credential: exactly one of these keys belongs here: internal_jwt, original, authority_token, service, basic, none"
        ]
    );
    assert_eq!(
        problems(&upstream("credential: {orignal: {}}")),
        ["1:38: upstreams[0].credential.orignal: unknown key \"orignal\"; did you mean \"original\"?"]
    );
    assert_eq!(
        problems(&upstream("credential: {jwt: {}}")),
        [
            "1:38: upstreams[0].credential.jwt: unknown key \"jwt\"; known here: internal_jwt, original, authority_token, service, basic, none"
        ]
    );
}

#[test]
fn the_internal_jwt_must_be_configured_where_it_is_used() {
    assert_eq!(
        problems(&upstream("credential: {internal_jwt: {}}")),
        [
            "1:52: upstreams[0].credential.internal_jwt: there is no section internal_jwt that says how to make it; add \
             internal_jwt: {} at the top of the file for the defaults",
            "1:52: upstreams[0].credential.internal_jwt.audience: missing; write for example audience: orders",
        ]
    );
}

#[test]
fn basic_is_made_from_a_file_and_cannot_be_printed() {
    let folder = Folder::new();
    folder.write("password", "open sesame\n");
    let source = upstream("credential: {basic: {username: ali, password_file: password}}");
    let config = load_str(&source, "c.yaml", folder.path(), &Environment::default()).unwrap().config;
    let Credential::Basic(value) = &config.upstreams[0].credential else { panic!() };
    assert_eq!(value, "Basic YWxpOm9wZW4gc2VzYW1l");
    assert!(!format!("{config:?}").contains("YWxp"));
    assert_eq!(
        problems(&upstream("credential: {basic: {username: 'a:b'}}")),
        [
            "1:45: upstreams[0].credential.basic.password_file: missing; write for example password_file: \
             secrets/password",
            "1:56: upstreams[0].credential.basic.username: a user's name has no colon and no control character",
        ]
    );
}

#[test]
fn identity_headers_keep_their_order_and_cannot_be_confused() {
    let source = upstream("identity_headers: {X-User: sub, X-A: a}");
    let headers = load_with(&source, &[]).unwrap().config.upstreams.remove(0).identity_headers;
    assert_eq!(headers, [("x-user".parse().unwrap(), "sub".into()), ("x-a".parse().unwrap(), "a".into())]);
    assert_eq!(
        problems(&upstream("identity_headers: {'a b': x, Connection: x, Authorization: x, X-A: a, X_a: b, X-B: ''}")),
        [
            "1:51: upstreams[0].identity_headers.\"a b\": \"a b\" is not the name of a header; use letters, digits and \"-\", \
             for example X-Request-Id",
            "1:66: upstreams[0].identity_headers.Connection: connection belongs to a single connection or frames the \
             message",
            "1:84: upstreams[0].identity_headers.Authorization: what stands in Authorization is the choice of credential",
            "1:100: upstreams[0].identity_headers.X_a: to many servers this is the same header as x-a",
            "1:108: upstreams[0].identity_headers.X-B: the name of a claim belongs here",
        ]
    );
}

#[test]
fn tls_belongs_to_https() {
    assert_eq!(problems(&upstream("tls: {}")), ["1:30: upstreams[0].tls: given, but the URL is not https"]);
    assert_eq!(
        problems(&upstream("url: 'https://a', tls: {server_name: 'a b', key_file: k}")),
        [
            "1:48: upstreams[0].tls.certificate_file: missing; certificate_file and key_file belong together",
            "1:62: upstreams[0].tls.server_name: \"a b\" is not the name of a server",
        ]
    );
}

#[test]
fn an_upstream_that_no_route_uses_is_a_warning() {
    let source = config("upstreams: [{name: app, url: 'http://a'}, {name: spare, url: 'http://b'}]");
    let warnings = load_with(&source, &[]).unwrap().warnings;
    assert_eq!(warnings[0].to_string(), "c.yaml:1:43: upstreams[1]: no route uses it");
}
