//! A server on port 0, a handler that says what it saw, and a client that writes bytes.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ipnet::IpNet;
use sidegate::{
    config::{Address, Drain, Limits, Listener, Protocols},
    model::{Connection, HeadLimits, Peer},
    proxy::limits::check_head,
    server::{self, Handler, Listeners, Shutdown, Summary},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use super::frames::{PING, frame};

/// Long enough for a loaded machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A limit of the server that a test runs into on purpose.
pub const SOON: Duration = Duration::from_millis(300);

pub const DRAIN: Drain = Drain { delay: Duration::ZERO, timeout: PATIENCE };

/// Waits for something that must come.
pub async fn must<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it never came")
}

/// Answers `ok PEER TLS`; `/hold` waits for a permit, `/panic` panics, `/echo` gives the body back, `/worker` says who
/// serves the connection, `/tunnel` becomes a tunnel that does the same.
pub struct Probe {
    pub limits: Limits,
    pub requests: AtomicUsize,
    pub holding: Semaphore,
    pub release: Semaphore,
}

impl Handler for Probe {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, SeqCst);
        let (head, body) = request.into_parts();
        let limits = HeadLimits { bytes: self.limits.header_bytes, count: self.limits.header_count };
        if let Err(refusal) = check_head(&head.method, &head.uri, &head.headers, limits) {
            let mut response = Response::new(Full::from(refusal.to_string()));
            *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return response;
        }
        match head.uri.path() {
            "/hold" => {
                self.holding.add_permits(1);
                self.release.acquire().await.unwrap().forget();
            }
            "/panic" => panic!("as asked"),
            "/tunnel" => {
                let request = Request::from_parts(head, body);
                tokio::spawn(async {
                    let tunnel = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
                    let (mut read, mut write) = tokio::io::split(tunnel);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
                let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "t");
                return response.body(Full::default()).unwrap();
            }
            "/worker" => return Response::new(Full::from(connection.worker.to_string())),
            "/echo" => return Response::new(Full::new(body.collect().await.map(|b| b.to_bytes()).unwrap_or_default())),
            _ => {}
        }
        let peer = match connection.peer() {
            Peer::Tcp(peer) => peer.to_string(),
            Peer::Unix => "unix".into(),
        };
        let tls = if connection.tls { "tls" } else { "plain" };
        Response::new(Full::from(format!("ok {peer} {tls}")))
    }
}

pub struct Server {
    pub listeners: Listeners,
    pub shutdown: Shutdown,
    pub probe: Arc<Probe>,
    run: JoinHandle<std::io::Result<Summary>>,
}

/// The listener that tests change to their liking.
pub fn listener() -> Listener {
    Listener {
        name: "test".into(),
        address: Address::Tcp("127.0.0.1:0".parse().unwrap()),
        protocols: Protocols { http1: true, http2: true },
        tls: None,
        proxy_protocol: false,
        decision: None,
        limits: Limits {
            connections: 100,
            header_bytes: 16 * 1024,
            header_count: 50,
            header_read_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            http2_streams: 16,
            http2_pending_resets: 8,
        },
    }
}

pub fn listener_with(change: impl FnOnce(&mut Listener)) -> Listener {
    let mut listener = listener();
    change(&mut listener);
    listener
}

impl Server {
    pub fn start(listener: Listener) -> Server {
        Server::start_trusting(listener, &[])
    }

    pub fn start_trusting(listener: Listener, trusted: &[&str]) -> Server {
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let probe = Arc::new(Probe {
            limits: listener.limits.clone(),
            requests: AtomicUsize::new(0),
            holding: Semaphore::new(0),
            release: Semaphore::new(0),
        });
        let listeners = Listeners::bind(&[listener], &trusted).unwrap();
        let shutdown = Shutdown::default();
        let handler = Arc::new(ArcSwap::new(probe.clone()));
        let run = tokio::spawn(server::run(listeners.clone(), handler, 2, shutdown.clone()));
        Server { listeners, shutdown, probe, run }
    }

    pub fn address(&self) -> SocketAddr {
        match self.listeners.addresses().remove(0) {
            Address::Tcp(address) => address,
            Address::Unix(path) => panic!("{path:?} is no address"),
        }
    }

    pub async fn connect(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(self.address()).await.unwrap())
    }

    pub fn requests(&self) -> usize {
        self.probe.requests.load(SeqCst)
    }

    /// Waits until a request is in the handler's hands.
    pub async fn held(&self) {
        must(self.probe.holding.acquire()).await.unwrap().forget();
    }

    pub fn release(&self) {
        self.probe.release.add_permits(1);
    }

    /// Waits for the end of the server.
    pub async fn ended(self) -> Summary {
        must(self.run).await.unwrap().unwrap()
    }
}

/// A client that writes bytes and reads answers.
pub struct Raw<S> {
    pub stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn new(stream: S) -> Self {
        Raw { stream }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        must(self.stream.write_all(bytes.as_ref())).await.unwrap();
        must(self.stream.flush()).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.answer().await
    }

    /// One HTTP/1.1 answer with a `content-length`.
    pub async fn answer(&mut self) -> String {
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            answer.push(char::from(must(self.stream.read_u8()).await.expect("an answer, not the end")));
        }
        let length = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        must(self.stream.read_exact(&mut body)).await.unwrap();
        answer + std::str::from_utf8(&body).unwrap()
    }

    /// The next HTTP/2 frame as (kind, payload).
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        self.next_frame().await.expect("a frame, not the end")
    }

    /// All frames to the end; a PING is answered.
    pub async fn rest_of_frames(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        while let Some((kind, payload)) = self.next_frame().await {
            if kind == PING {
                // The server may have gone by now.
                let _ = self.stream.write_all(&frame(PING, 1, 0, &payload)).await;
            }
            seen.push((kind, payload));
        }
        seen
    }

    /// The next HTTP/2 frame, or `None` at the end.
    async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        must(self.stream.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        must(self.stream.read_exact(&mut payload)).await.ok()?;
        Some((head[3], payload))
    }

    /// Everything until the server closes; a reset is a way of closing.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = must(self.stream.read_to_end(&mut rest)).await;
        rest
    }
}

/// An HTTP/2 client over `stream`, whose connection is driven by a task of its own.
pub async fn h2<S>(stream: S) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

pub fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}")).body(Empty::new()).unwrap()
}

pub async fn body(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A folder of this test's own.
pub fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("sg-{}-{}", process::id(), NEXT.fetch_add(1, SeqCst));
    // Not below target/: the path of a Unix socket may have 107 bytes only.
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}
