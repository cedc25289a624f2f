//! The local authority: its clients, its users and what they have to do with the rest.

use super::{files::Folder, *};
use crate::model::GrantType;

const SHA: &str = "sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48";
const SLOW: &str = "$argon2id$v=19$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ";

fn authority(more: &str) -> String {
    config(&format!(
        "authority: {{issuer: 'https://auth.example.com', audiences: [api], {more}}}\nstore: {{memory: {{}}}}\n"
    ))
}

/// An authority with one client.
fn client(more: &str) -> String {
    authority(&format!("clients: [{{id: app, {more}}}], users: [{{username: ana, password_hash: '{SLOW}'}}]"))
}

/// The same with a secret and a grant.
fn good_client(more: &str) -> String {
    client(&format!("secret_hashes: ['{SHA}'], grants: [client_credentials], {more}"))
}

fn users(list: &str) -> String {
    authority(&format!(
        "clients: [{{id: app, secret_hashes: ['{SHA}'], grants: [client_credentials]}}], users: [{list}]"
    ))
}

/// Problems, or else warnings, without their places in the file.
pub(super) fn told(source: &str) -> Vec<String> {
    let without_place = |text: String| text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned());
    match load_with(source, &[]) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| without_place(warning.to_string())).collect(),
        Err(problems) => problems.list.iter().map(|problem| without_place(problem.to_string())).collect(),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_client_has_the_defaults_of_the_reference() {
    let source = good_client("scopes: [a, b]");
    let config = load_with(&source, &[]).unwrap().config;
    let client = &config.authority.as_ref().unwrap().clients["app"];
    assert!(client.enabled && client.pkce && client.asks_consent && !client.is_public());
    assert_eq!(
        (client.default_scopes.to_string().as_str(), client.audiences.as_slice()),
        ("a b", &["api".to_owned()][..])
    );
    assert!(client.may(GrantType::ClientCredentials) && !client.may(GrantType::Password));
    assert_eq!(told(&source), NOTHING);
}

#[test]
fn what_stands_in_the_place_of_a_hash_must_be_one() {
    let no_hash = "authority.clients[0].secret_hashes[0]: this is no hash: one begins with $argon2id$ or sha256:; \
                   sidegate hash makes one; a secret itself must not stand here";
    for (hash, problem) in [
        ("hunter2hunter2", no_hash),
        ("$2b$12$abcdefghijklmnopqrstuv", no_hash),
        (
            "sha256:abc",
            "authority.clients[0].secret_hashes[0]: after sha256: belong 64 hexadecimal digits; \
             sidegate hash --generate makes a secret and its hash",
        ),
        (
            "$argon2id$v=19$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog",
            "authority.clients[0].secret_hashes[0]: this argon2id hash cannot be read; sidegate hash makes one; it needs quotes around it",
        ),
        (
            "$argon2id$v=19$m=300000,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ",
            "authority.clients[0].secret_hashes[0]: m=300000,t=2,p=1: checking one password would take too much; \
             at most m=262144,t=10,p=8",
        ),
        (
            "$argon2id$v=16$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ",
            "authority.clients[0].secret_hashes[0]: this argon2id hash is not of version 19; sidegate hash makes one",
        ),
    ] {
        let source = client(&format!("secret_hashes: ['{hash}'], grants: [client_credentials]"));
        assert_eq!(told(&source), [problem], "{hash}");
        let shown = format!("{}", load_with(&source, &[]).unwrap_err());
        assert!(!shown.contains("hunter2") && !shown.contains("Qgbw"), "{shown}");
    }
}

#[test]
fn weak_hashes_are_warned_of() {
    let weak = "$argon2id$v=19$m=4096,t=3,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ";
    assert_eq!(
        told(&users(&format!(
            "{{username: ana, password_hash: '{weak}'}}, {{username: bea, password_hash: '{SLOW}'}}"
        ))),
        [
            "authority.users: the hashes have different parameters, so the time of a refusal tells who is listed; \
             make them anew with the same ones as their users sign in",
            "authority.users[0].password_hash: m=4096,t=3,p=1 is weak: whoever gets this file tries many passwords a \
             second; sidegate hash makes one with m=19456,t=2,p=1",
        ]
    );
    assert_eq!(
        told(&users(&format!("{{username: ana, password_hash: '{SHA}'}}"))),
        [
            "authority.users[0].password_hash: sha256 is for generated secrets; of a password that a person chose it tells \
          too much; sidegate hash makes a slow hash of it"
        ]
    );
}

