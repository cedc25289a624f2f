//! Issuers, introspection and the internal JWT.

use super::{files::Folder, *};

fn issuer(more: &str) -> String {
    config(&format!("issuers: [{{name: corp, {more}}}]"))
}

/// What is wrong with an issuer that has the files of `folder`.
fn answer(folder: &Folder, source: &str) -> Vec<String> {
    lines(load_str(source, "c.yaml", folder.path(), &Environment::default()).map(|loaded| loaded.config))
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn keys_are_found_below_the_issuer() {
    for issuer in ["https://idp.example.com/realm", "https://idp.example.com/realm/"] {
        let source = config(&format!("issuers: [{{name: corp, issuer: '{issuer}'}}]"));
        let found = load_with(&source, &[]).unwrap().config.issuers.remove(0);
        let url = "https://idp.example.com/realm/.well-known/openid-configuration".parse().unwrap();
        assert_eq!((found.keys, found.issuer.as_str()), (KeySource::Discovery(url), issuer));
    }
}

#[test]
fn an_issuer_is_reached_by_https_except_on_this_machine() {
    assert_eq!(problems(&issuer("issuer: 'http://127.0.0.1:9/realm'")), Vec::<String>::new());
    assert_eq!(problems(&issuer("issuer: 'http://localhost:9'")), Vec::<String>::new());
    assert_eq!(
        problems(&issuer("issuer: 'http://idp.example.com'")),
        ["1:32: issuers[0].issuer: \"http://idp.example.com\" is not https, so whoever is in between could \
             exchange what is read from it; use https; http is accepted on this machine only"]
    );
    assert_eq!(
        problems(&issuer("issuer: corp, jwks_uri: 'ftp://x/'")),
        ["1:48: issuers[0].jwks_uri: \"ftp://x/\" is not an https URL"]
    );
    assert_eq!(
        problems(&issuer("issuer: 'https://u:canary@idp.example.com'")),
        ["1:32: issuers[0].issuer: a URL must not carry a user or a password"]
    );
}

#[test]
fn two_issuers_differ_in_name_and_issuer() {
    assert_eq!(
        problems(&config("issuers:\n- &a {name: a, issuer: 'https://a.example'}\n- *a")),
        [
            "3:3: issuers[1].name: \"a\" is already used by issuers[0]",
            "3:3: issuers[1].issuer: \"https://a.example\" is already used by issuers[0]",
        ]
    );
}

#[test]
fn an_issuer_has_one_source_of_keys() {
    assert_eq!(
        problems(&issuer("issuer: a, jwks_file: a, hs_secret_file: b")),
        ["1:11: issuers[0]: more than one source of keys: jwks_file, hs_secret_file; leave hs_secret_file out"]
    );
}

#[test]
fn a_shared_secret_and_hmac_belong_together() {
    let folder = Folder::new();
    folder.write("secret", format!("{SECRET}\n"));
    folder.write("short", "too short\n");
    let good = issuer("issuer: legacy, hs_secret_file: secret");
    let config = load_str(&good, "c.yaml", folder.path(), &Environment::default()).unwrap().config;
    assert_eq!(config.issuers[0].keys, KeySource::Shared(crate::model::Secret::new(SECRET.as_bytes().to_vec())));
    assert_eq!(config.issuers[0].algorithms, [jsonwebtoken::Algorithm::HS256]);
    assert_eq!(
        answer(&folder, &issuer("issuer: legacy, hs_secret_file: secret, algorithms: [HS256, RS256]")),
        ["1:84: issuers[0].algorithms[1]: RS256 needs public keys, and this issuer has a shared secret; with \
             hs_secret_file only HS256, HS384 and HS512 can be used"]
    );
    assert_eq!(
        answer(&folder, &issuer("issuer: 'https://a.example', algorithms: [HS256, none]")),
        ["1:73: issuers[0].algorithms[1]: \"none\" is not known here; known here: RS256, RS384, RS512, PS256, PS384, \
             PS512, ES256, ES384, EdDSA, HS256, HS384, HS512"]
    );
    assert_eq!(
        answer(&folder, &issuer("issuer: 'https://a.example', algorithms: [HS256]")),
        ["1:66: issuers[0].algorithms[0]: HS256 needs a shared secret, and this issuer has public keys; leave it \
             out, or set hs_secret_file for an issuer that signs with a secret"]
    );
    assert_eq!(
        answer(&folder, &issuer("issuer: legacy, hs_secret_file: short")),
        ["1:56: issuers[0].hs_secret_file: the secret is shorter than 32 bytes"]
    );
}

#[test]
fn an_issuer_without_an_algorithm_could_not_issue() {
    assert_eq!(
        problems(&issuer("issuer: 'https://a.example', algorithms: []")),
        ["1:65: issuers[0].algorithms: empty, so no token could be valid; leave the key out for the default"]
    );
}

#[test]
fn a_key_set_is_a_file_of_json_with_keys() {
    let folder = Folder::new();
    folder.write("good", r#"{"keys": [{"kty": "EC"}]}"#);
    folder.write("none", r#"{"keys": []}"#);
    folder.write("text", "keys");
    let with = |file: &str| answer(&folder, &issuer(&format!("issuer: a, jwks_file: {file}")));
    assert_eq!(with("good"), Vec::<String>::new());
    assert_eq!(with("none"), ["1:46: issuers[0].jwks_file: the key set holds no key"]);
    assert_eq!(
        with("text"),
        ["1:46: issuers[0].jwks_file: the file is not a JSON Web Key Set; it looks like {\"keys\": [{\"kty\": …}]}"]
    );
}

#[test]
fn leeway_is_a_minute_at_the_most() {
    assert_eq!(
        problems(&issuer("issuer: 'https://a.example', leeway: 61s")),
        ["1:61: issuers[0].leeway: 1m1s is not between 0s and 1m"]
    );
}

#[test]
fn token_types_are_compared_in_one_form() {
    let source = issuer("issuer: 'https://a.example', token_types: [Application/AT+JWT, JWT]");
    let issuer = load_with(&source, &[]).unwrap().config.issuers.remove(0);
    assert_eq!((issuer.token_types, issuer.token_type_required), (vec!["at+jwt".into(), "jwt".into()], true));
}

#[test]
fn introspection_needs_an_endpoint_and_a_client() {
    assert_eq!(
        problems(&issuer("issuer: 'https://a.example', introspection: {client_id: '', max_concurrent: 0}")),
        [
            "1:68: issuers[0].introspection.endpoint: missing; write for example endpoint: \
             https://idp.example.com/introspect",
            "1:68: issuers[0].introspection.client_secret_file: missing; write for example client_secret_file: \
             secrets/introspection",
            "1:80: issuers[0].introspection.client_id: empty; write for example client_id: sidegate",
            "1:100: issuers[0].introspection.max_concurrent: 0 is not between 1 and 10000",
        ]
    );
}

fn probe(more: &str) -> String {
    issuer(&format!("issuer: old, algorithms: [], probe: {{{more}}}"))
}

const ME: &str = "url: 'http://127.0.0.1:3000/me', audiences: [api]";

#[test]
fn a_probe_needs_a_url_and_an_audience() {
    assert_eq!(problems(&probe(ME)), Vec::<String>::new());
    assert_eq!(
        problems(&probe("url: 'http://127.0.0.1:3000/me', claims: {aud: /for}, scopes: [a], subject: s")),
        Vec::<String>::new()
    );
    assert_eq!(
        problems(&probe("")),
        [
            "1:60: issuers[0].probe.url: missing; write for example url: http://127.0.0.1:3000/api/me",
            "1:60: issuers[0].probe.audiences: missing, so no route would accept its tokens: policies demand an \
             audience; write for example audiences: [orders-api], or read it from the answer with claims: {aud: \
             /audience}",
        ]
    );
    assert_eq!(
        problems(&probe("url: 'unix:/run/a', audiences: [''], scopes: ['a b'], subject: ''")),
        [
            "1:66: issuers[0].probe.url: \"unix:/run/a\" is not an https URL",
            "1:93: issuers[0].probe.audiences[0]: \"\" cannot be one of them; write one name an item",
            "1:107: issuers[0].probe.scopes[0]: \"a b\" cannot be one of them; write one name an item",
            "1:124: issuers[0].probe.subject: empty; write for example subject: old-server",
        ]
    );
}

#[test]
fn an_issuer_is_asked_in_one_way() {
    let both = "issuer: old, algorithms: [], introspection: {}, probe: {}";
    assert_eq!(
        problems(&issuer(both)),
        ["1:79: issuers[0].probe: the issuer has introspection, which says the same better; leave the probe out, or \
          introspection where the server does not really have it"]
    );
    // Keys and a probe are fine together: the keys judge what is a JWT.
    let source = issuer(&format!("issuer: 'https://a.example', probe: {{{ME}}}"));
    assert_eq!(problems(&source), Vec::<String>::new());
}

#[test]
fn a_probe_over_plain_http_is_warned_of_beyond_this_machine() {
    let warnings = |url: &str| {
        let loaded = load_with(&probe(&format!("url: '{url}', audiences: [api]")), &[]).unwrap();
        loaded.warnings.iter().map(|warning| warning.to_string().replace("c.yaml:", "")).collect::<Vec<_>>()
    };
    assert_eq!(warnings("https://old.example/me?x=1"), Vec::<String>::new());
    assert_eq!(warnings("http://[::1]:3000/me"), Vec::<String>::new());
    assert_eq!(
        warnings("http://old.internal/me"),
        ["1:66: issuers[0].probe.url: this is plain http, so whoever is in between reads every token and can say yes \
          to any; use https, or run sidegate beside the server and ask it on 127.0.0.1"]
    );
}

#[test]
fn the_statuses_of_a_probe_can_mean_what_they_are_said_to() {
    let with = |more: &str| problems(&probe(&format!("{ME}, {more}")));
    assert_eq!(with("accept: [200, 204], refuse: [203, 302, 401, 404]"), Vec::<String>::new());
    assert_eq!(
        with("accept: []"),
        ["1:120: issuers[0].probe.accept: empty, so no token could be valid; leave the key out for the default"]
    );
    assert_eq!(
        with("accept: [302, 401, 700000, 200], refuse: [99, 200, 429, 500]"),
        [
            "1:121: issuers[0].probe.accept[0]: 302 does not mean yes; use statuses of 200 to 299",
            "1:126: issuers[0].probe.accept[1]: 401 does not mean yes; use statuses of 200 to 299",
            "1:131: issuers[0].probe.accept[2]: 700000 is not a status of HTTP",
            "1:154: issuers[0].probe.refuse[0]: 99 is not a status of HTTP",
            "1:163: issuers[0].probe.refuse[2]: 429 says that the server is busy, and nothing of the token; leave it out",
            "1:168: issuers[0].probe.refuse[3]: 500 does not mean no; use statuses of 200 to 499; a failing server says \
             nothing of the token",
        ]
    );
}

#[test]
fn a_status_of_a_probe_has_one_meaning() {
    assert_eq!(
        problems(&probe(&format!("{ME}, refuse: [401, 200]"))),
        ["1:126: issuers[0].probe.refuse[1]: 200 stands in accept, too; let it stand in one of the two"]
    );
}

#[test]
fn what_a_probe_sends_and_reads_is_what_servers_can_take_and_give() {
    let with = |more: &str| problems(&probe(&format!("{ME}, {more}")));
    let good = "method: POST, header: X-Token, headers: {X-App: a, Accept: '*/*'}, claims: {sub: /a~1b/0, x: /}, \
                require: {/active: [true, 1, yes], /id: []}, max_concurrent: 1, timeout: 100ms, cache_ttl: 0s";
    assert_eq!(with(good), Vec::<String>::new());
    assert_eq!(
        with("method: HEAD, claims: {sub: /id}"),
        [
            "1:120: issuers[0].probe.method: the answer to HEAD has no body, so no member of it can be read; use GET, or \
          leave claims and require out"
        ]
    );
    assert_eq!(
        with("header: Host, headers: {authorization: x, Te: y, X-A: a, x-a: b, X-B: \"\\x01canary\"}"),
        [
            "1:120: issuers[0].probe.header: host belongs to a single connection or frames the message",
            "1:158: issuers[0].probe.headers.Te: te belongs to a single connection or frames the message",
            "1:174: issuers[0].probe.headers.x-a: this header stands here in another spelling, too",
            "1:182: issuers[0].probe.headers.X-B: the value holds a character that no header may hold",
        ]
    );
    assert_eq!(
        with("header: X-Token, headers: {x-token: canary}"),
        ["1:148: issuers[0].probe.headers.x-token: this header carries the token"]
    );
    assert_eq!(
        with("claims: {sub: '', a: user/id, b: /a~2}, require: {id: [1]}"),
        [
            "1:126: issuers[0].probe.claims.sub: \"\" is not a JSON pointer to a member; write for example /user/id; in a \
             name ~ is written ~0 and / is written ~1",
            "1:133: issuers[0].probe.claims.a: \"user/id\" is not a JSON pointer to a member; write for example \
             /user/id; in a name ~ is written ~0 and / is written ~1",
            "1:145: issuers[0].probe.claims.b: \"/a~2\" is not a JSON pointer to a member; write for example /user/id; \
             in a name ~ is written ~0 and / is written ~1",
            "1:166: issuers[0].probe.require.id: \"id\" is not a JSON pointer to a member; write for example /user/id; \
             in a name ~ is written ~0 and / is written ~1",
        ]
    );
}

#[test]
fn the_headers_of_a_probe_are_never_shown() {
    let source = probe(&format!("{ME}, headers: {{X-App: canary}}"));
    let config = load_with(&source, &[]).unwrap().config;
    assert!(!format!("{:?}", config.issuers).contains("canary"));
}

#[test]
fn a_secret_loses_one_newline_and_is_one_line() {
    let folder = Folder::new();
    folder.write("spaces", " 0123456789 \n");
    folder.write("newline", "\n");
    folder.write("lines", "a\nb\n");
    folder.write("binary", [0xff, 0xfe]);
    folder.write("long", "x".repeat(16 * 1024 + 1));
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let with = |file: &str| {
        let source = issuer(&format!(
            "issuer: 'https://a.example', introspection: {{endpoint: 'https://a.example/i', client_id: c, \
             client_secret_file: {file}}}"
        ));
        load_str(&source, "c.yaml", folder.path(), &Environment::default())
    };
    let good = with("spaces").unwrap().config.issuers.remove(0).inquiry.unwrap();
    let Way::Introspection(good) = good.way else { panic!("{good:?}") };
    assert_eq!(good.client_secret.expose(), " 0123456789 ");
    for (file, message) in [
        ("newline", "the file is empty".to_owned()),
        ("lines", "the file does not hold one line of UTF-8 text".to_owned()),
        ("binary", "the file does not hold one line of UTF-8 text".to_owned()),
        ("long", format!("{:?} is longer than 16384 bytes", folder.path().join("long"))),
        ("folder", format!("{:?} cannot be read: not a file", folder.path().join("folder"))),
    ] {
        let problems = with(file).unwrap_err();
        assert_eq!(problems.list[0].message, message);
        assert_eq!(problems.list[0].path.to_string(), "issuers[0].introspection.client_secret_file");
    }
}

#[test]
fn the_internal_key_is_one_for_its_algorithm() {
    let folder = Folder::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    folder.write("ed25519", key.serialize_pem());
    folder.write("p256", rcgen::KeyPair::generate().unwrap().serialize_pem());
    folder.write("secret", SECRET);
    folder.write("short", "short");
    let with = |more: &str| answer(&folder, &config(&format!("internal_jwt: {{{more}}}")));
    for good in ["key_file: p256", "algorithm: EdDSA, key_file: ed25519", "algorithm: HS256, key_file: secret", ""] {
        assert_eq!(with(good), Vec::<String>::new(), "{good}");
    }
    assert_eq!(
        with("key_file: ed25519"),
        ["1:26: internal_jwt.key_file: the file holds no key for ES256 as PKCS#8 in PEM; \
             openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one"]
    );
    assert_eq!(
        with("algorithm: RS256, key_file: p256"),
        ["1:44: internal_jwt.key_file: the file holds no key for RS256 as PKCS#8 in PEM; \
             openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 makes one"]
    );
    assert_eq!(
        with("algorithm: HS256, key_file: short"),
        ["1:44: internal_jwt.key_file: the secret is shorter than 32 bytes; openssl rand -base64 48 makes one"]
    );
    assert_eq!(
        with("algorithm: HS256"),
        ["1:15: internal_jwt.key_file: missing; with HS256 the upstream must know the secret: name its file"]
    );
    assert_eq!(
        with("algorithm: HS512, jwks_path: keys"),
        [
            "1:27: internal_jwt.algorithm: \"HS512\" is not made here; use ES256, RS256, EdDSA or HS256",
            "1:45: internal_jwt.jwks_path: \"keys\" does not start with /",
        ]
    );
}
