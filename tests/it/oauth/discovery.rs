//! What the authority says of itself, and which scripts may read it.

use std::collections::BTreeSet;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::house::{ISSUER, REDIRECT, as_app, authority, client, form, password, public, text, user};
use crate::support::{Reply, Sidegate, get, send};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn document(yaml: &str, path: &str) -> Value {
    let sidegate = Sidegate::start(yaml).await;
    let reply = get(sidegate.public, path, "").await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

#[tokio::test]
async fn s47_the_metadata_say_what_is_switched_on() {
    let whole = [
        client(
            "app",
            &format!(
                "grants: [authorization_code, refresh_token, password], redirect_uris: [\"{REDIRECT}\"], scopes: [openid, orders]"
            ),
        ),
        public("phone", &format!("grants: [authorization_code, implicit], redirect_uris: [\"{REDIRECT}\"]")),
        // What only a disabled client may do is not offered.
        client("gone", "enabled: false, grants: [client_credentials], scopes: [admin]"),
    ];
    let expected = json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/oauth20/authorize"),
        "authorization_response_iss_parameter_supported": true,
        "response_types_supported": ["code", "token"],
        "response_modes_supported": ["query", "fragment"],
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code", "password", "refresh_token", "implicit"],
        "token_endpoint": format!("{ISSUER}/oauth20/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint": format!("{ISSUER}/oauth20/revoke"),
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint": format!("{ISSUER}/oauth20/introspect"),
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "introspection_signing_alg_values_supported": ["ES256"],
        "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
        "scopes_supported": ["openid", "orders"],
    });
    let yaml = authority(&whole, &[user("ana", "")], "");
    assert_eq!(document(&yaml, METADATA).await, expected);
    let openid = document(&yaml, OPENID).await;
    let names = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let more: Vec<String> = names(&openid).difference(&names(&expected)).cloned().collect();
    assert_eq!(
        more,
        ["id_token_signing_alg_values_supported", "request_uri_parameter_supported", "subject_types_supported"]
    );
    assert_eq!(openid["request_uri_parameter_supported"], false);

    let machine = [client("app", "grants: [client_credentials]")];
    let off = "  endpoints: { authorize: \"off\", revoke: \"off\", introspect: \"off\", token: /t, jwks: /keys }\n";
    let expected = json!({
        "issuer": ISSUER,
        "response_types_supported": [],
        "response_modes_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint": format!("{ISSUER}/t"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "jwks_uri": format!("{ISSUER}/keys"),
        "scopes_supported": [],
    });
    let yaml = authority(&machine, &[], off);
    assert_eq!(document(&yaml, METADATA).await, expected);
    let sidegate = Sidegate::start(&yaml).await;
    // What is off is a route's, which here asks for a token.
    for path in ["/oauth20/authorize", "/oauth20/token", "/oauth20/revoke", "/oauth20/introspect"] {
        assert_eq!(get(sidegate.public, path, "").await.code(), "token_missing", "{path}");
    }
    assert_eq!(send(sidegate.public, form("/t", &as_app("grant_type=client_credentials"), &[])).await.status, 200);
}

#[tokio::test]
async fn while_the_algorithm_changes_both_are_named() {
    let app = [client("app", "grants: [client_credentials]")];
    let sidegate = Sidegate::start(&authority(&app, &[], "")).await;
    sidegate.reload(&authority(&app, &[], "  signing: { algorithm: EdDSA }\n")).await;
    let openid = get(sidegate.public, OPENID, "").await.json();
    assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["EdDSA", "ES256"]));
}

#[tokio::test]
async fn the_path_of_an_issuer_goes_where_each_standard_puts_it() {
    let yaml = authority(&[client("app", "grants: [client_credentials]")], &[], "");
    let yaml = yaml.replace(ISSUER, &format!("{ISSUER}/tenant"));
    for path in ["/.well-known/oauth-authorization-server/tenant", "/tenant/.well-known/openid-configuration"] {
        let found = document(&yaml, path).await;
        assert_eq!(found["issuer"], format!("{ISSUER}/tenant"));
        assert_eq!(found["token_endpoint"], format!("{ISSUER}/oauth20/token"));
    }
}