#[test]
fn a_client_proves_itself_in_one_way() {
    assert_eq!(
        told(&client("grants: [client_credentials]")),
        ["authority.clients[0]: the client has no secret_hashes, no jwks_file and is not public; \
          sidegate hash --generate makes a secret and its hash"]
    );
    assert_eq!(
        told(&good_client("public: true")),
        [
            "authority.clients[0].grants[0]: a public client has no credentials, so anybody could take its tokens \
             (RFC 6749, section 4.4); leave the grant out, or give the client a secret",
            "authority.clients[0].public: a public client proves nothing; leave out public or the secret",
        ]
    );
    assert_eq!(
        told(&good_client("jwks_file: keys.json")),
        ["authority.clients[0].jwks_file: a client has secrets or keys, not both"]
    );
    assert_eq!(
        told(&client(
            "public: true, grants: [authorization_code], redirect_uris: ['https://a.example/cb'], \
             refresh_token: {rotation: stable}"
        )),
        [
            "authority.clients[0].refresh_token.rotation: a public client's refresh tokens rotate (RFC 9700, section 4.14)"
        ]
    );
}

#[test]
fn grants_fit_the_rest_of_the_client() {
    let secret = format!("secret_hashes: ['{SHA}']");
    for (grants, told_of_it) in [
        (
            "[]",
            "authority.clients[0].grants: missing: the client could get no token; write for example [client_credentials]",
        ),
        (
            "[authorization_code]",
            "authority.clients[0].redirect_uris: missing: with authorization_code the answer goes to one of them; \
             write for example redirect_uris: [\"https://shop.example.com/callback\"]",
        ),
        (
            "[client_credentials, refresh_token]",
            "authority.clients[0].grants[1]: no other grant of this client comes with a refresh token; \
             add authorization_code, or leave refresh_token out",
        ),
        (
            "[password]",
            "authority.clients[0].grants[0]: the client sees its users' passwords (RFC 9700, section 2.4); \
             use authorization_code where the client can",
        ),
    ] {
        assert_eq!(told(&client(&format!("{secret}, grants: {grants}"))), [told_of_it], "{grants}");
    }
    assert_eq!(
        told(&client(&format!("{secret}, grants: [implicit], redirect_uris: ['https://a.example/cb']"))),
        [
            "authority.clients[0].grants[0]: tokens in the redirect can leak from the browser (RFC 9700, section 2.1.2); \
          they live at most 10m; use authorization_code with PKCE where the client can"
        ]
    );
    assert_eq!(told(&client(&format!("{secret}, grants: [basic]"))), NOTHING);
}

/// S02.
#[test]
fn plain_http_redirects_are_for_this_machine_only() {
    let with = |uri: &str| {
        client(&format!("secret_hashes: ['{SHA}'], grants: [authorization_code], redirect_uris: ['{uri}']"))
    };
    for uri in ["https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:5000/cb", "com.example.app:/cb"] {
        assert_eq!(told(&with(uri)), NOTHING, "{uri}");
    }
    for uri in ["http://a.example/cb", "https://a.example/cb#x", "javascript:alert(1)", "/cb", "http://192.0.2.1/cb"] {
        assert_eq!(
            told(&with(uri)),
            [format!(
                "authority.clients[0].redirect_uris[0]: {uri:?} is not a redirect URI that may be used; https, or http \
                 on a loopback address, or a scheme of your own such as com.example.app:/callback; no fragment"
            )]
        );
    }
}

