//! An upstream that remembers every request as it came and answers as the test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};

#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Answer = dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync;

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    /// Answers 200 `hello`.
    pub async fn start() -> Upstream {
        Upstream::answering(|_| Response::new(Full::new(Bytes::from_static(b"hello")))).await
    }

    pub async fn answering(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Upstream {
        Upstream::serve(Arc::new(answer), false).await
    }

    /// Speaks HTTP/2 by prior knowledge.
    pub async fn http2(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Upstream {
        Upstream::serve(Arc::new(answer), true).await
    }

    async fn serve(answer: Arc<Answer>, http2: bool) -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, record) = (answer.clone(), record.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, record) = (answer.clone(), record.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let collected = body.collect().await?;
                        let seen = Seen {
                            method: head.method.to_string(),
                            target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                            headers: head.headers,
                            trailers: collected.trailers().cloned(),
                            body: collected.to_bytes(),
                        };
                        let response = answer(&seen);
                        record.lock().unwrap().push(seen);
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let io = TokioIo::new(stream);
                if http2 {
                    tokio::spawn(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service),
                    );
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                }
            }
        });
        Upstream { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream saw no request")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}
