//! The service behind the proxies: answers every request with one pre-rendered response.
//!
//! One thread, no parsing beyond the end of the head and `Content-Length`, so that the proxy in front stays what is
//! measured. Prints the address that it listens on, then serves until it is killed.

use std::{error::Error, io, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

#[path = "wire.rs"]
#[allow(dead_code)]
mod wire;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = wire::option("--listen").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let body = wire::option("--body").map_or(Ok(1024), |bytes| bytes.parse())?;
    let listener = TcpListener::bind(&address).await?;
    eprintln!("{}", listener.local_addr()?);
    let response: Rc<[u8]> = response(body).into();
    LocalSet::new().run_until(accept(listener, response)).await?;
    Ok(())
}

async fn accept(listener: TcpListener, response: Rc<[u8]>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is its proxy's business; the load generator counts what went missing.
        tokio::task::spawn_local(serve(stream, Rc::clone(&response)));
    }
}

async fn serve(mut stream: TcpStream, response: Rc<[u8]>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut held = 0;
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        while let Some(head) = wire::head(&buffer[..held]) {
            let length = head.length + head.content_length.unwrap_or(0);
            if held < length {
                discard(&mut stream, &mut buffer, length - held).await?;
                held = 0;
            } else {
                buffer.copy_within(length..held, 0);
                held -= length;
            }
            stream.write_all(&response).await?;
        }
        if held == buffer.len() {
            return Err(io::Error::other("request head larger than the buffer"));
        }
    }
}

/// The rest of a body.
async fn discard(stream: &mut TcpStream, buffer: &mut [u8], mut left: usize) -> io::Result<()> {
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(&mut buffer[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

fn response(body: usize) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\
         Content-Length: {body}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + body, b'x');
    bytes
}

const BUFFER: usize = 64 * 1024;