/// S10.
#[test]
fn a_user_is_no_client_and_no_other_user() {
    let user = |name: &str, subject: &str| format!("{{username: {name}, {subject} password_hash: '{SLOW}'}}");
    let client =
        "is also the id of a client, whose own tokens would pass for this user's; give the user another subject";
    assert_eq!(told(&users(&user("ana", "subject: app,"))), [format!("authority.users[0].subject: \"app\" {client}")]);
    assert_eq!(told(&users(&user("app", ""))), [format!("authority.users[0].username: \"app\" {client}")]);
    assert_eq!(
        told(&users(&format!("{}, {}, {}", user("a", "subject: s,"), user("b", "subject: s,"), user("a", "")))),
        [
            "authority.users[1].subject: \"s\" is already used by users[0]",
            "authority.users[2].username: \"a\" is already used by users[0]",
        ]
    );
    let taken = format!("{}, {}", user("a", ""), user("b", "subject: a,"));
    assert_eq!(told(&users(&taken)), ["authority.users[1].subject: \"a\" is already used by users[0]"]);
    assert_eq!(
        told(&users(&user("'a\tb'", ""))),
        ["authority.users[0].username: not 1 to 255 bytes without control characters"]
    );
}

#[test]
fn ids_scopes_and_claims_are_what_tokens_can_carry() {
    assert_eq!(
        told(&good_client("claims: {tenant: acme, sub: x, client_id: y}")),
        [
            "authority.clients[0].claims.sub: every token says this of itself; call the claim otherwise",
            "authority.clients[0].claims.client_id: every token says this of itself; call the claim otherwise",
        ]
    );
    let claims = format!("{{username: ana, password_hash: '{SLOW}', claims: {{iss: x}}}}");
    assert_eq!(
        told(&users(&claims)),
        ["authority.users[0].claims.iss: every token says this of itself; call the claim otherwise"]
    );
    let scopes = format!(
        "scopes: {{orders: See orders}}, clients: [{{id: 'a\u{e9}', secret_hashes: ['{SHA}'], grants: \
         [client_credentials], scopes: [order]}}]"
    );
    assert_eq!(
        told(&authority(&scopes)),
        [
            "authority.clients[0].id: not up to 255 printable ASCII characters",
            "authority.clients[0].scopes[0]: \"order\" is not in the scopes of the authority",
            "authority.clients[0].default_scopes[0]: \"order\" is not in scopes",
        ][..2]
    );
    assert_eq!(
        told(&good_client("scopes: [a], default_scopes: [b]")),
        ["authority.clients[0].default_scopes[0]: \"b\" is not in scopes"]
    );
}

#[test]
fn users_stand_in_one_place() {
    let http = "user_service: {http: {url: 'https://u.example/verify'}}";
    let with =
        |more: &str| authority(&format!("clients: [{{id: app, secret_hashes: ['{SHA}'], grants: [basic]}}], {more}"));
    assert_eq!(told(&with(http)), NOTHING);
    assert_eq!(
        told(&with(&format!("{http}, users: [{{username: ana, password_hash: '{SLOW}'}}]"))),
        ["authority.user_service: users are listed and asked about at once; \
          leave out users (or users_file) or user_service"]
    );
    assert_eq!(
        told(&with("user_service: {}")),
        [
            "authority.user_service: neither http nor ldap; write for example http: {url: https://users.example.com/verify}"
        ]
    );
    assert_eq!(
        told(&with("cors_origins: []")),
        ["authority.users: clients have grants for users, and there is nobody who could sign in; \
          list users, or name a users_file or a user_service"]
    );
    assert_eq!(
        told(&authority("")),
        ["authority.clients: no client may ask for a token; list one, or name a clients_file"]
    );
}

