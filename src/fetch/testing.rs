//! An identity provider that does what a test says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use url::Url;

/// What a path answers with.
#[derive(Clone)]
pub enum Reply {
    Json(String),
    Status(u16),
    Redirect(String),
    /// Answers once the semaphore has a permit.
    Held(Arc<Semaphore>, String),
    /// Closes the connection without an answer.
    Broken,
    /// Never answers.
    Hang,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub body: String,
}

pub struct Provider {
    pub origin: Url,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    replies: Mutex<HashMap<String, Reply>>,
    seen: Mutex<Vec<Seen>>,
}

impl Provider {
    pub async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Provider { origin, state, task }
    }

    pub fn url(&self, path: &str) -> Url {
        self.origin.join(path).unwrap()
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.state.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn hits(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.map_err(|_| "broken off")?.to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    state.seen.lock().unwrap().push(Seen { path: path.clone(), authorization, body });
    let reply = state.replies.lock().unwrap().get(&path).cloned().unwrap_or(Reply::Status(404));
    let response = Response::builder();
    Ok(match reply {
        Reply::Json(json) => response.body(json.into()).unwrap(),
        Reply::Status(status) => response.status(status).body("an error page".into()).unwrap(),
        Reply::Redirect(to) => response.status(302).header(header::LOCATION, to).body(Full::default()).unwrap(),
        Reply::Held(gate, json) => {
            gate.acquire().await.unwrap().forget();
            response.body(json.into()).unwrap()
        }
        Reply::Broken => return Err("closed"),
        Reply::Hang => std::future::pending().await,
    })
}
