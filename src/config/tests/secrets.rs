//! A secret that stands where it should not is still not shown.

use proptest::prelude::*;

use super::*;

const CANARY: &str = "c4n4ry-s3cr3t";

/// Everything that could be printed about `source`.
fn everything(source: &str, variables: &[(&str, &str)]) -> String {
    match load_with(source, variables) {
        Ok(loaded) => format!("{:?}", loaded.warnings),
        Err(problems) => format!("{problems}\n{problems:?}"),
    }
}

#[test]
fn a_secret_in_the_file_is_not_shown_with_its_problem() {
    for source in [
        "issuers: [{client_secret: CANARY, name: 5}]",
        "issuers:\n- hs_secret: CANARY\n",
        "issuers:\n- introspection: {client_secret: CANARY, timeout: CANARY_}\n".trim_end_matches("CANARY_}\n"),
        "upstreams:\n- credential: {basic: {username: u, password: CANARY}}\n",
        "upstreams:\n- credential: {basic: {password: {value: CANARY}}}\n",
        "upstreams:\n- credential: {password: [CANARY, CANARY]}\n",
        "upstreams:\n- url: 'http://user:CANARY@host/path'\n",
        "issuers:\n- issuer: 'https://user:CANARY@host/'\n",
        "issuers:\n- client_secret: |\n    CANARY\n    CANARY\n  name: 5\n",
        "issuers:\n- {client_secret: 'a\n    CANARY', name: 5, foo: x}\n",
        "issuers:\n- client_secret: 'CANARY\n",
        "issuers:\n- client_secret:\n  - CANARY\n   - : CANARY\n",
        "internal_jwt: {key: CANARY, key_file: CANARY_\n",
        "log: {api-key: CANARY}\nlog: {}\n",
        "admin: {token: 5, access_token: CANARY}\n",
        "authority: {clients: [{id: a, secret_hashes: [CANARY], grants: [client_credentials]}]}",
        "authority:\n  users:\n  - username: ana\n    password_hash: CANARY\n    claims: {sub: 1}\n",
        "authority: {users: [{username: ana, password: CANARY}]}",
        "authority: {clients: [{id: a, client_secret: CANARY, secret: CANARY}]}",
        "a: &x CANARY\nissuers: [{client_secret: *x}]\n",
    ] {
        let text = everything(&source.replace("CANARY_", "x").replace("CANARY", CANARY), &[]);
        assert!(!text.contains(CANARY), "{source}\n{text}");
    }
}

#[test]
fn a_value_from_the_environment_is_not_shown() {
    for source in [
        "log: {level: '${X}', format: 'a${X}b'}\nworkers: ${X}\ndrain: {delay: '${X}'}\ncache: {max_bytes: '${X}'}",
        "routes: [{name: 'a ${X}', paths: ['${X}'], methods: ['${X} '], hosts: ['${X} '], upstream: '${X}', public: true}]",
        "issuers: [{name: a, issuer: 'http://${X}'}]",
        "upstreams: [{name: '${X}', url: 'http://a'}]",
        "issuers: [{name: '${X}', issuer: 'https://a'}]\nroutes: [{name: a, policy: {issuers: [c4n4ry-s3cr3]}}]",
        "routes: [{name: a, paths: ['/{${X}}/{${X}}', '/{${X}}', '/${X}é'], upstream: app, public: true}]",
        "upstreams: [{name: app, url: 'ftp://${X}'}]",
        "listeners: [{address: '${X}', tls: {key_file: '${X}', certificate_file: '${X}'}}]",
        "upstreams: [{name: a, url: 'http://a', credential: '${X}'}]",
        "listeners: [{name: '${X}', address: 127.0.0.1:1}, {name: '${X}', address: 127.0.0.1:2}]",
    ] {
        let text = everything(&config(source), &[("X", CANARY), ("SIDEGATE__LOG__ACCESS", CANARY)]);
        assert!(!text.contains(CANARY), "{source}\n{text}");
        assert!(text.contains("SIDEGATE__LOG__ACCESS"), "{text}");
    }
}

proptest! {
    /// Wherever a canary stands under a key that means a secret, and whatever else is wrong.
    #[test]
    fn no_report_holds_a_secret(
        before in "[a-z:{}\\[\\]\"'|>&*!,# \n-]{0,40}",
        key in prop::sample::select(vec!["client_secret", "password", "hs-secret", "private_key", "Api_Key"]),
        style in prop::sample::select(vec!["KEY: V", "KEY: 'V'", "KEY: \"V\"", "{KEY: V}", "KEY: |\n  V\n", "- KEY: [V]"]),
        after in "[a-z:{}\\[\\]\"'|>&*!,# \n-]{0,40}",
    ) {
        let value = style.replace("KEY", key).replace('V', CANARY);
        let text = everything(&format!("{before}\n{value}\n{after}"), &[]);
        prop_assert!(!text.contains(CANARY), "{}", text);
    }
}
