//! The two kinds of socket, listening and connected.

use std::{
    fs, io,
    net::{self, SocketAddr},
    os::unix::{
        self,
        fs::{FileTypeExt, PermissionsExt},
    },
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::{config::Address, model::Peer};

/// How many connections the kernel keeps for us until they are accepted.
pub(super) const BACKLOG: i32 = 1024;

/// A Unix socket is for its owner and its group.
const UNIX_MODE: u32 = 0o660;

/// Binds and listens, without blocking; nothing is accepted yet. Port 0 takes a free one.
pub(super) fn listen(address: &Address) -> io::Result<Socket> {
    let socket = match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            // So that a restart need not wait for connections in TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(*address))?;
            socket
        }
        Address::Unix(path) => {
            remove_stale(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Before `listen`: until then nobody can connect.
            fs::set_permissions(path, fs::Permissions::from_mode(UNIX_MODE))?;
            socket
        }
    };
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Removes the file of a Unix socket that a killed process left behind, only if nobody answers on it.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog must not hold up the start: it means that somebody listens.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// One worker's registration of a listening socket.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Registers a clone of `socket` with the current runtime.
    pub(super) fn register(socket: &Socket) -> io::Result<Self> {
        let clone = socket.try_clone()?;
        Ok(if clone.domain()? == Domain::UNIX {
            Acceptor::Unix(UnixListener::from_std(clone.into())?)
        } else {
            Acceptor::Tcp(TcpListener::from_std(clone.into())?)
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Acceptor::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Stream::tcp(stream, peer)
            }
            Acceptor::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

/// Accepts what is waiting on `socket` now; `WouldBlock` if nothing is.
pub(super) fn accept_waiting(socket: &Socket) -> io::Result<(Stream, Peer)> {
    let (accepted, peer) = socket.accept()?;
    accepted.set_nonblocking(true)?;
    match peer.as_socket() {
        Some(peer) => Stream::tcp(TcpStream::from_std(accepted.into())?, peer),
        None => Ok((Stream::Unix(UnixStream::from_std(accepted.into())?), Peer::Unix)),
    }
}

/// An accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn tcp(stream: TcpStream, peer: SocketAddr) -> io::Result<(Self, Peer)> {
        // Answers are written whole; waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
    }

    /// Takes it out of the current runtime.
    pub(super) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Stream::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }
}

/// An accepted connection between two runtimes.
pub(super) enum Detached {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

impl Detached {
    /// Registers it with the current runtime.
    pub(super) fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Detached::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Detached::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
