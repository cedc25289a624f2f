//! A token API that nobody has, declared: said, heard and read back.

use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use proptest::{option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::sample;
use crate::{
    config::{DeclaredDialect, DeclaredPlace},
    dialect::{CannotSay, Content, Endpoint, Heard, Said, declared},
    model::{
        ClientProof, ErrorCode, Grant, PresentedClient, RefreshForm, Scope, Secret, TokenError, TokenGrant,
        TokenRequest, UnixTime,
    },
};

fn acme() -> Arc<DeclaredDialect> {
    Arc::new(sample::dialect(&sample::declared("acme"), "acme"))
}

/// The same, with what it names second spoken.
fn acme_in_xml() -> Arc<DeclaredDialect> {
    let mut dialect = (*acme()).clone();
    dialect.endpoints.iter_mut().for_each(|endpoint| endpoint.requests.reverse());
    Arc::new(dialect)
}

fn places(dialect: &Arc<DeclaredDialect>) -> Vec<DeclaredPlace> {
    let place = |endpoints: &[usize]| DeclaredPlace {
        dialect: dialect.clone(),
        endpoints: endpoints.to_vec(),
        path: dialect.endpoints[endpoints[0]].path.clone(),
        client: None,
    };
    vec![place(&[0, 1]), place(&[2]), place(&[3])]
}

fn request(grant: Grant, scope: Option<&str>) -> TokenRequest {
    TokenRequest {
        client: PresentedClient {
            id: Some("shop & co".into()),
            proof: ClientProof::Secret(secret("s3cr<t:")),
            by_header: false,
        },
        grant,
        scope: scope.map(|scope| Scope::parse(scope).unwrap()),
        resources: Vec::new(),
        refresh_form: RefreshForm::Full,
    }
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn password() -> Grant {
    Grant::Password { username: "maria".into(), password: secret("p4ss <w0rd>"), company: None }
}

/// The request as it arrives.
fn head(said: &Said) -> Parts {
    let path = said.path.as_deref().unwrap();
    let request = match &said.content {
        Content::Body { content_type, .. } => Request::post(path).header(header::CONTENT_TYPE, content_type),
        Content::Query(query) => Request::get(format!("{path}?{}", query.expose())),
    };
    let mut head = request.header(header::ACCEPT, &said.accept).body(()).unwrap().into_parts().0;
    head.headers.extend(said.authorization.clone().map(|header| (header::AUTHORIZATION, header)));
    head
}

fn body(said: &Said) -> String {
    String::from_utf8(said.body().to_vec()).unwrap()
}

fn hear(body: &str, status: u16) -> Result<TokenGrant, TokenError> {
    let status = StatusCode::from_u16(status).unwrap();
    let heard = Heard { status, headers: &HeaderMap::new(), body: body.as_bytes(), asked: UnixTime(1_000) };
    declared::read_reply(&acme(), &heard)
}

#[test]
fn a_request_is_said_with_nested_members_and_nothing_for_what_is_not_there() {
    let said = declared::write_request(&acme(), &request(password(), Some("orders stock"))).unwrap();
    assert_eq!((said.endpoint, said.path.as_deref()), (Endpoint::Obtain, Some("/acme/v1/sessions")));
    assert_eq!(
        body(&said),
        r#"{"kind":"password","user":{"name":"maria","secret":"p4ss <w0rd>"},"client":{"id":"shop & co","secret":"s3cr<t:"},"scope":"scope:orders stock","version":2}"#
    );
    let token = Grant::RefreshToken { token: secret("r1") };
    let said = declared::write_request(&acme_in_xml(), &request(token, None)).unwrap();
    assert_eq!(said.endpoint, Endpoint::Renew);
    assert_eq!(
        body(&said),
        "<Renewal xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"urn:acme:v1\"><Kind>renewal</Kind>\
         <Token>r1</Token><Client><Id>shop &amp; co</Id><Secret>s3cr&lt;t:</Secret></Client></Renewal>"
    );
}

#[test]
fn a_get_has_its_members_in_a_query_that_nothing_prints() {
    let said = declared::write_request(&acme(), &request(Grant::ApiKey { key: secret("k&y =") }, None)).unwrap();
    let Content::Query(query) = &said.content else { panic!("a POST") };
    assert_eq!((query.expose().as_str(), said.body()), ("key=k%26y+%3D&format=full", &b""[..]));
    assert!(!format!("{said:?}").contains("k%26y"), "{said:?}");
}

#[test]
fn a_client_that_proves_itself_by_basic_has_nothing_of_it_in_the_body() {
    let said = declared::write_request(&acme(), &request(Grant::ClientCredentials, Some("orders"))).unwrap();
    assert_eq!(body(&said), "kind=machine&scope=orders");
    // `shop+%26+co:s3cr%3Ct%3A`
    assert_eq!(said.authorization.as_ref().unwrap(), "Basic c2hvcCslMjYrY286czNjciUzQ3QlM0E=");
    assert!(!format!("{said:?}").contains("c2hvcC"), "{said:?}");
}

#[test]
fn what_the_dialect_has_no_words_for_cannot_be_said() {
    let code = Grant::AuthorizationCode { code: secret("c"), redirect_uri: None, verifier: None };
    assert_eq!(declared::write_request(&acme(), &request(code, None)).err(), Some(CannotSay("this grant")));
    let mut nameless = request(password(), None);
    nameless.client.proof = ClientProof::None;
    assert!(declared::write_request(&acme(), &nameless).is_err());
    nameless.grant = Grant::ClientCredentials;
    assert!(declared::write_request(&acme(), &nameless).is_err());
}

#[test]
fn numbers_are_understood_as_texts_and_as_numbers() {
    for (seconds, lifetime) in [("\"90\"", 90), ("90", 90), ("\" 90 \"", 90), ("null", 120), ("\"soon\"", 120)] {
        let answer = format!(r#"{{"session":{{"token":"Acme t","seconds":{seconds}}}}}"#);
        let grant = hear(&answer, 200).unwrap();
        assert_eq!((grant.access_token.expose().as_str(), grant.expires_in), ("t", lifetime), "{seconds}");
    }
    let grant =
        hear(r#"{"session":{"token":"Acme t"},"times":{"until":"1075","login":400},"user":{"number":"6"}}"#, 200);
    let grant = grant.unwrap();
    assert_eq!((grant.expires_in, grant.auth_time, grant.issued), (75, UnixTime(400), UnixTime(1_000)));
    assert_eq!(grant.claims.get("number"), Some(&json!(6)));
}

#[test]
fn an_answer_is_understood_in_any_of_its_forms() {
    let grant = hear(
        "<a:Session xmlns:a='urn:acme:v1'><a:Right>orders</a:Right><a:Seconds>30</a:Seconds><a:Token>t</a:Token>\
         <a:User><a:External>true</a:External></a:User></a:Session>",
        200,
    );
    let grant = grant.unwrap();
    assert_eq!((grant.access_token.expose().as_str(), grant.expires_in), ("t", 30));
    assert_eq!((grant.scope.to_string().as_str(), grant.claims.get("external")), ("orders", Some(&json!(true))));
    assert_eq!(grant.refresh_token, None);
}

#[test]
fn an_error_is_read_backwards_and_only_a_clear_refusal_ends_a_session() {
    let code = |body: &str, status| hear(body, status).unwrap_err().code;
    assert_eq!(code(r#"{"ok":false,"error":{"code":"4031"}}"#, 403), ErrorCode::InvalidGrant);
    assert_eq!(code(r#"{"ok":false,"error":{"code":4031}}"#, 400), ErrorCode::InvalidGrant);
    assert_eq!(
        code(r#"{"ok":false,"error":{"code":"4031"}}"#, 200),
        ErrorCode::InvalidGrant,
        "the truth stands inside"
    );
    assert_eq!(code(r#"{"members":[{"name":"x"},{"name":"E_CLIENT"}]}"#, 400), ErrorCode::InvalidClient);
    assert_eq!(code("<Fault xmlns='urn:acme:v1'><Code>4031</Code></Fault>", 403), ErrorCode::InvalidGrant);
    // Its own words only: another API's are none.
    assert_eq!(code(r#"{"error":{"code":"invalid_grant"}}"#, 403), ErrorCode::InvalidRequest);
    assert_eq!(code(r#"{"error":{"code":"4031"}}"#, 502), ErrorCode::TemporarilyUnavailable);
    assert_eq!(code(r#"{"error":{"code":"4031"}}"#, 500), ErrorCode::ServerError);
    assert_eq!(code("<html>", 503), ErrorCode::TemporarilyUnavailable);
    // Nor is a gateway's, whatever it is in.
    for others in ["", "{}", r#"{"message":"Unauthorized"}"#, "denied", "<error><message>no</message></error>"] {
        assert_eq!(code(others, 401), ErrorCode::ServerError, "{others}");
    }
    for useless in ["", "{}", "[]", "<a/>", r#"{"session":{"token":"t"}}"#, r#"{"session":{"token":"Acme "}}"#] {
        assert_eq!(code(useless, 200), ErrorCode::ServerError, "{useless}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{C}\\p{Zs}][^\\p{C}]{0,15}"
}

fn grants() -> impl Strategy<Value = Grant> {
    prop_oneof![
        ("[a-zé<&\"]{1,20}", text()).prop_map(|(username, password)| {
            Grant::Password { username, password: secret(&password), company: None }
        }),
        text().prop_map(|token| Grant::RefreshToken { token: secret(&token) }),
        text().prop_map(|key| Grant::ApiKey { key: secret(&key) }),
        Just(Grant::ClientCredentials),
    ]
}

fn shown(grant: &Grant) -> Vec<String> {
    match grant {
        Grant::Password { username, password, company } => {
            vec![username.clone(), password.expose().clone(), company.clone().unwrap_or_default()]
        }
        Grant::RefreshToken { token } => vec![token.expose().clone()],
        Grant::ApiKey { key } => vec![key.expose().clone()],
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_said_is_read_back(grant in grants(), scope in option::of(select(vec!["a", "a b"])), xml in any::<bool>()) {
        let dialect = if xml { acme_in_xml() } else { acme() };
        let request = request(grant, scope);
        let said = declared::write_request(&dialect, &request).unwrap();
        let place = places(&dialect).into_iter().find(|place| Some(&place.path) == said.path.as_ref()).unwrap();
        let read = declared::read_request(&place, &head(&said), said.body()).unwrap();
        prop_assert_eq!(read.grant.kind(), request.grant.kind());
        prop_assert_eq!(shown(&read.grant), shown(&request.grant));
        if !matches!(request.grant, Grant::ApiKey { .. }) {
            prop_assert_eq!(&read.client.id, &request.client.id);
            let is_same = matches!((&read.client.proof, &request.client.proof), (ClientProof::Secret(a), ClientProof::Secret(b)) if a == b);
            prop_assert!(is_same);
        }
        if !xml && !matches!(request.grant, Grant::RefreshToken { .. }) {
            prop_assert_eq!(read.scope, request.scope);
        }
    }

    #[test]
    fn what_is_answered_is_read_back(
        access in text(), refresh in option::of(text()), expires_in in 0..1_000_000_u64, xml in any::<bool>(),
        username in option::of("[a-zé<&\"]{1,9}"), number in option::of(any::<i64>()), external in option::of(any::<bool>()),
    ) {
        let dialect = acme();
        let claims = [("number", number.map(Value::from)), ("external", external.map(Value::from))];
        let claims = claims.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let grant = TokenGrant {
            access_token: secret(&access),
            expires_in,
            refresh_token: refresh.map(|token| secret(&token)),
            username,
            claims: Arc::new(claims),
            ..sample::grant(Some("bare"))
        };
        let place = &places(&dialect)[0];
        let accept = if xml { "text/xml" } else { "application/json" };
        let head = Request::post("/").header(header::ACCEPT, accept).body(()).unwrap().into_parts().0;
        let answer = declared::write_reply(place, &Ok(grant.clone()), &head, "realm");
        let heard = Heard { status: answer.status(), headers: answer.headers(), body: answer.body(), asked: grant.issued };
        let read = declared::read_reply(&dialect, &heard).unwrap();
        prop_assert_eq!(read.access_token.expose(), grant.access_token.expose());
        prop_assert_eq!(read.refresh_token, grant.refresh_token);
        prop_assert_eq!((read.expires_in, read.scope, read.username), (grant.expires_in, grant.scope, grant.username));
        prop_assert_eq!((read.claims, read.auth_time, read.issued), (grant.claims, grant.auth_time, grant.issued));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            "\\PC{0,200}".prop_map(String::into_bytes),
            "(\\{|\\}|\\[|\\]|:|,|\"(kind|user|session|token|error|members|name)\"|\"password\"|null|7){0,40}".prop_map(String::into_bytes),
            "(<Login xmlns='urn:acme:v1'>|<User>|</User>|<Name>|</Name>|</Login>|<Session xmlns='urn:acme:v1'>|</Session>|x){0,20}".prop_map(String::into_bytes),
            "(kind|key|scope|=|&|%|%2|%ff|machine){0,20}".prop_map(String::into_bytes),
        ],
        media in select(vec!["application/json", "application/xml", "application/x-www-form-urlencoded"]),
        status in 100..600_u16,
    ) {
        let dialect = acme();
        for place in places(&dialect) {
            let head = Request::post(&place.path).header(header::CONTENT_TYPE, media).body(()).unwrap().into_parts().0;
            let read = declared::read_request(&place, &head, &bytes);
            let _ = declared::write_reply(&place, &read.and(Err(TokenError::invalid_grant())), &head, "realm");
        }
        let heard = Heard {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &HeaderMap::new(),
            body: &bytes,
            asked: UnixTime(0),
        };
        let _ = declared::read_reply(&dialect, &heard);
    }
}
