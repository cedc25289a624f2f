//! The `.well-known` documents, generated from what is switched on, and the key set.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};
use url::Url;

use super::Answer;
use crate::{
    config::{Authority, ClientAuthentication},
    dialect::oauth2,
    jose::verify,
    model::{GrantType, TokenError},
};

/// What the authority says of itself, and where.
pub(super) struct Discovery {
    /// RFC 8414 puts the well-known part before the path of the issuer, OpenID Connect behind it.
    pub oauth_path: String,
    pub openid_path: String,
    pub oauth: Bytes,
    pub openid: Bytes,
}

impl Discovery {
    /// `signing`: what the keys are for that are there now; a change of the algorithm takes its time.
    pub fn new(settings: &Authority, signing: impl Iterator<Item = Algorithm>) -> Discovery {
        let path = Url::parse(&settings.issuer).map_or_else(|_| String::new(), |issuer| issuer.path().to_owned());
        let path = path.trim_end_matches('/');
        let mut algorithms = vec![settings.signing.algorithm];
        signing.for_each(|algorithm| {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        });
        let oauth = metadata(settings, &algorithms);
        let mut openid = oauth.clone();
        let mut put = |name: &str, value: Value| openid.insert(name.to_owned(), value);
        put("subject_types_supported", json!(["public"]));
        put("id_token_signing_alg_values_supported", json!(algorithms));
        // Left out, it would say that they are supported.
        put("request_uri_parameter_supported", json!(false));
        Discovery {
            oauth_path: format!("/.well-known/oauth-authorization-server{path}"),
            openid_path: format!("{path}/.well-known/openid-configuration"),
            oauth: Value::Object(oauth).to_string().into(),
            openid: Value::Object(openid).to_string().into(),
        }
    }
}

/// RFC 8414, section 2: nothing that would fail, and nothing left out.
fn metadata(settings: &Authority, algorithms: &[Algorithm]) -> Map<String, Value> {
    let paths = &settings.endpoints;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let methods = methods(settings);
    let signs = methods.contains(&"private_key_jwt");
    put("issuer", json!(settings.issuer));
    let authorizes = paths.authorize.is_some();
    if let Some(path) = &paths.authorize {
        put("authorization_endpoint", json!(url(settings, path)));
        put("authorization_response_iss_parameter_supported", json!(true));
    }
    let response_types = [(GrantType::AuthorizationCode, "code", "query"), (GrantType::Implicit, "token", "fragment")];
    let possible = response_types.into_iter().filter(|(grant, ..)| authorizes && some_client_may(settings, *grant));
    let (types, modes): (Vec<&str>, Vec<&str>) = possible.map(|(_, name, mode)| (name, mode)).unzip();
    put("response_types_supported", json!(types));
    put("response_modes_supported", json!(modes));
    if types.contains(&"code") {
        put("code_challenge_methods_supported", json!(["S256"]));
    }
    put("grant_types_supported", json!(grants(settings)));
    if let Some(path) = &paths.token {
        put("token_endpoint", json!(url(settings, path)));
        put("token_endpoint_auth_methods_supported", json!(methods));
        if signs {
            put("token_endpoint_auth_signing_alg_values_supported", json!(verify::ASYMMETRIC));
        }
    }
    if let Some(path) = &paths.revoke {
        put("revocation_endpoint", json!(url(settings, path)));
        put("revocation_endpoint_auth_methods_supported", json!(methods));
        if signs {
            put("revocation_endpoint_auth_signing_alg_values_supported", json!(verify::ASYMMETRIC));
        }
    }
    if let Some(path) = &paths.introspect {
        let methods: Vec<&str> = methods.iter().copied().filter(|method| *method != "none").collect();
        put("introspection_endpoint", json!(url(settings, path)));
        put("introspection_endpoint_auth_methods_supported", json!(methods));
        if signs {
            put("introspection_endpoint_auth_signing_alg_values_supported", json!(verify::ASYMMETRIC));
        }
        put("introspection_signing_alg_values_supported", json!(algorithms));
    }
    put("jwks_uri", json!(url(settings, &paths.jwks)));
    put("scopes_supported", json!(scopes(settings)));
    members
}

/// Paths are those of this host, whatever the path of the issuer.
fn url(settings: &Authority, path: &str) -> String {
    let issuer = Url::parse(&settings.issuer).ok();
    issuer.map_or_else(String::new, |issuer| issuer.origin().ascii_serialization() + path)
}

fn some_client_may(settings: &Authority, grant: GrantType) -> bool {
    settings.clients.values().any(|client| client.enabled && client.may(grant))
}

fn grants(settings: &Authority) -> Vec<&'static str> {
    let (authorizes, gives) = (settings.endpoints.authorize.is_some(), settings.endpoints.token.is_some());
    let served = |grant: &GrantType| match grant {
        GrantType::AuthorizationCode => authorizes && gives,
        GrantType::Implicit => authorizes,
        GrantType::ClientCredentials | GrantType::Password | GrantType::RefreshToken => gives,
        // No grants of OAuth.
        GrantType::ApiKey | GrantType::Basic => false,
    };
    let possible = GrantType::ALL.into_iter().filter(served).filter(|grant| some_client_may(settings, *grant));
    possible.map(GrantType::as_str).collect()
}

/// How clients prove themselves, those that there are.
fn methods(settings: &Authority) -> Vec<&'static str> {
    let methods =
        settings.clients.values().filter(|client| client.enabled).flat_map(|client| match &client.authentication {
            ClientAuthentication::Public => &["none"][..],
            ClientAuthentication::Secrets(_) => &["client_secret_basic", "client_secret_post"],
            ClientAuthentication::PrivateKeyJwt(_) => &["private_key_jwt"],
        });
    methods.copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn scopes(settings: &Authority) -> Vec<&str> {
    if settings.scopes.is_empty() {
        let enabled = settings.clients.values().filter(|client| client.enabled);
        return enabled.flat_map(|client| client.scopes.iter()).collect::<BTreeSet<_>>().into_iter().collect();
    }
    settings.scopes.iter().map(|(name, _)| name.as_str()).collect()
}

/// A document that anybody may read and keep for a while.
pub(super) fn document(method: &Method, media_type: &'static str, body: Bytes, realm: &str) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let error = TokenError::invalid_request("only GET and HEAD").because("method");
        let mut response = oauth2::write_error(&error, realm);
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Answer::refused(response, error);
    }
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Answer::good(response)
}
