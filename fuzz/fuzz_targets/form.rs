//! A form at the endpoints of `oauth2`: what was read can be said again, and each refusal is one of RFC 6749.
#![no_main]

use form_urlencoded::Serializer;
use http::{HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    dialect::{Dialect, oauth2},
    json,
    model::{ClientProof, Grant, TokenRequest},
};
use sidegate_fuzz::{Message, assert_refusal, assert_same_request, endpoints};

fuzz_target!(|data: &[u8]| {
    let message = Message::read(data);
    let head = message.parts();
    match Dialect::OAuth2.read_request(&head, message.body, endpoints()) {
        Ok(request) => {
            let mut plain = http::Request::post("/").body(()).expect("a path").into_parts().0;
            plain.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            let again = Dialect::OAuth2.read_request(&plain, said(&request).as_bytes(), endpoints());
            assert_same_request(&request, &again.expect("what was read can be read again"));
        }
        Err(error) => {
            let answer = Dialect::OAuth2.write_reply(&Err(error.clone()), &head, endpoints(), "realm");
            assert_refusal(&error, &answer);
            let members = json::object(answer.body()).expect("a refusal is JSON");
            assert_eq!(members["error"], error.code.as_str());
        }
    }
    if let Err(error) = oauth2::read_question(&head, message.body) {
        assert_refusal(&error, &oauth2::write_error(&error, "realm"));
    }
});

/// The request with its client in the form.
fn said(request: &TokenRequest) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", request.grant.kind().as_str());
    if let Some(id) = &request.client.id {
        form.append_pair("client_id", id);
    }
    match &request.client.proof {
        ClientProof::None => {}
        ClientProof::Secret(secret) => {
            form.append_pair("client_secret", secret.expose());
        }
        ClientProof::Assertion(assertion) => {
            form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            form.append_pair("client_assertion", assertion.expose());
        }
    }
    match &request.grant {
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            form.append_pair("code", code.expose());
            if let Some(uri) = redirect_uri {
                form.append_pair("redirect_uri", uri);
            }
            if let Some(verifier) = verifier {
                form.append_pair("code_verifier", verifier.expose());
            }
        }
        Grant::Password { username, password, .. } => {
            form.append_pair("username", username).append_pair("password", password.expose());
        }
        Grant::RefreshToken { token } => {
            form.append_pair("refresh_token", token.expose());
        }
        Grant::ClientCredentials | Grant::ApiKey { .. } => {}
    }
    if let Some(scope) = &request.scope {
        form.append_pair("scope", &scope.to_string());
    }
    for resource in &request.resources {
        form.append_pair("resource", resource);
    }
    form.finish()
}
