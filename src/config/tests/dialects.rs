//! The dialects beside `oauth2`.

use super::*;
use crate::model::RefreshForm;

fn house(endpoints: &str) -> String {
    config(&format!(
        "authority:
  issuer: https://auth.example.com
  audiences: [api]
  clients:
    - {{ id: pos, public: true, grants: [password] }}
    - {{ id: app, secret_hashes: ['sha256:{hash}'], grants: [api_key] }}
  endpoints: {endpoints}
store: {{ memory: {{}} }}",
        hash = "a".repeat(64),
    ))
}

fn endpoints(source: &str) -> Endpoints {
    load_with(&house(source), &[]).unwrap().config.authority.unwrap().endpoints
}

const TYPED: &str = "claims: { id: a, userSequence: b, isExt: c }";

#[test]
fn they_are_served_where_they_are_named() {
    let none = endpoints("{}");
    assert_eq!((none.redex.token, none.redex.refresh, none.consinco.login), (None, None, None));
    let both = endpoints(&format!("{{ redex: {{ token: off }}, consinco: {{ client: pos, {TYPED} }} }}"));
    assert_eq!(both.redex.token, None);
    assert_eq!(both.redex.refresh.as_deref(), Some("/public/v2/connect/token/refresh"));
    assert_eq!(both.consinco.login.as_deref(), Some("/api/v1/auth/login"));
    assert_eq!(both.consinco.claim("userSequence"), Some("b"));
}

#[test]
fn refresh_tokens_of_redex_are_compact_unless_they_are_asked_to_be_full() {
    let form = |source: &str| endpoints(source).redex.refresh_form;
    assert_eq!(form("{ redex: {} }"), RefreshForm::Compact);
    assert_eq!(form("{ redex: { refresh_token_length: compact } }"), RefreshForm::Compact);
    assert_eq!(form("{ redex: { refresh_token_length: full } }"), RefreshForm::Full);
}

#[test]
fn what_could_not_work_is_a_problem() {
    for (given, wrong) in [
        ("consinco: { client: app, claims: { id: a, userSequence: b, isExt: c } }", "is not public"),
        ("consinco: { client: nobody, claims: { id: a, userSequence: b, isExt: c } }", "is no client"),
        ("consinco: { claims: { id: a, userSequence: b, isExt: c } }", "missing"),
        ("consinco: { client: pos, claims: { id: a, userSequence: b } }", "isExt is missing"),
        ("consinco: { client: pos, claims: { id: a, userSequence: b, isExt: c, access_token: d } }", "is no member"),
        ("consinco: { client: pos, zone: Mars/Olympus, claims: { id: a, userSequence: b, isExt: c } }", "no time zone"),
        ("redex: { token: /same, refresh: /same }", "redex.refresh: \"/same\" is already endpoints.redex.token"),
        ("redex: { token: /oauth20/token }", "is already endpoints.token"),
        ("redex: { token: 'no-slash' }", "does not start with /"),
        ("redex: { envelope: older }", "older"),
        ("redex: { refresh_token_length: 40 }", "refresh_token_length"),
    ] {
        let found = problems(&house(&format!("{{ {given} }}")));
        assert!(found.len() == 1 && found[0].contains(wrong), "{given}: {found:?}");
    }
}

#[test]
fn an_api_key_stands_for_one_user_and_is_found_by_its_hash() {
    let hash = format!("sha256:{}", "b".repeat(64));
    let with = |first: &str, second: &str| {
        let user =
            |name, key| format!("    - {{ username: {name}, password_hash: '{hash}', api_key_hashes: ['{key}'] }}\n");
        let users = format!("  users:\n{}{}", user("ana", first), user("bea", second));
        problems(&house("{}").replacen("  endpoints:", &format!("{users}  endpoints:"), 1))
    };
    assert_eq!(with(&hash, &format!("sha256:{}", "c".repeat(64))), Vec::<String>::new());
    assert!(with(&hash, &hash)[0].contains("stands for one user only"));
    assert!(
        with(
            &hash,
            "$argon2id$v=19$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ"
        )[0]
        .contains("not sha256")
    );
}
