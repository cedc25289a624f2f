//! An identity provider as a test scripts it: what it says of itself, its keys, and what its token endpoint answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    Pair,
    issuer::{now, scratch},
    keys::changed,
};

pub const METADATA: &str = "/.well-known/openid-configuration";
pub const SECRET_THERE: &str = "canary-secret-there-Xq31";

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub form: Vec<(String, String)>,
}

impl Asked {
    pub fn value(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a path answers: status, headers, body.
pub type Said = (u16, Vec<(&'static str, String)>, String);

#[derive(Clone)]
pub struct Provider {
    pub issuer: String,
    pub key: Arc<Pair>,
    said: Arc<Mutex<HashMap<String, Said>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    /// With metadata, a key, and a token endpoint that gives what every answer needs.
    pub async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Provider {
            key: Arc::new(Pair::new("ES256", "there-1")),
            said: Arc::default(),
            asked: Arc::default(),
            issuer: issuer.clone(),
        };
        provider.says(
            METADATA,
            &json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
                "authorization_endpoint": format!("{issuer}/auth")}),
        );
        provider.says("/jwks", &json!({"keys": [provider.key.jwk]}));
        provider.gives(json!({}));
        let shared = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request| shared.clone().answer(request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        provider
    }

    async fn answer(self, request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path().to_owned();
        let form = form_urlencoded::parse(&body).into_owned().collect();
        self.asked.lock().unwrap().push(Asked { path: path.clone(), headers: head.headers, form });
        let said = self.said.lock().unwrap().get(&path).cloned();
        let (status, headers, body) = said.unwrap_or((404, Vec::new(), "nothing here".to_owned()));
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(Bytes::from(body))).unwrap())
    }

    pub fn says(&self, path: &str, document: &Value) {
        self.answers(path, (200, vec![("content-type", "application/json".to_owned())], document.to_string()));
    }

    pub fn answers(&self, path: &str, said: Said) {
        self.said.lock().unwrap().insert(path.to_owned(), said);
    }

    /// From now on its token endpoint gives tokens, with `changes`; a null takes a member away.
    pub fn gives(&self, changes: Value) {
        let usual = json!({"access_token": "canary-at", "token_type": "Bearer", "expires_in": 300,
            "refresh_token": "canary-rt"});
        self.says("/token", &changed(&usual, &changes));
    }

    /// A good ID token of ours with some claims replaced.
    pub fn id_token(&self, changes: Value) -> String {
        let usual = json!({"iss": self.issuer, "sub": "u-17", "aud": "sidegate", "iat": now(), "exp": now() + 300,
            "preferred_username": "ana.lima", "department": "sales", "acr": "gold"});
        self.key.token(&changed(&usual, &changes))
    }

    /// Requests to one path, oldest first.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    pub fn last(&self, path: &str) -> Asked {
        self.asked(path).pop().unwrap_or_else(|| panic!("{path} was not asked"))
    }

    /// The section `remote:` that names this provider by its issuer; `more` has the client and the rest.
    pub fn remote(&self, more: &str) -> String {
        format!("  remote: {{ dialect: oauth2, authorize: password, issuer: \"{}\", {more} }}\n", self.issuer)
    }
}

/// A client that proves itself by its secret.
pub fn by_secret() -> String {
    let file = scratch("remote").join("secret");
    std::fs::write(&file, SECRET_THERE).unwrap();
    format!("client: {{ id: sidegate, secret_file: {} }}", file.display())
}