#[tokio::test]
async fn documents_are_read_only_and_the_key_set_holds_public_halves() {
    let sidegate = Sidegate::start(&authority(&[client("app", "grants: [client_credentials]")], &[], "")).await;
    for path in [METADATA, OPENID, "/.well-known/jwks.json"] {
        let reply = send(sidegate.public, form(path, "", &[])).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, HEAD")));
        let head = Request::head(path).header("host", "api.test").body(Full::default()).unwrap();
        let head = send(sidegate.public, head).await;
        assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    }
    let keys = get(sidegate.public, "/.well-known/jwks.json", "").await;
    assert_eq!(keys.header("content-type"), Some("application/jwk-set+json"));
    for key in keys.json()["keys"].as_array().unwrap() {
        assert_eq!((&key["use"], &key["alg"], &key["d"]), (&json!("sig"), &json!("ES256"), &Value::Null));
    }
}

#[tokio::test]
async fn an_endpoint_is_found_however_its_path_is_written_and_wants_one_host() {
    let sidegate = Sidegate::start(&authority(&[client("app", "grants: [client_credentials]")], &[], "")).await;
    let body = as_app("grant_type=client_credentials");
    for path in ["/oauth20/token", "/oauth20/%74oken", "/oauth20/./token", "/x/../oauth20/token", "/oauth20/token?x=y"]
    {
        assert_eq!(send(sidegate.public, form(path, &body, &[])).await.status, 200, "{path}");
    }
    let mut twice = form("/oauth20/token", &body, &[]);
    twice.headers_mut().append("host", "other.test".parse().unwrap());
    assert_eq!(send(sidegate.public, twice).await.code(), "repeated_host");
    let series = "sidegate_http_requests_total{code=\"2xx\",method=\"POST\",route=\"oauth2:token\"}";
    assert_eq!(sidegate.series(series).await, 5.0);
    let series = "sidegate_oauth_requests_total{dialect=\"oauth2\",endpoint=\"token\",grant=\"client_credentials\",result=\"ok\"}";
    assert_eq!(sidegate.series(series).await, 5.0);
}

fn from_origin(mut request: Request<Full<bytes::Bytes>>, origin: &str) -> Request<Full<bytes::Bytes>> {
    request.headers_mut().insert("origin", origin.parse().unwrap());
    request
}

fn preflight(path: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::options(path).header("host", "api.test").header("access-control-request-method", "POST");
    request.body(Full::default()).unwrap()
}

fn allowed(reply: &Reply) -> Option<&str> {
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    reply.header("access-control-allow-origin")
}

#[tokio::test]
async fn s08_only_listed_origins_may_read_and_never_the_pages_or_what_is_told_of_tokens() {
    let app = client("app", &format!("grants: [authorization_code, password], redirect_uris: [\"{REDIRECT}\"]"));
    let yaml = authority(&[app], &[user("ana", "")], "  cors_origins: [\"https://app.test\"]\n");
    let sidegate = Sidegate::start(&yaml).await;
    let page = |path: &str| Request::get(path).header("host", "api.test").body(Full::default()).unwrap();
    for (origin, expected) in
        [("https://app.test", Some("https://app.test")), ("https://app.test:1", None), ("null", None)]
    {
        let body = as_app("grant_type=client_credentials");
        let reply = send(sidegate.public, from_origin(form("/oauth20/token", &body, &[]), origin)).await;
        assert_eq!(allowed(&reply), expected);
        assert_eq!(reply.header("vary"), Some("Origin"));
        for path in [METADATA, OPENID, "/.well-known/jwks.json"] {
            assert_eq!(allowed(&send(sidegate.public, from_origin(page(path), origin)).await), expected, "{path}");
        }
        for path in ["/oauth20/token", METADATA] {
            let reply = send(sidegate.public, from_origin(preflight(path), origin)).await;
            assert_eq!((reply.status.as_u16(), allowed(&reply)), (204, expected));
            assert_eq!(reply.header("access-control-allow-methods").is_some(), expected.is_some());
        }
        for path in [
            "/oauth20/authorize",
            "/oauth20/authorize?client_id=app&response_type=code",
            "/oauth20/introspect",
            "/oauth20/revoke",
        ] {
            for request in [preflight(path), page(path), form(path, "", &[])] {
                assert_eq!(allowed(&send(sidegate.public, from_origin(request, origin)).await), None, "{path}");
            }
        }
    }
    assert!(!text(&password(&sidegate).await, "access_token").is_empty());
}
