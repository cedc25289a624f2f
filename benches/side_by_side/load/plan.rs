//! What is asked for on the command line.

use std::{error::Error, fs, time::Duration};

use crate::{transport::Transport, wire};

pub struct Plan {
    pub way: Way,
    pub address: String,
    pub path: String,
    /// One a request, in turn; none: requests without a token.
    pub tokens: Vec<String>,
    pub connections: usize,
    /// Requests at the same time, over connections that are kept; fair, so that each connection has its turn.
    pub under_way: usize,
    /// Which token comes first, and how far on the next one is.
    pub from: usize,
    pub stride: usize,
    /// Bytes of a request's body.
    pub upload: Option<usize>,
    pub seconds: Duration,
    pub warm_seconds: Duration,
    pub warm_requests: u64,
    pub expect: u16,
    pub pids: Vec<String>,
    pub transport: Transport,
}

#[derive(Clone, Copy)]
pub enum Way {
    KeepAlive,
    /// HTTP/2, with so many requests under way on a connection.
    Streams(usize),
    Fresh,
    /// So many requests a second.
    Paced(f64),
    Hold,
}

impl Plan {
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let number = |name: &str, default: f64| -> Result<f64, Box<dyn Error>> {
            Ok(wire::option(name).map_or(Ok(default), |text| text.parse())?)
        };
        let (rate, streams) = (number("--rate", 0.0)?, number("--streams", 0.0)? as usize);
        let way = if wire::flag("--hold") {
            Way::Hold
        } else if wire::flag("--fresh") {
            Way::Fresh
        } else if streams > 0 {
            Way::Streams(streams)
        } else if rate > 0.0 {
            Way::Paced(rate)
        } else {
            Way::KeepAlive
        };
        let tokens = match wire::option("--tokens") {
            Some(file) => {
                let first = number("--first", f64::from(u32::MAX))? as usize;
                let tokens: Vec<_> = fs::read_to_string(file)?.lines().take(first).map(str::to_owned).collect();
                if tokens.is_empty() {
                    return Err("no token in the file".into());
                }
                tokens
            }
            None => Vec::new(),
        };
        let connections = number("--connections", 64.0)? as usize;
        Ok(Self {
            transport: Transport::read(matches!(way, Way::Streams(_)))?,
            way,
            address: wire::option("--address").ok_or("--address is missing")?,
            path: wire::option("--path").unwrap_or_else(|| "/".to_owned()),
            tokens,
            connections,
            under_way: number("--under-way", connections as f64)? as usize,
            from: number("--from", 0.0)? as usize,
            stride: number("--stride", 1.0)? as usize,
            upload: wire::option("--upload").map(|bytes| bytes.parse()).transpose()?,
            seconds: Duration::from_secs_f64(number("--seconds", 3.0)?),
            warm_seconds: Duration::from_secs_f64(number("--warm-seconds", 0.5)?),
            warm_requests: number("--warm-requests", 0.0)? as u64,
            expect: number("--expect", 200.0)? as u16,
            pids: wire::options("--pid"),
        })
    }

    /// The requests as bytes of HTTP/1.1, one for each token.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        let close = if matches!(self.way, Way::Fresh) { "Connection: close\r\n" } else { "" };
        let method = if self.upload.is_some() { "POST" } else { "GET" };
        let length = self.upload.map(|bytes| format!("Content-Length: {bytes}\r\n")).unwrap_or_default();
        let request = |authorization: &str| {
            let mut bytes = format!(
                "{method} {} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\nAccept: application/json\r\n\
                 {authorization}{length}{close}\r\n",
                self.path
            )
            .into_bytes();
            bytes.resize(bytes.len() + self.upload.unwrap_or(0), b'u');
            bytes
        };
        if self.tokens.is_empty() {
            return vec![request("")];
        }
        self.tokens.iter().map(|token| request(&format!("Authorization: Bearer {token}\r\n"))).collect()
    }
}

/// Also what the certificate is for.
pub const HOST: &str = "api.example.com";
