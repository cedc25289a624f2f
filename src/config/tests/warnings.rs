//! What works, and is probably not what was wanted.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{files::Folder, *};

/// What is warned of, without the name of the file, place and remedy.
fn warnings(folder: &Folder, source: &str) -> Vec<String> {
    let loaded = load_str(&config(source), "c.yaml", folder.path(), &Environment::default());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.iter().all(|warning| !warning.remedy.is_empty()), "{:?}", loaded.warnings);
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect()
}

const GOOD: &str = "kd93ms0fkw93jr84nfo2p0d8";

#[test]
fn a_plain_listener_is_acknowledged_by_naming_the_proxies_before_it() {
    let folder = Folder::new();
    let plain = "listeners: [{address: '0.0.0.0:8080'}]\n";
    assert_eq!(warnings(&folder, plain), ["listeners[0].address: tokens arrive in plain text at \"0.0.0.0:8080\""]);
    assert_eq!(warnings(&folder, &format!("{plain}trusted_proxies: [10.0.0.0/8]\n")), [""; 0]);
    assert_eq!(warnings(&folder, "listeners: [{address: '127.0.0.1:8080'}]\n"), [""; 0]);
}

#[test]
fn a_lasting_credential_in_plain_text_is_warned_of_beyond_this_machine() {
    let folder = Folder::new();
    folder.write("password", GOOD);
    let upstream = |url: &str, credential: &str| {
        format!(
            "internal_jwt: {{issuer: 'https://s'}}\nupstreams: [{{name: app, url: '{url}', credential: {{{credential}}}}}]\n"
        )
    };
    for credential in ["original: {}", "basic: {username: u, password_file: password}"] {
        let told = warnings(&folder, &upstream("http://orders.internal", credential));
        assert!(told.len() == 1 && told[0].contains("travels in plain text beyond this machine"), "{told:?}");
        assert_eq!(warnings(&folder, &upstream("http://127.0.0.1:3000", credential)), [""; 0]);
        assert_eq!(warnings(&folder, &upstream("https://orders.internal", credential)), [""; 0]);
    }
    for credential in ["none: {}", "internal_jwt: {audience: app}"] {
        assert_eq!(warnings(&folder, &upstream("http://orders.internal", credential)), [""; 0]);
    }
}

#[test]
fn an_audience_that_every_token_has_is_warned_of() {
    let folder = Folder::new();
    for (audience, common) in [
        ("account", true),
        ("https://idp.example.com", true),
        ("https://idp.example.com/userinfo", true),
        ("orders", false),
    ] {
        let route =
            format!("routes: [{{name: all, paths: ['/*'], upstream: app, policy: {{audiences: ['{audience}']}}}}]");
        let told = warnings(&folder, &route);
        assert_eq!(told.len(), usize::from(common), "{audience}: {told:?}");
        assert!(told.iter().all(|told| told.starts_with("routes[0].policy.audiences[0]: ")), "{told:?}");
    }
}

#[test]
fn secrets_that_can_be_guessed_are_warned_of_and_never_shown() {
    let folder = Folder::new();
    let told = |secret: &str| {
        folder.write("password", secret);
        let source = "upstreams: [{name: app, url: 'http://127.0.0.1', \
                      credential: {basic: {username: u, password_file: password}}}]\n";
        let told = warnings(&folder, source);
        folder.remove("password");
        told
    };
    for (secret, why) in [
        ("tiger-cub", "short enough to be found by trying"),
        ("abababababababab", "so few different characters"),
        ("demo-secret-of-batch-7Qm2xW9eJt4nRz8b", "everybody knows this secret"),
        ("Your-256-bit-Secret", "everybody knows this secret"),
    ] {
        let told = told(secret);
        assert!(told.len() == 1 && told[0].contains(why) && !told[0].contains(secret), "{secret}: {told:?}");
        assert!(told[0].starts_with("upstreams[0].credential.basic.password_file: "), "{told:?}");
    }
    assert_eq!(told(GOOD), [""; 0]);
}

