//! Sockets that a test reads and writes byte for byte, on either side of sidegate.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Long enough for a loaded machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must come.
pub async fn must<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it never came")
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Wire {
        Wire { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything up to `end`, which must come, and with it.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|part| part == end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned();
            }
            let count = must(self.stream.read_buf(&mut self.read)).await.unwrap_or(0);
            assert!(count > 0, "closed before {end:?}: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The head of the next message.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// What comes until the other side closes (or resets).
    pub async fn rest(&mut self) -> String {
        while must(self.stream.read_buf(&mut self.read)).await.unwrap_or(0) > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Whether nothing comes for a moment.
    pub async fn is_silent(&mut self) -> bool {
        self.read.is_empty() && timeout(MOMENT, self.stream.read_buf(&mut self.read)).await.is_err()
    }
}

/// Nothing is proven by waiting; a defect shows itself by not being waited for much longer than this.
const MOMENT: Duration = Duration::from_millis(150);

/// An upstream whose connections the test serves itself.
pub struct Scripted {
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Scripted {
    pub async fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Scripted { address: listener.local_addr().unwrap(), listener }
    }

    /// The next connection, which must come.
    pub async fn next(&self) -> Wire {
        Wire { stream: must(self.listener.accept()).await.unwrap().0, read: Vec::new() }
    }

    /// Whether nobody connects for a moment.
    pub async fn is_untouched(&self) -> bool {
        timeout(MOMENT, self.listener.accept()).await.is_err()
    }
}
