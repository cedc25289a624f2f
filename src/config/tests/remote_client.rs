//! How sidegate proves itself to the authority outside, and whose ID tokens it believes.

use jsonwebtoken::Algorithm;

use super::{files::Folder, *};

/// A remote authority that speaks oauth2, with `more` keys.
fn remote(more: &str) -> String {
    config(&format!(
        "authority: {{issuer: 'https://auth.example.com', audiences: [api], clients: [{{id: app, public: true, \
         grants: [password]}}], remote: {{dialect: oauth2, authorize: password, {more}}}}}\nstore: {{memory: {{}}}}\n"
    ))
}

fn loaded(folder: &Folder, more: &str) -> Result<Remote, Vec<String>> {
    match load_str(&remote(more), "c.yaml", folder.path(), &Environment::default()) {
        Ok(loaded) => Ok(loaded.config.authority.unwrap().remote.unwrap()),
        Err(problems) => {
            Err(problems.list.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
        }
    }
}

#[test]
fn the_kind_of_a_key_decides_how_assertions_are_signed_and_what_is_none_is_named() {
    let folder = Folder::new();
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    folder.write("rsa", rsa.serialize_pem());
    folder.write("ed25519", rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem());
    folder.write("p256", rcgen::KeyPair::generate().unwrap().serialize_pem());
    folder.write("p384", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem());
    folder.write("text", "a password, not a key");
    let with = |file: &str| {
        loaded(&folder, &format!("issuer: 'https://idp.example.com', client: {{id: us, key_file: {file}, key_id: k}}"))
    };
    for (file, algorithm) in [("p256", Algorithm::ES256), ("ed25519", Algorithm::EdDSA), ("rsa", Algorithm::RS256)] {
        let RemoteAuthentication::PrivateKeyJwt(key) = with(file).unwrap().authentication else { panic!("{file}") };
        assert_eq!((key.algorithm, key.key_id.as_deref()), (algorithm, Some("k")), "{file}");
    }
    for file in ["p384", "text"] {
        assert_eq!(
            with(file).unwrap_err(),
            ["authority.remote.client.key_file: the file holds no key for ES256, EdDSA or RS256 as PKCS#8 in PEM"]
        );
    }
}

#[test]
fn an_issuer_is_a_url_that_secrets_may_go_to_and_nothing_may_stand_behind_its_path() {
    let folder = Folder::new();
    folder.write("secret", "0123456789abcdef");
    let with = |issuer: &str| loaded(&folder, &format!("issuer: '{issuer}', client: {{id: us, secret_file: secret}}"));
    for issuer in ["https://idp.example.com", "https://idp.example.com/tenant/", "http://127.0.0.1:8080"] {
        assert_eq!(with(issuer).unwrap().issuer().unwrap().issuer, issuer);
    }
    for issuer in ["http://idp.example.com", "https://idp.example.com/?a=b", "https://u:p@idp.example.com", "idp"] {
        let problems = with(issuer).unwrap_err();
        assert!(problems[0].starts_with("authority.remote.issuer: "), "{issuer}: {problems:?}");
    }
}

#[test]
fn id_tokens_matter_where_they_are_asked_for() {
    let folder = Folder::new();
    folder.write("secret", "0123456789abcdef");
    let with = |scopes: &str| {
        let more =
            format!("issuer: 'https://idp.example.com', client: {{id: us, secret_file: secret}}, scopes: [{scopes}]");
        loaded(&folder, &more).unwrap().id_tokens().is_some()
    };
    assert_eq!((with("openid, orders"), with("orders"), with("")), (true, false, false));
}