#[test]
fn a_shared_secret_is_as_long_as_its_hash() {
    let folder = Folder::new();
    let issuer = |algorithms: &str| {
        format!("issuers: [{{name: old, issuer: 'https://old', hs_secret_file: hs, algorithms: [{algorithms}]}}]\n")
    };
    folder.write("hs", "0123456789abcdefghijklmnopqrstuv");
    assert_eq!(warnings(&folder, &issuer("HS256")), [""; 0]);
    assert_eq!(
        warnings(&folder, &issuer("HS256, HS512")),
        ["issuers[0].hs_secret_file: the secret has 32 bytes, and HS512 wants 64"]
    );
    folder.replace("hs", "a".repeat(32));
    assert_eq!(warnings(&folder, &issuer("HS256")).len(), 1);
}

#[test]
fn keys_that_everybody_can_read_are_warned_of_one_by_one() {
    let folder = Folder::new();
    folder.certificate("tls");
    fs::create_dir(folder.path().join("signing")).unwrap();
    for name in ["signing/current.pem", "signing/next.pem"] {
        folder.write(name, "a key");
    }
    let source = "listeners: [{tls: {certificate_file: tls.pem, key_file: tls.key}}]\n\
                  authority: {issuer: 'https://auth.test', audiences: [api], signing: {folder: signing}, \
                  clients: [{id: a, public: true, grants: [authorization_code], redirect_uris: ['https://a.test/b']}], users: \
                  [{username: ana, subject: ana, password_hash: '$argon2id$v=19$m=19456,t=2,p=1$mDkkGA8i+tydV9l1ZTQbVg$eW6rx9bvE38H7XuUerLVsJuKLObp+qXXEpbyXnc6vLQ'}]}\n\
                  store: {memory: {}}\n";
    assert_eq!(warnings(&folder, source), [""; 0]);
    let open = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // A group may read: that is how Kubernetes mounts for a user that is not root.
    open("tls.key", 0o440);
    assert_eq!(warnings(&folder, source), [""; 0]);
    open("tls.key", 0o644);
    open("signing/next.pem", 0o644);
    let told = warnings(&folder, source);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("listeners[0].tls.key_file: every user of this machine can read"), "{told:?}");
    assert!(told[1].starts_with("authority.signing.folder: ") && told[1].contains("next.pem"), "{told:?}");
}

#[test]
fn master_keys_that_were_typed_are_warned_of() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let folder = Folder::new();
    folder.write("ring", format!("1:{}\n", BASE64_URL_SAFE_NO_PAD.encode([7; 32])));
    let source = "authority: {issuer: 'https://auth.test', audiences: [api], \
                  clients: [{id: a, public: true, grants: [authorization_code], redirect_uris: ['https://a.test/b']}], users: \
                  [{username: ana, subject: ana, password_hash: '$argon2id$v=19$m=19456,t=2,p=1$mDkkGA8i+tydV9l1ZTQbVg$eW6rx9bvE38H7XuUerLVsJuKLObp+qXXEpbyXnc6vLQ'}]}\n\
                  store: {redb: {path: sessions.redb}}\nkeys: {master_file: ring}\n";
    let told = warnings(&folder, source);
    assert_eq!(told, ["keys.master_file: the bytes of key 1 are not random, and every session is sealed under it"]);
}

#[test]
fn what_the_examples_publish_is_warned_of_where_others_can_reach_it() {
    let folder = Folder::new();
    let source = |address: &str| {
        format!(
            "listeners: [{{address: '{address}'}}]\ntrusted_proxies: [10.0.0.0/8]\nstore: {{memory: {{}}}}\n\
             authority: {{issuer: 'https://auth.test', audiences: [api], users: [], clients: [{{id: batch, \
             grants: [client_credentials], scopes: [orders], secret_hashes: \
             ['sha256:8fee78d9458a32ac93d8bf56f0e94aa79a35efc882bc48e7fe6c6d6a21dda5ec']}}]}}\n"
        )
    };
    assert_eq!(warnings(&folder, &source("127.0.0.1:8080")), [""; 0]);
    assert_eq!(
        warnings(&folder, &source("0.0.0.0:8080")),
        ["authority.clients: \"batch\" has a secret that stands in the examples of sidegate"]
    );
}
