//! An identity provider whose sign-in page the test is: it reads where a browser is sent, and sends it back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    Reply,
    issuer::{Key, now, sign_with},
};

/// The status of no answer at all.
pub const GONE: u16 = 0;
pub const SECRET_THERE: &str = "canary-secret-there-Hv27";

#[derive(Clone)]
pub struct Provider {
    pub issuer: String,
    state: Arc<Mutex<State>>,
}

pub struct State {
    /// What is published.
    pub key: Key,
    /// What ID tokens are signed with, if it is another one.
    pub forged: Option<Key>,
    /// Members of an ID token that are replaced; a null takes one away.
    pub claims: Value,
    /// Members of the metadata that are replaced.
    pub metadata: Value,
    /// Members of the answer that are replaced.
    pub answer: Value,
    /// In place of any answer of the token endpoint.
    pub broken: Option<u16>,
    /// Nothing is read but the token endpoint.
    pub asked: Vec<BTreeMap<String, String>>,
    /// Codes that wait, with what the browser was sent with.
    codes: HashMap<String, BTreeMap<String, String>>,
    refresh: Vec<String>,
    given: usize,
}

impl Provider {
    pub async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Provider {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::new(Mutex::new(State {
                key: Key::es256("there-1"),
                forged: None,
                claims: json!({}),
                metadata: json!({}),
                answer: json!({}),
                broken: None,
                asked: Vec::new(),
                codes: HashMap::new(),
                refresh: Vec::new(),
                given: 0,
            })),
        };
        let shared = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let shared = shared.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let basic = head.headers.get("authorization").is_some();
                        let (status, answer) = shared.answer(head.uri.path(), basic, &body);
                        if status == GONE {
                            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                        }
                        let response = Response::builder().status(status).header("content-type", "application/json");
                        Ok(response.body(Full::new(Bytes::from(answer.to_string()))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        provider
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The user signs in: the query that their browser goes back with.
    pub fn sign_in(&self, sent: &BTreeMap<String, String>) -> String {
        let mut state = self.state();
        let code = format!("canary-code-there-{}", state.codes.len());
        state.codes.insert(code.clone(), sent.clone());
        query(&[("code", &code), ("state", &sent["state"]), ("iss", &self.issuer)])
    }

    /// How many codes and refresh tokens it was asked for tokens with.
    pub fn asked(&self) -> usize {
        self.state().asked.len()
    }

    fn answer(&self, path: &str, basic: bool, body: &[u8]) -> (u16, Value) {
        let mut state = self.state();
        match path {
            "/.well-known/openid-configuration" => {
                let document = json!({
                    "issuer": self.issuer,
                    "authorization_endpoint": format!("{}/auth?tenant=t1", self.issuer),
                    "token_endpoint": format!("{}/token", self.issuer),
                    "jwks_uri": format!("{}/jwks", self.issuer),
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": true,
                });
                (200, replaced(document, &state.metadata))
            }
            "/jwks" => (200, json!({"keys": [state.key.jwk]})),
            "/token" => {
                let asked: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
                state.asked.push(asked.clone());
                match state.broken {
                    Some(status) => (status, json!({"error": "broken"})),
                    None if !basic => (401, json!({"error": "invalid_client"})),
                    None => self.tokens(&mut state, &asked),
                }
            }
            _ => (404, json!({})),
        }
    }

    fn tokens(&self, state: &mut State, asked: &BTreeMap<String, String>) -> (u16, Value) {
        let refused = (400, json!({"error": "invalid_grant"}));
        let text = |name: &str| asked.get(name).map_or("", String::as_str);
        let nonce = match text("grant_type") {
            "authorization_code" => {
                let Some(sent) = state.codes.remove(text("code")) else { return refused };
                let challenge = BASE64URL.encode(digest::digest(&digest::SHA256, text("code_verifier").as_bytes()));
                if sent["code_challenge"] != challenge || sent["redirect_uri"] != text("redirect_uri") {
                    return refused;
                }
                Some(sent["nonce"].clone())
            }
            "refresh_token" => {
                let place = state.refresh.iter().position(|known| known == text("refresh_token"));
                let Some(place) = place else { return refused };
                state.refresh.remove(place);
                None
            }
            "password" if text("password") == "right" => None,
            "password" => return refused,
            _ => return (400, json!({"error": "unsupported_grant_type"})),
        };
        state.given += 1;
        let number = state.given;
        let mut claims = json!({
            "iss": self.issuer, "sub": "u-1", "aud": "sidegate", "iat": now(), "exp": now() + 300,
            "email": "ana@example.com", "preferred_username": "ana", "tenant": "acme", "acr": "2",
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        let claims = replaced(claims, &state.claims);
        let refresh = format!("canary-rt-there-{number}");
        state.refresh.push(refresh.clone());
        let answer = json!({
            "access_token": format!("canary-at-there-{number}"), "token_type": "Bearer", "expires_in": 300,
            "refresh_token": refresh,
            "id_token": sign_with(state.forged.as_ref().unwrap_or(&state.key), &claims),
        });
        (200, replaced(answer, &state.answer))
    }
}

fn replaced(mut document: Value, changes: &Value) -> Value {
    let members = document.as_object_mut().unwrap();
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), change.clone());
        }
    }
    document
}

pub fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Where a browser was sent, and with what.
#[track_caller]
pub fn sent(reply: &Reply) -> (String, BTreeMap<String, String>) {
    assert_eq!(reply.status, 302, "{}", reply.text());
    let location = url::Url::parse(reply.header("location").unwrap()).unwrap();
    let pairs: Vec<(String, String)> = location.query_pairs().into_owned().collect();
    let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "said twice: {location}");
    let mut place = location;
    place.set_query(None);
    (place.into(), map)
}
