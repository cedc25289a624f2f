//! Who sidegate is to an authority outside, and how it proves that.

use std::path::Path;

use jsonwebtoken::Algorithm;

use crate::config::{
    AssertionKey, RemoteApi, RemoteAuthentication,
    check::{files, internal_jwt::is_key_for, section::Section},
    declared::Place,
    settings,
};

pub(super) fn check(
    remote: &settings::Remote,
    api: Option<&RemoteApi>,
    section: &Section<'_>,
) -> Option<RemoteAuthentication> {
    use settings::RemoteAuthentication::{Basic, Form, None as Nothing, PrivateKeyJwt};
    let client = &remote.client;
    let speaks_oauth2 = remote.dialect.as_deref() == Some("oauth2");
    // Whether its requests name a client, and whether they prove it.
    let (named, proved) = match api {
        Some(RemoteApi::Declared { dialect, .. }) => {
            (dialect.names(&Place::ClientId), dialect.names(&Place::ClientSecret))
        }
        _ => (remote.dialect.as_deref() != Some("consinco"), !speaks_oauth2),
    };
    if !named {
        if client != &settings::RemoteClient::default() {
            section.problem("this API has no clients", "leave it out");
            return None;
        }
        return Some(RemoteAuthentication::None);
    }
    section.required("id", client.id.as_ref(), "sidegate")?;
    let secret = match &client.secret_file {
        Some(file) => Some(files::secret_text(file, &section.key("secret_file"))?),
        None => None,
    };
    let key = match &client.key_file {
        Some(file) => Some(assertion_key(client, file, &section.key("key_file"))?),
        None => None,
    };
    if secret.is_some() && key.is_some() {
        section.problem("secret_file and key_file at once", "leave one out");
        return None;
    }
    if !speaks_oauth2 && (key.is_some() || client.authentication.is_some()) {
        section.problem("this API knows clients by their secret alone", "write id and secret_file, nothing else");
        return None;
    }
    let chosen = client.authentication.unwrap_or(match (&secret, &key) {
        (Some(_), _) if speaks_oauth2 => Basic,
        (Some(_), _) => Form,
        (None, Some(_)) => PrivateKeyJwt,
        (None, None) => Nothing,
    });
    let missing = |key: &'static str| {
        section.key(key).problem("missing", "the way of authentication that is chosen needs it");
        None
    };
    match (chosen, secret, key) {
        (Basic, Some(secret), _) => Some(RemoteAuthentication::Basic(secret)),
        (Form, Some(secret), _) => Some(RemoteAuthentication::Form(secret)),
        (PrivateKeyJwt, _, Some(key)) => Some(RemoteAuthentication::PrivateKeyJwt(key)),
        (Nothing, None, None) if !proved => Some(RemoteAuthentication::None),
        (Nothing, None, None) | (Basic | Form, None, _) => missing("secret_file"),
        (PrivateKeyJwt, _, None) => missing("key_file"),
        (Nothing, ..) => {
            section.key("authentication").problem("none, but a secret or a key is given", "leave one of the two out");
            None
        }
    }
}

/// The key that assertions are signed with: its kind decides how.
fn assertion_key(client: &settings::RemoteClient, file: &Path, section: &Section<'_>) -> Option<AssertionKey> {
    let pem = files::secret(file, section)?;
    let kinds = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];
    let Some(algorithm) = kinds.into_iter().find(|&algorithm| is_key_for(algorithm, &pem)) else {
        section.problem(
            "the file holds no key for ES256, EdDSA or RS256 as PKCS#8 in PEM",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one; RSA needs 2048 bits",
        );
        return None;
    };
    Some(AssertionKey { algorithm, pem, key_id: client.key_id.clone() })
}
