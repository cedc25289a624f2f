//! Token APIs that the configuration tells of.

use super::*;
use crate::model::{ErrorCode, GrantType};

const REQUEST: &str = "{ body: { token: '{refresh_token}', client: '{client_id}' } }";
const RESPONSE: &str = "{ body: { token: '{access_token}' } }";
const ERROR: &str = "{ body: { error: '{code}' } }";

/// One dialect with one endpoint; the parts come first, and `more` at its end.
fn dialect(request: &str, response: &str, error: &str, more: &str) -> String {
    let endpoint = format!("{{ grant: refresh_token, path: /t, requests: [{request}] }}");
    config(&format!(
        "dialects: [{{ name: acme, endpoints: [{endpoint}], responses: [{response}], errors: [{error}]{more} }}]"
    ))
}

fn with_endpoints(endpoints: &str) -> String {
    config(&format!(
        "dialects: [{{ name: acme, endpoints: [{endpoints}], responses: [{RESPONSE}], errors: [{ERROR}] }}]"
    ))
}

fn mounted(mount: &str, endpoints: &str) -> String {
    let dialects = with_endpoints(endpoints);
    format!(
        "{dialects}authority:
  issuer: https://auth.example.com
  audiences: [api]
  clients:
    - {{ id: pos, public: true, grants: [refresh_token] }}
    - {{ id: app, secret_hashes: ['sha256:{}'], grants: [refresh_token] }}
  endpoints: {mount}
store: {{ memory: {{}} }}
",
        "a".repeat(64)
    )
}

const NAMELESS: &str = "{ grant: refresh_token, path: /t, requests: [{ body: { token: '{refresh_token}' } }] }";

#[track_caller]
fn assert_problem(source: &str, wrong: &str) {
    let found = problems(source);
    assert!(found.len() == 1 && found[0].contains(wrong), "{wrong}: {found:?}");
}

#[test]
fn what_is_left_out_has_the_values_of_rfc_6749() {
    let loaded = load_with(&dialect(REQUEST, RESPONSE, ERROR, ""), &[]).unwrap();
    let acme = &loaded.config.dialects[0];
    assert_eq!(
        (acme.status(ErrorCode::InvalidGrant).as_u16(), acme.status(ErrorCode::InvalidClient).as_u16()),
        (400, 401)
    );
    assert_eq!(
        (acme.word(ErrorCode::InvalidGrant), acme.code("invalid_grant")),
        ("invalid_grant", Some(ErrorCode::InvalidGrant))
    );
    let request = &acme.endpoints[0].requests[0];
    assert_eq!(
        (acme.endpoints[0].grant, &*request.media_types[0].essence),
        (GrantType::RefreshToken, "application/json")
    );
    assert_eq!(&*acme.endpoints[0].wrong_media_type, "Content-Type must be application/json");
}

#[test]
fn a_request_that_could_not_be_read_or_said_is_a_problem() {
    for (request, wrong) in [
        ("{ body: { token: '{refresh_token' } }", "a brace is not closed"),
        (
            "{ body: { token: '{refreshtoken}' } }",
            "there is no such placeholder; known here: {refresh_token}, {client_id}",
        ),
        ("{ body: { t: '{refresh_token}', p: '{password}' } }", "{password} has no meaning here"),
        ("{ body: { t: '{refresh_token}', u: '{refresh_token}' } }", "stands in the request twice"),
        ("{ body: { t: '{client_id}{refresh_token}' } }", "two placeholders in one text"),
        ("{ body: { t: '{refresh_token as integer}' } }", "{refresh_token} is a text"),
        ("{ body: { client: '{client_id}' } }", "a request for refresh_token must have {refresh_token}"),
        ("{ body: { t: '{refresh_token}' }, optional: [/t] }", "must have {refresh_token}"),
        ("{ body: { t: '{refresh_token}', s: '{client_secret}' } }", "a secret without {client_id}"),
        ("{ body: { t: '{refresh_token}' }, optional: [/x] }", "is no text of the body"),
        ("{ body: { t: '{refresh_token}' }, longest: { api_key: 3 } }", "no such placeholder stands in the body"),
        ("{ body: { t: '{refresh_token}' }, root: A }", "only xml has one"),
        ("{ form: xml, body: { t: '{refresh_token}' } }", "missing"),
        ("{ form: xml, root: 'a b', body: { t: '{refresh_token}' } }", "is not the name of an element"),
        ("{ form: xml, root: a, body: { 'x:t': '{refresh_token}' } }", "is not the name of an element"),
        ("{ form: form, body: { a: { t: '{refresh_token}' } } }", "a form has texts only"),
        ("{ form: query, media_types: [a/b], body: { t: '{refresh_token}' } }", "a query has no media type"),
        ("{ media_types: [json], body: { t: '{refresh_token}' } }", "is not a media type"),
        ("{ body: { t: [[1], '{refresh_token}'] } }", "a list in a list"),
        ("{ body: [a] }", "not a mapping"),
        ("{ body: {} }", "missing"),
    ] {
        assert_problem(&dialect(request, RESPONSE, ERROR, ""), wrong);
    }
    let deep = format!("{{ body: {{ t: '{{refresh_token}}', a: {}1{} }} }}", "{ a: ".repeat(14), " }".repeat(14));
    assert_problem(&dialect(&deep, RESPONSE, ERROR, ""), "levels deep");
}

