//! The admin listener, asked by HTTP/1.1.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::model::{BoxError, Secret};

/// Where the admin listener is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Endpoint, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Endpoint::Unix(path.into()));
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(text).parse();
        address.map(Endpoint::Tcp).map_err(|_| "write 127.0.0.1:9902, [::1]:9902 or unix:/run/admin.sock")
    }
}

/// An answer that is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    pub fn is_unknown(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }
}

pub struct Client {
    runtime: Runtime,
    endpoint: Endpoint,
    /// `None`: what is asked needs none.
    token: Option<Secret<String>>,
}

impl Client {
    /// # Errors
    /// If the token cannot be read.
    pub fn new(endpoint: &Endpoint, token_file: Option<&Path>) -> Result<Client, BoxError> {
        let token = token_file.map(read).transpose();
        let token = token.map_err(|error| format!("the token cannot be read: {error}"))?;
        Ok(Client { runtime: Builder::new_current_thread().enable_all().build()?, endpoint: endpoint.clone(), token })
    }

    /// The JSON of the answer.
    ///
    /// # Errors
    /// If there is none, or one that says no.
    pub fn ask(&self, method: &str, target: &str) -> Result<Value, BoxError> {
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Full::<Bytes>::default()).map_err(|_| "the token cannot stand in a header")?;
        self.runtime.block_on(async {
            match timeout(PATIENCE, self.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs()).into()),
            }
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Value, BoxError> {
        let nobody = |at: String| move |error: io::Error| format!("nobody answers on {at}: {error}");
        match &self.endpoint {
            Endpoint::Tcp(address) => {
                exchange(TcpStream::connect(address).await.map_err(nobody(address.to_string()))?, request).await
            }
            Endpoint::Unix(path) => {
                let at = format!("unix:{}", path.display());
                exchange(UnixStream::connect(path).await.map_err(nobody(at))?, request).await
            }
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Value, BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    match json {
        Some(json) if head.status.is_success() => Ok(json),
        json => {
            let message = json.as_ref().and_then(|json| json["message"].as_str());
            let message = message.map_or_else(|| format!("it answers {}", head.status), str::to_owned);
            Err(Refused { status: head.status, message }.into())
        }
    }
}

/// One line; `-` is standard input.
fn read(file: &Path) -> io::Result<Secret<String>> {
    let mut text = String::new();
    match file.as_os_str() == "-" {
        true => io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text)?,
        false => File::open(file)?.take(LONGEST_TOKEN).read_to_string(&mut text)?,
    };
    let text = Secret::new(text);
    Ok(Secret::new(text.expose().trim_end_matches(['\r', '\n']).to_owned()))
}

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one answer: a page of sessions with long names.
const LONGEST: usize = 16 * 1024 * 1024;
const LONGEST_TOKEN: u64 = 16 * 1024;