#[cfg(feature = "ldap")]
#[test]
fn a_directory_is_reached_by_tls_and_binds_one_name() {
    let with = |more: &str| {
        authority(&format!(
            "clients: [{{id: app, secret_hashes: ['{SHA}'], grants: [basic]}}], user_service: {{ldap: {{{more}}}}}"
        ))
    };
    let dn = "bind_dn: 'uid={username},dc=example', subject: uid";
    for url in ["ldaps://ldap.example.com", "ldap://127.0.0.1:3890", "ldap://localhost", "ldap://[::1]"] {
        assert_eq!(told(&with(&format!("url: '{url}', {dn}"))), NOTHING, "{url}");
    }
    assert_eq!(told(&with(&format!("url: 'ldap://ldap.example.com', start_tls: true, {dn}"))), NOTHING);
    let place = "authority.user_service.ldap";
    for (more, problem) in [
        (
            format!("url: 'ldap://ldap.example.com', {dn}"),
            "url: \"ldap://ldap.example.com\" sends passwords in plain text; use ldaps, or start_tls: true; without \
             both only on this machine",
        ),
        (
            format!("url: 'ldaps://ldap.example.com', start_tls: true, {dn}"),
            "start_tls: ldaps begins with TLS; leave it out, or write ldap://",
        ),
        (
            format!("url: 'https://ldap.example.com', {dn}"),
            "url: \"https://ldap.example.com\" is not an ldaps URL; write for example ldaps://ldap.example.com",
        ),
        (
            format!("url: 'ldaps://ldap.example.com/dc=example', {dn}"),
            "url: only scheme, host and port have a meaning here; write for example ldaps://ldap.example.com",
        ),
        (
            "url: 'ldaps://l.example', subject: uid, bind_dn: 'uid=ana,dc=example'".to_owned(),
            "bind_dn: {username} stands in it exactly once, as the value of an attribute; \
             write for example \"uid={username},ou=people,dc=example,dc=com\"",
        ),
        (
            format!("url: 'ldaps://l.example', {dn}, claims: {{email: '(mail=*)'}}"),
            "claims.email: \"(mail=*)\" is not the name of an attribute; write for example mail",
        ),
        (
            format!("url: 'ldaps://l.example', {dn}, claims: {{iss: mail}}"),
            "claims.iss: every token says this of itself; call the claim otherwise",
        ),
        (
            "url: 'ldaps://l.example', bind_dn: 'uid={username},dc=example'".to_owned(),
            "subject: missing, so what was typed is the subject; a directory takes Ana and ana for one, and policies do \
             not; name an attribute that never changes, such as entryUUID or uid",
        ),
    ] {
        assert_eq!(told(&with(&more)), [format!("{place}.{problem}")], "{more}");
    }
}

#[test]
fn the_authority_is_told_from_other_issuers() {
    let with =
        |issuer: &str| format!("{}\nissuers: [{{{issuer}}}]\n", good_client("enabled: true").replace(ISSUERS, ""));
    assert_eq!(
        told(&with("name: local, issuer: 'https://idp.example.com'")),
        ["issuers[0].name: policies call the authority \"local\"; give this one another name"]
    );
    assert_eq!(
        told(&with("name: corp, issuer: 'https://auth.example.com'")),
        [
            "issuers[0].issuer: this is the issuer of the authority, whose tokens only sidegate itself can make; leave this \
          one out: policies accept the authority's tokens as those of \"local\""
        ]
    );
    assert_eq!(told(&config("issuers: [{name: local, issuer: 'https://idp.example.com'}]")), NOTHING);
}

const ISSUERS: &str = "issuers: [{name: corp, issuer: 'https://idp.example.com'}]\n";

#[test]
fn an_issuer_has_one_spelling_and_is_https_or_here() {
    let with = |issuer: &str| good_client("enabled: true").replace("https://auth.example.com", issuer);
    assert_eq!(told(&with("http://127.0.0.1:8080")), NOTHING);
    assert_eq!(told(&with("https://auth.example.com/realm")), NOTHING);
    for issuer in ["https://auth.example.com/", "https://auth.example.com?a=b"] {
        assert_eq!(
            told(&with(issuer)),
            [
                "authority.issuer: an issuer has no query and no slash at its end; write for example https://auth.example.com"
            ]
        );
    }
    assert_eq!(
        told(&with("http://auth.example.com")),
        [
            "authority.issuer: \"http://auth.example.com\" is not https, so whoever is in between could exchange what is read \
          from it; use https; http is accepted on this machine only"
        ]
    );
}

