//! The way to the upstream and back, with upstreams that behave and others.

mod bodies;
mod http2;
mod reuse;
mod timeouts;
mod tls;
mod upgrade;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use sidegate::{
    config,
    proxy::upstream::{RequestBody, ResponseBody, Tunnel, Upstream, UpstreamError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// An upstream whose every connection is a script.
pub struct Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub heads: Arc<Mutex<Vec<String>>>,
}

/// One connection of an [`Origin`].
pub struct Wire {
    pub stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
    /// Counted from 1.
    pub number: usize,
}

impl Wire {
    /// The head of the next request; `None` at the end of the connection.
    pub async fn head(&mut self) -> Option<String> {
        let head = read_head(&mut self.stream).await?;
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Whether the other side closes without a further byte.
    pub async fn is_closed_by_peer(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]).await, Ok(0) | Err(_))
    }
}

impl Origin {
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

pub async fn origin<F, R>(script: F) -> Origin
where
    F: Fn(Wire) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin { address: listener.local_addr().unwrap(), connections: Arc::default(), heads: Arc::default() };
    let (connections, heads) = (origin.connections.clone(), origin.heads.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = connections.fetch_add(1, SeqCst) + 1;
            tokio::spawn(script(Wire { stream, heads: heads.clone(), number }));
        }
    });
    origin
}

/// Answers every request with `hello`, for as long as the client likes.
pub async fn polite(mut wire: Wire) {
    while wire.head().await.is_some() {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    }
}

pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

pub fn settings(target: config::Target) -> config::Upstream {
    config::Upstream {
        name: "app".into(),
        target,
        http2: false,
        credential: config::Credential::None,
        identity_headers: Vec::new(),
        timeouts: config::Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        },
        connections: config::Connections {
            max_idle: 4,
            idle_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
        },
    }
}

pub fn tcp(address: SocketAddr) -> config::Target {
    config::Target::Http { host: address.ip().to_string(), port: address.port() }
}

pub fn upstream(address: SocketAddr) -> Arc<Upstream> {
    Arc::new(Upstream::new(settings(tcp(address)), 1).unwrap())
}

pub fn request(method: Method, body: &'static str) -> Request<RequestBody> {
    Request::builder()
        .method(method)
        .uri("/path?query")
        .header("host", "app.example")
        .body(RequestBody::full(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

pub fn get() -> Request<RequestBody> {
    request(Method::GET, "")
}

pub async fn send(upstream: &Upstream, request: Request<RequestBody>) -> Result<Response<ResponseBody>, UpstreamError> {
    let timeouts = upstream.settings().timeouts;
    upstream.send(0, request, &timeouts, None, tokio::time::Instant::now()).await.map(|answer| answer.response)
}

/// Sends and reads the body, so that the connection is free again.
pub async fn fetch(upstream: &Upstream, request: Request<RequestBody>) -> (StatusCode, Bytes) {
    let response = send(upstream, request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// Polls until `done`; the condition always comes, only not at once.
pub async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// A gateway in front of `upstream` that speaks HTTP/1.1 and only does what framing needs.
pub async fn gateway(upstream: &Arc<Upstream>, limit: Option<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = Arc::clone(upstream);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let upstream = Arc::clone(&upstream);
            let service = service_fn(move |request| forward(Arc::clone(&upstream), limit, request));
            tokio::spawn(async move {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
    address
}

async fn forward(
    upstream: Arc<Upstream>,
    limit: Option<u64>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let keep = Arc::new(|name: &http::HeaderName| name != "x-forwarded-user");
    let mut request = request.map(|body| RequestBody::streamed(body, limit, Some(keep)));
    request.headers_mut().remove("transfer-encoding");
    if !request.headers().contains_key("upgrade") {
        request.headers_mut().remove("connection");
    }
    if let (false, Some(authority)) = (request.headers().contains_key("host"), request.uri().authority()) {
        let host = authority.as_str().parse().unwrap();
        request.headers_mut().insert("host", host);
    }
    Ok(match send(&upstream, request).await {
        Ok(mut response) => {
            response.headers_mut().remove("transfer-encoding");
            if let Some(tunnel) = response.extensions_mut().remove::<Tunnel>() {
                tokio::spawn(tunnel.run(std::future::pending()));
            }
            response
        }
        Err(error) => {
            let mut response = Response::new(Bytes::from_static(error.code().as_bytes()).into());
            *response.status_mut() = error.status();
            response
        }
    })
}

/// Writes `text` and reads until the server closes.
pub async fn talk(address: SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}
