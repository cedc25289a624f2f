//! An issuer: keys made on the spot, tokens of whatever claims a test wants, a key set as a file or over HTTP.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::sync::watch;

pub const NAME: &str = "http://issuer.test";
pub const AUDIENCE: &str = "orders-api";

/// A signing key and its public half.
pub struct Key {
    pub kid: String,
    encoding: EncodingKey,
    pub jwk: Value,
}

impl Key {
    /// A new ES256 key.
    pub fn es256(kid: &str) -> Key {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        Key {
            kid: kid.into(),
            encoding: EncodingKey::from_ec_der(&pair.serialize_der()),
            jwk: json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
                "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y)}),
        }
    }
}

pub struct Issuer {
    pub key: Key,
    directory: PathBuf,
}

impl Issuer {
    /// An issuer whose key set lies in a file of its own.
    pub fn new() -> Issuer {
        let directory = scratch("issuer");
        let issuer = Issuer { key: Key::es256("k1"), directory };
        issuer.publish(std::slice::from_ref(&issuer.key.jwk));
        issuer
    }

    pub fn jwks_file(&self) -> PathBuf {
        self.directory.join("jwks.json")
    }

    pub fn publish(&self, keys: &[Value]) {
        std::fs::write(self.jwks_file(), json!({"keys": keys}).to_string()).unwrap();
    }

    /// The claims of a good token; a test changes what it is about.
    pub fn claims(&self) -> Value {
        let now = now();
        json!({"iss": NAME, "sub": "ana", "aud": AUDIENCE, "iat": now, "exp": now + 600,
            "scope": "orders profile", "client_id": "shop", "email": "ana@example.com"})
    }

    pub fn token(&self) -> String {
        self.sign(&self.claims())
    }

    /// A good token with some claims replaced.
    pub fn token_with(&self, changes: Value) -> String {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.sign(&claims)
    }

    pub fn sign(&self, claims: &Value) -> String {
        sign_with(&self.key, claims)
    }

    /// The section `issuers:` of a configuration that trusts this issuer.
    pub fn yaml(&self) -> String {
        format!(
            "issuers:\n  - name: corp\n    issuer: {NAME}\n    algorithms: [ES256]\n    jwks_file: {}\n",
            self.jwks_file().display()
        )
    }
}

pub fn sign_with(key: &Key, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(key.kid.clone());
    jsonwebtoken::encode(&header, claims, &key.encoding).unwrap()
}

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A folder of this test alone.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A JSON document served over HTTP; the test may change or break it.
#[derive(Clone)]
pub struct Served {
    pub url: String,
    pub answer: Arc<Mutex<(u16, String)>>,
    pub asked: Arc<AtomicUsize>,
    pub bodies: Arc<Mutex<Vec<String>>>,
    /// Answers of single paths, in place of the one for all.
    paths: Arc<Mutex<HashMap<String, String>>>,
    /// While true, nothing is answered.
    held: Arc<watch::Sender<bool>>,
}

impl Served {
    pub async fn start(status: u16, body: String) -> Served {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Served {
            url: format!("http://{}", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((status, body))),
            asked: Arc::default(),
            bodies: Arc::default(),
            paths: Arc::default(),
            held: Arc::new(watch::Sender::new(false)),
        };
        let shared = served.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let shared = shared.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
                        shared.bodies.lock().unwrap().push(String::from_utf8_lossy(&body).into_owned());
                        shared.asked.fetch_add(1, Ordering::SeqCst);
                        let _ = shared.held.subscribe().wait_for(|held| !held).await;
                        let (status, body) = shared.answer.lock().unwrap().clone();
                        let body = shared.paths.lock().unwrap().get(&path).cloned().unwrap_or(body);
                        let response = Response::builder().status(status).header("content-type", "application/json");
                        response.body(Full::new(Bytes::from(body)))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        served
    }

    pub fn set(&self, status: u16, body: impl Into<String>) {
        *self.answer.lock().unwrap() = (status, body.into());
    }

    pub fn set_path(&self, path: &str, body: impl Into<String>) {
        self.paths.lock().unwrap().insert(path.into(), body.into());
    }

    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
