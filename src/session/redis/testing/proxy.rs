//! Something between sidegate and a server that breaks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::at;
use crate::config::RedisAddress;

pub struct Proxy {
    port: u16,
    cuts: watch::Sender<()>,
    held: Arc<AtomicBool>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy =
            Proxy { port: listener.local_addr().unwrap().port(), cuts: watch::Sender::new(()), held: Arc::default() };
        let (cuts, held) = (proxy.cuts.clone(), proxy.held.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (mut cut, held) = (cuts.subscribe(), held.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        () = pass(client, server, &held) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    pub fn at(&self) -> RedisAddress {
        at(self.port)
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Keeps from the client what the server says.
    pub fn hold_answers(&self, hold: bool) {
        self.held.store(hold, Ordering::Relaxed);
    }
}

async fn pass(client: TcpStream, server: TcpStream, held: &AtomicBool) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut buffer = [0; 4096];
        loop {
            match from_server.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if held.load(Ordering::Relaxed) => {}
                Ok(length) if to_client.write_all(&buffer[..length]).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}
