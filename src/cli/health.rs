//! `sidegate health`: one probe of the health listener, for containers without a shell or curl.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::Duration,
};

#[derive(clap::Args)]
pub struct Probe {
    /// The health listener of the running process; a name is tried with each of its addresses.
    #[arg(long, default_value = "127.0.0.1:9901", value_name = "HOST:PORT")]
    address: String,
    /// /readyz, /livez or /startupz.
    #[arg(long, default_value = "/readyz")]
    path: String,
}

pub fn health(probe: &Probe) -> ExitCode {
    match ask(probe) {
        Ok(status) if status.contains(" 200 ") => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("sidegate: {}: {}", probe.path, status.trim());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("sidegate: nobody answers on {}: {error}", probe.address);
            ExitCode::FAILURE
        }
    }
}

/// The status line of the answer.
fn ask(probe: &Probe) -> std::io::Result<String> {
    let mut stream = connect(&probe.address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", probe.path, probe.address)?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// To the first address of `name` that takes the connection.
fn connect(name: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

const TIMEOUT: Duration = Duration::from_secs(3);
