//! Stands between a client and a server: slow, holding everything back or gone, as the test says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

pub struct Relay {
    pub address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    /// What clients have sent and no server has seen.
    waiting: Arc<watch::Sender<usize>>,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They arrive so much later, in either direction.
    Open(Duration),
    /// They wait here.
    Held,
    /// So do connections, and those that were there are gone.
    Cut,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay =
            Relay { address, way: Arc::new(watch::Sender::new(Way::Open(Duration::ZERO))), waiting: Arc::default() };
        let (way, waiting) = (relay.way.clone(), relay.waiting.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, way.subscribe(), waiting.clone()));
            }
        });
        relay
    }

    /// What is sent arrives so much later, in either direction.
    pub fn delays(&self, by: Duration) {
        self.way.send_replace(Way::Open(by));
    }

    /// Nothing arrives until it is open again.
    pub fn hold(&self) {
        self.way.send_replace(Way::Held);
    }

    /// Every connection ends, and there is no other until it is open again.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub fn open(&self) {
        self.delays(Duration::ZERO);
    }

    /// Waits until a client has sent something that is held here.
    pub async fn holds_something(&self) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

async fn carry(near: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>, waiting: Arc<watch::Sender<usize>>) {
    let _ = way.wait_for(|way| *way != Way::Cut).await;
    let Ok(far) = TcpStream::connect(server).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let there = pass(near_read, far_write, way.clone(), Some(waiting));
    let back = pass(far_read, near_write, way.clone(), None);
    tokio::select! {
        // Each ends the connection with both.
        () = there => {}
        () = back => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

/// Reads on while what was read waits: a delay is not a limit of how much arrives.
async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut way: watch::Receiver<Way>,
    waiting: Option<Arc<watch::Sender<usize>>>,
) {
    let (came, mut next) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let count = |change: isize| {
        if let Some(waiting) = &waiting {
            waiting.send_modify(|waiting| *waiting = waiting.saturating_add_signed(change));
        }
    };
    let read = async {
        let mut bytes = BytesMut::new();
        while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            count(1);
            let _ = came.send((Instant::now(), bytes.split().freeze()));
        }
    };
    let write = async {
        while let Some((came, bytes)) = next.recv().await {
            let open = way.wait_for(|way| matches!(way, Way::Open(_))).await.map(|way| *way);
            if let Ok(Way::Open(delay)) = open {
                sleep_until(came + delay).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            count(-1);
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