#[test]
fn an_answer_that_could_not_be_written_or_understood_is_a_problem() {
    for (response, wrong) in [
        ("{ body: { t: '{refresh_token}' } }", "no {access_token} in it"),
        ("{ body: { t: '{access_token}', c: '{code}' } }", "{code} has no meaning here"),
        ("{ body: { t: '{access_token}', c: '{claim:sub}' } }", "every token says this of itself"),
        ("{ status: 400, body: { t: '{access_token}' } }", "not between 200 and 299"),
        ("{ form: query, body: { t: '{access_token}' } }", "an answer has no query"),
    ] {
        assert_problem(&dialect(REQUEST, response, ERROR, ""), wrong);
    }
    for (error, more, wrong) in [
        ("{ body: { t: '{access_token}' } }", "", "{access_token} has no meaning here"),
        (ERROR, ", statuses: { invalid: 400 }", "there is no such error code"),
        (ERROR, ", statuses: { invalid_grant: 302 }", "not a status of an error"),
        (ERROR, ", times: { format: '%H:%M' }", "not a pattern"),
        (ERROR, ", times: { zone: Mars/Olympus }", "is no time zone"),
        ("", "", "errors: missing"),
    ] {
        assert_problem(&dialect(REQUEST, RESPONSE, error, more), wrong);
    }
}

#[test]
fn endpoints_that_could_not_be_told_apart_are_a_problem() {
    let endpoint = |grant: &str, path: &str, body: &str| {
        format!("{{ grant: {grant}, path: {path}, requests: [{{ body: {body} }}] }}")
    };
    let renew = endpoint("refresh_token", "/t", "{ kind: r, t: '{refresh_token}', c: '{client_id}' }");
    for (kind, path, wrong) in [("r", "/u", None), ("k", "/t", None), ("r", "/t", Some("look the same"))] {
        let begin = endpoint("api_key", path, &format!("{{ kind: {kind}, k: '{{api_key}}', c: '{{client_id}}' }}"));
        let source = with_endpoints(&format!("{renew}, {begin}"));
        match wrong {
            None => assert_eq!(problems(&source), Vec::<String>::new()),
            Some(wrong) => assert_problem(&source, wrong),
        }
    }
    assert_problem(&with_endpoints(&format!("{renew}, {renew}")), "is for the same grant");
    let machine = endpoint("client_credentials", "/m", "{ kind: m, c: '{client_id}' }");
    assert_problem(&with_endpoints(&machine), "nothing proves the client");
    let basic = machine.replace("path:", "basic: true, path:");
    assert_problem(&with_endpoints(&basic), "by HTTP Basic and in the body");
    let twice = format!("{{ grant: refresh_token, path: /t, requests: [{REQUEST}, {REQUEST}] }}");
    assert_problem(&with_endpoints(&twice), "is that of a request before");
    let named = config("dialects: [{ name: redex }]");
    assert!(problems(&named).iter().any(|problem| problem.contains("built in")), "{:?}", problems(&named));
}

#[test]
fn a_mount_needs_a_dialect_a_place_and_a_client() {
    for (mount, wrong) in [
        ("{ declared: [{ dialect: acme, client: pos }] }", ""),
        ("{ declared: [{ dialect: acne, client: pos }] }", "no dialect is called \"acne\""),
        ("{ declared: [{ dialect: acme }] }", "client: missing"),
        ("{ declared: [{ dialect: acme, client: app }] }", "is not public"),
        ("{ declared: [{ dialect: acme, client: pos, paths: { password: /p } }] }", "no endpoint for this grant"),
        ("{ declared: [{ dialect: acme, client: pos, paths: { refresh_token: off } }] }", "switched off"),
        (
            "{ declared: [{ dialect: acme, client: pos, paths: { refresh_token: /oauth20/token } }] }",
            "is already endpoints.token",
        ),
        (
            "{ declared: [{ dialect: acme, client: pos }, { dialect: acme, client: pos }] }",
            "is already endpoints.declared acme",
        ),
    ] {
        match wrong {
            "" => assert_eq!(problems(&mounted(mount, NAMELESS)), Vec::<String>::new()),
            wrong => assert_problem(&mounted(mount, NAMELESS), wrong),
        }
    }
    let named = format!("{{ grant: refresh_token, path: /t, requests: [{REQUEST}] }}");
    assert_problem(&mounted("{ declared: [{ dialect: acme, client: pos }] }", &named), "every request names its own");
}

#[test]
fn credentials_in_a_url_and_words_with_two_meanings_are_warned_of() {
    let warned = |source: &str| -> Vec<String> {
        load_with(source, &[]).unwrap().warnings.iter().map(|warning| warning.to_string()).collect()
    };
    let query = "{ form: query, body: { t: '{refresh_token}', c: '{client_id}' } }";
    let found = warned(&dialect(query, RESPONSE, ERROR, ""));
    assert!(found.len() == 1 && found[0].contains("the credential stands in the URL"), "{found:?}");
    let codes = ", codes: { invalid_grant: E1, invalid_client: E1 }";
    let found = warned(&dialect(REQUEST, RESPONSE, ERROR, codes));
    assert!(found.len() == 1 && found[0].contains("written like invalid_grant"), "{found:?}");
}