#[test]
fn every_endpoint_has_a_path_of_its_own() {
    let with = |endpoints: &str| {
        authority(&format!(
            "clients: [{{id: app, secret_hashes: ['{SHA}'], grants: [client_credentials]}}], endpoints: {{{endpoints}}}"
        ))
    };
    assert_eq!(told(&with("revoke: off, token: /t")), NOTHING);
    for (endpoints, taken) in [
        ("token: /oauth20/authorize", "token: \"/oauth20/authorize\" is already endpoints.authorize"),
        (
            "jwks: /.well-known/openid-configuration",
            "jwks: \"/.well-known/openid-configuration\" is already a document about the authority",
        ),
    ] {
        assert_eq!(told(&with(endpoints)), [format!("authority.endpoints.{taken}; give one of them another path")]);
    }
    let internal = with("jwks: /.well-known/sidegate/jwks.json") + "internal_jwt: {}\n";
    assert_eq!(
        told(&internal),
        ["authority.endpoints.jwks: \"/.well-known/sidegate/jwks.json\" is already internal_jwt.jwks_path; \
          give one of them another path"]
    );
    let route = with("token: /orders").replace("paths: ['/*']", "paths: [/orders]");
    assert_eq!(
        told(&route),
        ["authority.endpoints.token: \"/orders\" is already a path of routes[0]; give one of them another path"]
    );
    assert_eq!(
        told(&with("jwks: off")),
        ["authority.endpoints.jwks: the key set cannot be switched off: others verify our tokens with it"]
    );
}

#[test]
fn origins_are_listed_as_browsers_write_them() {
    let with = |origin: &str| {
        good_client("enabled: true")
            .replace("audiences: [api],", &format!("audiences: [api], cors_origins: ['{origin}'],"))
    };
    assert_eq!(told(&with("https://app.example.com")), NOTHING);
    assert_eq!(
        told(&with("*")),
        ["authority.cors_origins[0]: every page in the world could read what the endpoints answer; list the origins"]
    );
    assert_eq!(
        told(&with("https://app.example.com/")),
        [
            "authority.cors_origins[0]: \"https://app.example.com/\" is not how a browser writes an origin; write scheme, host \
          and port only, in lower case, without the scheme's own port and a slash at the end"
        ]
    );
}

#[test]
fn one_address_for_all_clients_is_warned_of() {
    let tls = Folder::new();
    tls.certificate("server");
    let listeners =
        "listeners: [{address: '0.0.0.0:8443', tls: {certificate_file: server.pem, key_file: server.key}}]\n";
    let warnings = |more: &str| {
        let source = format!("{}{listeners}{more}", good_client("enabled: true"));
        let loaded = load_str(&source, "c.yaml", tls.path(), &Environment::default()).unwrap();
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(""),
        [
            "trusted_proxies: empty: behind a proxy all clients have its one address, and wrong passwords of one slow down all"
        ]
    );
    assert_eq!(warnings("trusted_proxies: [10.0.0.0/8]\n"), NOTHING);
}

#[test]
fn a_store_without_its_folder_and_a_key_beside_its_data_are_warned_of() {
    let folder = Folder::new();
    let source = good_client("enabled: true").replace("store: {memory: {}}", "store: {redb: {path: data/s.redb}}")
        + "keys: {generate: true, master_file: master}\n";
    let loaded = load_str(&source, "c.yaml", folder.path(), &Environment::default()).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(|w| format!("{}: {}; {}", w.path, w.message, w.remedy)).collect();
    let path = folder.path().join("data/s.redb");
    assert_eq!(
        warnings,
        [
            format!(
                "store.redb.path: there is no folder for {path:?}; make it, and let the user that sidegate runs as write in it"
            ),
            "keys.generate: a key beside the data protects little: whoever copies the disk has both; \
             sidegate keys master makes a ring that you can mount from elsewhere"
                .to_owned(),
        ]
    );
}

/// A configuration whose clients and users stand in files of their own.
fn split(folder: &Folder, more: &str) -> Result<Loaded, Problems> {
    split_with(folder, more, &[])
}

fn split_with(folder: &Folder, more: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let source = authority(&format!("clients_file: clients.yaml, users_file: users.yaml{more}"));
    load_str(&source, "c.yaml", folder.path(), &variables.iter().copied().collect())
}

fn clients_file(folder: &Folder) {
    folder.write(
        "clients.yaml",
        format!("clients:\n- id: app\n  secret_hashes: ['{SHA}']\n  grants: [client_credentials]\n  scopes: [\"${{SCOPE:-a}}\"]\n"),
    );
}

