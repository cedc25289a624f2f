//! Something between sidegate and a server that breaks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use super::at;
use crate::config::RedisAddress;

pub struct Proxy {
    port: u16,
    cuts: watch::Sender<()>,
    held: Arc<AtomicBool>,
    /// Of each answer, in milliseconds.
    delay: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            cuts: watch::Sender::new(()),
            held: Arc::default(),
            delay: Arc::default(),
        };
        let (cuts, held, delay) = (proxy.cuts.clone(), proxy.held.clone(), proxy.delay.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (mut cut, held, delay) = (cuts.subscribe(), held.clone(), delay.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        () = pass(client, server, &held, &delay) => {}
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

    pub fn delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Keeps from the client what the server says.
    pub fn hold_answers(&self, hold: bool) {
        self.held.store(hold, Ordering::Relaxed);
    }
}

async fn pass(client: TcpStream, server: TcpStream, held: &AtomicBool, delay: &AtomicU64) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut buffer = [0; 4096];
        loop {
            let read = from_server.read(&mut buffer).await;
            sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
            match read {
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
