//! From a name to a socket.

use std::{io, path::PathBuf};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::{Duration, Instant, timeout_at},
};
use tokio_rustls::client::TlsStream;

use super::{
    error::{UpstreamError, UpstreamSetupError},
    tls::Tls,
};
use crate::{
    config::{self, Target},
    model::UnixTime,
};

/// Where the upstream is.
pub(super) enum Endpoint {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, tls: Box<Tls> },
    Unix(PathBuf),
}

/// A connection on which HTTP can begin.
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Endpoint {
    pub(super) fn new(settings: &config::Upstream) -> Result<Self, UpstreamSetupError> {
        Ok(match &settings.target {
            Target::Http { host, port } => Endpoint::Tcp { host: host.clone(), port: *port },
            Target::Https { host, port, tls } => {
                Endpoint::Tls { host: host.clone(), port: *port, tls: Box::new(Tls::new(host, tls, settings.http2)?) }
            }
            Target::Unix(path) => Endpoint::Unix(path.clone()),
        })
    }

    /// When the first certificate ends that we show there.
    pub(super) fn certificate_expires(&self) -> Option<UnixTime> {
        match self {
            Endpoint::Tls { tls, .. } => tls.expires,
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Endpoint::Tls { .. })
    }

    /// Connects before `deadline`, TLS included.
    pub(super) async fn dial(&self, deadline: Option<Instant>) -> Result<Socket, UpstreamError> {
        Ok(match self {
            Endpoint::Tcp { host, port } => Socket::Tcp(tcp(host, *port, deadline).await?),
            Endpoint::Tls { host, port, tls } => {
                let socket = tcp(host, *port, deadline).await?;
                Socket::Tls(Box::new(tls.handshake(socket, deadline).await?))
            }
            Endpoint::Unix(path) => Socket::Unix(within(deadline, UnixStream::connect(path)).await?.map_err(refused)?),
        })
    }
}

/// Resolves `host` anew and tries its addresses in turn until `deadline`.
async fn tcp(host: &str, port: u16, deadline: Option<Instant>) -> Result<TcpStream, UpstreamError> {
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<_> =
        within(deadline, lookup_host((name, port))).await?.map_err(UpstreamError::Resolve)?.collect();
    let mut failed = UpstreamError::Resolve(io::Error::new(io::ErrorKind::NotFound, "no address"));
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        // A fair share for each, so that a silent address leaves time for the next.
        let share = deadline.map(|deadline| share(deadline, left));
        left = left.saturating_sub(1);
        match within(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests and responses are written whole; waiting for more to send only delays them.
                stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
                // What has no idle limit (tunnels, event streams) notices a host that is gone.
                let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(UpstreamError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failed = refused(error),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// `future`, or [`UpstreamError::ConnectTimeout`].
pub(super) async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, UpstreamError> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.map_err(|_| UpstreamError::ConnectTimeout),
        None => Ok(future.await),
    }
}

fn share(deadline: Instant, left: u32) -> Instant {
    let now = Instant::now();
    let remaining: Duration = deadline.saturating_duration_since(now);
    now + remaining / left.max(1)
}

/// Nobody listens on the port, or the socket's file is not there yet.
fn refused(error: io::Error) -> UpstreamError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => UpstreamError::Unavailable(error),
        _ => UpstreamError::Connect(error),
    }
}

/// TCP's own sign of life on a silent connection; the kernel's count of lost probes (9) then ends it.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
