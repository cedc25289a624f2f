//! Reads one whole response of HTTP/1.1.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire;

/// The status of the response that `stream` brings next.
pub async fn status<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> io::Result<u16> {
    let mut partial = Partial::default();
    loop {
        let read = stream.read(partial.room(buffer)?).await?;
        if let Some(status) = partial.add(read, buffer)? {
            return Ok(status);
        }
    }
}

/// As much of a response as has come. Of its body only the length is looked at.
#[derive(Default)]
pub struct Partial {
    held: usize,
    whole: Option<(usize, u16)>,
}

impl Partial {
    pub fn room<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b mut [u8]> {
        if self.whole.is_some() {
            return Ok(buffer);
        }
        if self.held == buffer.len() {
            return Err(io::Error::other("response head larger than the buffer"));
        }
        Ok(&mut buffer[self.held..])
    }

    /// The status, once all of it is there.
    pub fn add(&mut self, read: usize, buffer: &[u8]) -> io::Result<Option<u16>> {
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.held += read;
        if self.whole.is_none()
            && let Some(head) = wire::head(&buffer[..self.held])
        {
            let body = head.content_length.ok_or_else(|| io::Error::other("response without Content-Length"))?;
            let digits = buffer.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
            let status = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::Error::other("no status"))?;
            self.whole = Some((head.length + body, status));
        }
        Ok(self.whole.filter(|(length, _)| self.held >= *length).map(|(_, status)| status))
    }
}

pub const BUFFER: usize = 64 * 1024;
