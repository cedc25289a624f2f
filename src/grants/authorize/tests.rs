use super::*;
use crate::{config, model::GrantType};

const YAML: &str = r#"
authority:
  issuer: https://auth.example.com
  audiences: [orders-api, "https://api.example.com/v1"]
  scopes: { openid: "", orders: "", payments: "" }
  clients:
    - id: web
      secret_hashes: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
      grants: [authorization_code, refresh_token]
      redirect_uris: ["https://app.example/cb"]
      scopes: [openid, orders, payments]
      default_scopes: [orders]
      pkce: false
    - id: phone
      public: true
      grants: [authorization_code]
      redirect_uris: ["http://127.0.0.1/cb", "com.example.app:/cb"]
    - id: old
      public: true
      grants: [implicit]
      redirect_uris: ["https://old.example/cb"]
    - id: bank
      secret_hashes: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
      grants: [authorization_code]
      redirect_uris: ["https://bank.example/cb"]
      intent: true
      pkce: false
    - id: gone
      enabled: false
      public: true
      grants: [authorization_code]
      redirect_uris: ["https://gone.example/cb"]
store: { memory: {} }
listeners: [{ name: main, address: "127.0.0.1:0" }]
upstreams: [{ name: app, url: "http://127.0.0.1:1", credential: { none: {} } }]
routes: [{ name: all, paths: ["/*"], upstream: app, policy: { audiences: [orders-api] } }]
"#;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn authority() -> config::Authority {
    let environment = config::Environment::default();
    let loaded = config::load_str(YAML, "test.yaml", std::path::Path::new("/"), &environment);
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config.authority.clone().unwrap()
}

fn asked(query: &str) -> Result<Authorization, Failure> {
    check(query.as_bytes(), &authority())
}

const WEB: &str = "client_id=web&response_type=code&state=s";

