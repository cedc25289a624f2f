//! WebSocket and other protocols that begin as HTTP/1.1 (RFC 9110, section 7.8).

use std::{io, sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};

use super::stats::Open;

/// Both ends of a connection that has left HTTP; in the extensions of a 101 response.
///
/// Dropped without [`Tunnel::run`], it closes both.
#[derive(Clone)]
pub struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    _open: Arc<Open>,
}

impl Tunnel {
    pub(super) fn new(client: OnUpgrade, upstream: OnUpgrade, open: Open) -> Self {
        Tunnel { client, upstream, _open: Arc::new(open) }
    }

    /// Copies both ways until both sides have ended, one has failed, or `closed` comes; both are then shut down.
    ///
    /// The end of one direction is passed on while the other goes on. Returns the bytes from the client and from the
    /// upstream. To be spawned: it begins when the 101 has been written to the client.
    pub async fn run(self, closed: impl Future<Output = ()>) -> io::Result<(u64, u64)> {
        let open = async { tokio::try_join!(self.client, self.upstream).map_err(io::Error::other) };
        tokio::pin!(closed);
        let (client, upstream) = tokio::select! {
            opened = open => opened?,
            () = &mut closed => return Err(closed_by_us()),
        };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        tokio::select! {
            copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER) => return copied,
            () = closed => {}
        }
        // TLS wants a goodbye; a peer that does not read must not delay the end.
        let shut = async { tokio::join!(client.shutdown(), upstream.shutdown()) };
        let _ = tokio::time::timeout(GOODBYE, shut).await;
        Err(closed_by_us())
    }
}

fn closed_by_us() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by us")
}

/// Bytes held in each direction.
const BUFFER: usize = 16 * 1024;

const GOODBYE: Duration = Duration::from_secs(1);
