//! WebSocket and other protocols that begin as HTTP/1.1 (RFC 9110, section 7.8).

use std::{io, sync::Arc};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

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

    /// Copies both ways until both sides have ended, one has failed, or `closed` comes.
    ///
    /// The end of one direction is passed on while the other goes on. Returns the bytes from the client and from the
    /// upstream. To be spawned: it begins when the 101 has been written to the client.
    pub async fn run(self, closed: impl Future<Output = ()>) -> io::Result<(u64, u64)> {
        let copy = async {
            let (client, upstream) = tokio::try_join!(self.client, self.upstream).map_err(io::Error::other)?;
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
        };
        tokio::select! {
            copied = copy => copied,
            () = closed => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by us")),
        }
    }
}

/// Bytes held in each direction.
const BUFFER: usize = 16 * 1024;