#[test]
fn lists_in_files_are_as_if_they_stood_here() {
    let folder = Folder::new();
    clients_file(&folder);
    folder.write("users.yaml", format!("users:\n- {{username: ana, password_hash: '{SLOW}'}}\n"));
    let variables = [("SCOPE", "b"), ("SIDEGATE__AUTHORITY__USERS__0__SUBJECT", "u-1")];
    let config = split_with(&folder, "", &variables).unwrap().config;
    let authority = config.authority.unwrap();
    assert_eq!(authority.clients["app"].scopes.to_string(), "b");
    let Users::Listed(users) = authority.users else { panic!("not listed") };
    assert_eq!(users["ana"].subject, "u-1");
}

#[test]
fn the_environment_may_name_the_file() {
    let folder = Folder::new();
    clients_file(&folder);
    let variables = [("SIDEGATE__AUTHORITY__CLIENTS_FILE", "clients.yaml")].into_iter().collect();
    let config = load_str(&authority("cors_origins: []"), "c.yaml", folder.path(), &variables).unwrap().config;
    assert!(config.authority.unwrap().clients.contains_key("app"));
}

#[test]
fn a_problem_names_the_file_and_the_line_where_it_stands() {
    let folder = Folder::new();
    folder.write("clients.yaml", "clients:\n- id: app\n  grants: [client_credential]\n- id: app\n  grants: []\n");
    folder.write("users.yaml", "users:\n- username: ana\n  password: hunter2\n  password_hash: hunter2\n");
    let problems = split(&folder, "").unwrap_err();
    let here = folder.path().display().to_string();
    let shown: Vec<_> = problems.list.iter().map(|problem| problem.to_string().replace(&here, "")).collect();
    assert_eq!(
        shown,
        [
            "/clients.yaml:3:12: authority.clients[0].grants[0]: \"client_credential\" is not known here; did you mean \
             \"client_credentials\"?",
            "/users.yaml:3:3: authority.users[0].password: unknown key \"password\"; known here: username, subject, \
             password_hash, api_key_hashes, enabled, claims, account",
        ]
    );
    let text = problems.to_string();
    assert!(text.contains("3 |   grants: [client_credential]"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    folder.replace("clients.yaml", "clients:\n- id: app\n  grants: [client_credentials]\n");
    folder.replace("users.yaml", format!("users:\n- username: app\n  password_hash: '{SLOW}'\n"));
    let problems = split(&folder, ", cors_origins: ['*']").unwrap_err();
    let shown: Vec<_> = problems.list.iter().map(|problem| problem.to_string().replace(&here, "")).collect();
    let starts =
        ["c.yaml:1:", "/clients.yaml:2:3: authority.clients[0]: the", "/users.yaml:2:13: authority.users[0].username:"];
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown.iter().zip(starts).all(|(problem, start)| problem.starts_with(start)), "{shown:?}");
}

#[test]
fn a_list_stands_in_one_place_and_its_file_holds_nothing_else() {
    let folder = Folder::new();
    clients_file(&folder);
    folder.write("users.yaml", "people:\n- username: hunter2\n");
    let problems = |more: &str| {
        let problems = split(&folder, more).unwrap_err();
        let here = folder.path().display().to_string();
        problems.list.iter().map(|problem| problem.to_string().replace(&here, "")).collect::<Vec<_>>()
    };
    assert_eq!(
        problems(", clients: []"),
        [
            "c.yaml:1:81: authority.clients_file: clients stand here and in a file; keep one of the two",
            "/users.yaml:1:1: authority.users_file: unknown key \"people\"; only users belongs into this file",
        ]
    );
    folder.replace("users.yaml", "users: [\n");
    assert!(problems("")[0].starts_with("/users.yaml:"), "{:?}", problems(""));
    folder.replace("users.yaml", "- username: ana\n");
    assert_eq!(
        problems(""),
        ["/users.yaml:1:1: authority.users_file: this file holds no users; it starts with users:"]
    );
    folder.remove("users.yaml");
    assert_eq!(problems(""), ["c.yaml:1:107: authority.users_file: the file cannot be read: there is no such file"]);
}
