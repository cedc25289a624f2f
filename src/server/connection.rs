//! One connection from its acceptance to HTTP: PROXY header, TLS, version.

use std::{future::Future, io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Handler, Shutdown, Token,
    balance::Seat,
    http::{self, Version},
    listener::Settings,
    pace::FRESH,
    permits::Permit,
    prefixed::Prefixed,
    proxy_protocol,
    socket::Stream,
    stats::Opened,
};
use crate::{
    config::Protocols,
    model::{BoxError, Connection, HeadLimits, Peer},
};

/// A TLS handshake takes two round trips and some arithmetic.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How an HTTP/2 connection begins (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What lives exactly as long as a connection does, whoever owns its stream by then.
pub(super) struct Guard {
    pub(super) _permit: Permit,
    pub(super) _opened: Opened,
    pub(super) _token: Token,
    pub(super) _seat: Seat,
}

/// What a connection inherits from where it was accepted.
pub(super) struct Accepted<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) worker: usize,
    pub(super) handler: Arc<ArcSwap<H>>,
    pub(super) shutdown: Shutdown,
}

/// Serves a connection to its end.
///
/// # Errors
/// Whatever ended it before HTTP began, or hyper's reason.
pub(super) async fn serve<H: Handler>(
    mut stream: Stream,
    peer: Peer,
    guard: Guard,
    accepted: Accepted<H>,
) -> Result<(), BoxError> {
    let settings = accepted.settings.clone();
    let mut connection = Connection::new(
        settings.stats.name.clone(),
        HeadLimits { bytes: settings.limits.header_bytes, count: settings.limits.header_count },
        settings.decision.clone(),
        peer,
        settings.tls.is_some(),
        accepted.worker,
    );

    let mut prefix = Bytes::new();
    if settings.proxy_protocol {
        if !settings.trusts(peer) {
            return Err("a PROXY header may come from a trusted peer only".into());
        }
        let read = proxy_protocol::read(&mut stream);
        let (source, rest) = timeout(settings.limits.header_read_timeout, read).await??;
        if let Some(source) = source {
            connection.comes_from(Peer::Tcp(source));
        }
        prefix = rest;
    }
    let mut stream = Prefixed::new(prefix, stream);

    if let Some(tls) = &settings.tls {
        let handshake = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.config.clone()).accept(stream)).await;
        let handshake = handshake.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let version = handshake.as_ref().ok().and_then(|stream| stream.get_ref().1.protocol_version());
        settings.stats.handshake(version);
        let stream = handshake?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            Some(_) => Version::Http1,
            None => without_alpn(settings.protocols),
        };
        return Ok(accepted.http(stream, guard, version, connection).await?);
    }

    let version = match settings.protocols {
        Protocols { http1: true, http2: true } => {
            let closing = accepted.shutdown.closing();
            let (version, prefix) = tell_version(&mut stream, &settings, closing).await?;
            return Ok(accepted.http(Prefixed::new(prefix, stream), guard, version, connection).await?);
        }
        only_one => without_alpn(only_one),
    };
    Ok(accepted.http(stream, guard, version, connection).await?)
}

impl<H: Handler> Accepted<H> {
    async fn http<S>(self, stream: S, guard: Guard, version: Version, connection: Connection) -> hyper::Result<()>
    where
        S: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed: without it the futures of both versions would lie in every connection's task at once.
        Box::pin(http::serve(stream, guard, version, connection, &self.settings.limits, self.handler, &self.shutdown))
            .await
    }
}

/// The version where nothing negotiates it: HTTP/1.1 unless it is switched off.
fn without_alpn(protocols: Protocols) -> Version {
    if protocols.http1 { Version::Http1 } else { Version::Http2 }
}

/// Tells HTTP/2 with prior knowledge (RFC 9113 section 3.3) from HTTP/1.1 by the first bytes, which are returned.
async fn tell_version<S: AsyncRead + Unpin>(
    stream: &mut S,
    settings: &Settings,
    closing: impl Future<Output = ()>,
) -> io::Result<(Version, Bytes)> {
    let mut read = BytesMut::with_capacity(H2_PREFACE.len());
    tokio::select! {
        biased;
        first = timeout(settings.limits.idle_timeout, more(stream, &mut read)) => first??,
        () = closing_while_silent(closing) => return Err(io::ErrorKind::ConnectionAborted.into()),
    }
    let rest = async {
        while read.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&read) {
            more(stream, &mut read).await?;
        }
        io::Result::Ok(())
    };
    timeout(settings.limits.header_read_timeout, rest).await??;
    let version = if read == H2_PREFACE { Version::Http2 } else { Version::Http1 };
    Ok((version, read.freeze()))
}

/// Reads on, up to the length of the preface.
async fn more<S: AsyncRead + Unpin>(stream: &mut S, read: &mut BytesMut) -> io::Result<()> {
    let room = (H2_PREFACE.len() - read.len()) as u64;
    match stream.take(room).read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Ready a moment after the listener has closed: a request may be on the way on what was accepted just before.
async fn closing_while_silent(closing: impl Future<Output = ()>) {
    closing.await;
    tokio::time::sleep(FRESH).await;
}