fn refused(query: &str) -> (&'static str, Option<&'static str>) {
    match asked(query) {
        Err(Failure::Redirect(_, refusal)) => (refusal.error.as_str(), refusal.description),
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn a_request_is_read_with_its_defaults() {
    let asked = asked(WEB).unwrap();
    assert_eq!(&*asked.client.id, "web");
    assert_eq!(asked.target.uri, "https://app.example/cb");
    assert_eq!(asked.target.state.as_deref(), Some(&b"s"[..]));
    assert_eq!((asked.redirect_uri, asked.challenge, asked.intent), (None, None, None));
    assert_eq!(asked.scope.to_string(), "orders");
    assert_eq!(asked.audiences, ["orders-api", "https://api.example.com/v1"]);
    assert_eq!(asked.prompt, Prompt::default());
}

#[test]
fn what_stands_in_a_request_is_kept() {
    let query = format!(
        "{WEB}&redirect_uri=https://app.example/cb&scope=openid,orders+payments&code_challenge={CHALLENGE}\
         &code_challenge_method=S256&nonce=n&login_hint=a%40b&prompt=login%20consent&max_age=60\
         &resource=https%3A%2F%2Fapi.example.com%2Fv1&intentid=i-1&itype=payments&response_mode=query&unknown=x"
    );
    let asked = asked(&query).unwrap();
    assert_eq!(asked.redirect_uri.as_deref(), Some("https://app.example/cb"));
    assert_eq!(asked.scope.to_string(), "openid orders payments");
    assert_eq!(asked.challenge.as_deref(), Some(CHALLENGE));
    assert_eq!((asked.nonce.as_deref(), asked.login_hint.as_deref()), (Some("n"), Some("a@b")));
    assert_eq!(asked.prompt, Prompt { none: false, login: true, select_account: false, consent: true });
    assert_eq!(asked.max_age, Some(60));
    assert_eq!(asked.audiences, ["https://api.example.com/v1"]);
    assert_eq!(asked.intent, Some(Intent { id: "i-1".to_owned(), kind: "payments".to_owned() }));
}

#[test]
fn an_answer_that_has_nowhere_to_go_is_a_page() {
    for (query, fault) in [
        ("", Fault::ClientMissing),
        ("client_id=", Fault::ClientMissing),
        ("client_id=web&client_id=web", Fault::ClientRepeated),
        ("client_id=nobody&redirect_uri=https://evil.example", Fault::ClientUnknown),
        ("client_id=gone", Fault::ClientUnknown),
        ("client_id=web&redirect_uri=https://evil.example", Fault::RedirectUnknown),
        ("client_id=web&redirect_uri=https://app.example/cb%23x", Fault::RedirectUnknown),
        (
            "client_id=web&redirect_uri=https://app.example/cb&redirect_uri=https://app.example/cb",
            Fault::RedirectRepeated,
        ),
        ("client_id=phone&response_type=code", Fault::RedirectMissing),
    ] {
        assert_eq!(asked(query), Err(Failure::Page(fault)), "{query}");
    }
    assert_eq!(asked(&format!("{WEB}&x={}", "x".repeat(8192))), Err(Failure::Page(Fault::TooLong)));
}

#[test]
fn what_is_wrong_with_the_rest_is_told_to_the_client() {
    let challenged = |challenge: &str| format!("{WEB}&code_challenge_method=S256&code_challenge={challenge}");
    let repeated = ("invalid_request", Some("a parameter is repeated"));
    let malformed = ("invalid_request", Some("code_challenge is malformed"));
    let missing = ("invalid_request", Some("code_challenge is missing"));
    let s256 = ("invalid_request", Some("code_challenge_method must be S256"));
    for (query, expected) in [
        ("client_id=web".to_owned(), ("invalid_request", Some("response_type is missing"))),
        (format!("{WEB}&state=s"), repeated),
        (format!("{WEB}&response_type=code"), repeated),
        (format!("{WEB}&foo=&foo=1"), repeated),
        ("client_id=web&response_type=id_token".to_owned(), ("unsupported_response_type", None)),
        ("client_id=web&response_type=code%20token".to_owned(), ("unsupported_response_type", None)),
        ("client_id=web&response_type=token".to_owned(), ("unauthorized_client", None)),
        ("client_id=old&response_type=code".to_owned(), ("unauthorized_client", None)),
        (format!("{WEB}&response_mode=fragment"), ("invalid_request", Some("response_mode is not supported"))),
        (format!("{WEB}&scope=orders+admin"), ("invalid_scope", None)),
        (format!("{WEB}&scope=%22"), ("invalid_scope", None)),
        (format!("{WEB}&resource=orders-api&resource=other"), ("invalid_target", None)),
        (format!("{WEB}&request=x.y.z"), ("request_not_supported", None)),
        (format!("{WEB}&request_uri=https://evil.example"), ("request_uri_not_supported", None)),
        (format!("{WEB}&prompt=none+login"), ("invalid_request", Some("prompt none stands alone"))),
        (format!("{WEB}&max_age=soon"), ("invalid_request", Some("max_age is malformed"))),
        ("client_id=phone&response_type=code&redirect_uri=com.example.app:/cb".to_owned(), missing),
        (format!("{WEB}&code_challenge_method=S256"), missing),
        (format!("{WEB}&code_challenge={CHALLENGE}"), s256),
        (format!("{WEB}&code_challenge={CHALLENGE}&code_challenge_method=plain"), s256),
        (challenged("short"), malformed),
        (challenged(&CHALLENGE[1..]), malformed),
        (challenged(&format!("{CHALLENGE}A")), malformed),
        (challenged(&CHALLENGE.replace('-', "%2B")), malformed),
        ("client_id=bank&response_type=code".to_owned(), ("invalid_request", Some("INTENT_ID_MISSING"))),
        (format!("{WEB}&itype=payments"), ("invalid_request", Some("INTENT_ID_MISSING"))),
        (
            "client_id=bank&response_type=code&intentid=i".to_owned(),
            ("invalid_request", Some("ITYPE_MISSING_OR_INVALID")),
        ),
        (
            "client_id=bank&response_type=code&intentid=i&itype=Payments".to_owned(),
            ("invalid_request", Some("ITYPE_MISSING_OR_INVALID")),
        ),
    ] {
        assert_eq!(refused(&query), expected, "{query}");
    }
}

#[test]
fn an_implicit_answer_goes_into_the_fragment_right_or_wrong() {
    let asked = asked("client_id=old&response_type=token&code_challenge=anything").unwrap();
    assert!(asked.target.fragment && asked.response == ResponseType::Token && asked.client.may(GrantType::Implicit));
    let Err(Failure::Redirect(target, refusal)) = self::asked("client_id=web&response_type=token&state=%FF") else {
        panic!("the client may not do this")
    };
    assert_eq!(
        refusal.location(&target, "https://auth.example.com"),
        "https://app.example/cb#error=unauthorized_client&state=%FF&iss=https%3A%2F%2Fauth.example.com"
    );
}
