//! From exec to the first expected status: starts a program and asks it as tightly as it can.
//!
//! `bench_start --address 127.0.0.1:8080 --path /x --token-file FILE -- PROGRAM ARGUMENTS` prints nanoseconds on the
//! monotonic clock, from before the fork to the answer, and ends the program.

use std::{
    error::Error,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[path = "wire.rs"]
#[allow(dead_code)]
mod wire;

fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = wire::option("--address").ok_or("--address is missing")?.parse()?;
    let path = wire::option("--path").unwrap_or_else(|| "/".to_owned());
    let tokens = fs::read_to_string(wire::option("--token-file").ok_or("--token-file is missing")?)?;
    let token = tokens.lines().next().ok_or("no token in the file")?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut command = std::env::args().skip_while(|argument| argument != "--").skip(1);
    let mut program = Command::new(command.next().ok_or("no program")?);
    program.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());

    let begun = Instant::now();
    let mut child = program.spawn()?;
    let took = loop {
        if asked(address, request.as_bytes()).is_ok_and(|allowed| allowed) {
            break Some(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE || child.try_wait()?.is_some() {
            break None;
        }
    };
    end(&mut child)?;
    print_line(took.ok_or("the program never answered 200")?);
    Ok(())
}

/// Asks politely first: nginx would leave its worker, and with it the port, behind.
fn end(child: &mut Child) -> io::Result<()> {
    Command::new("kill").arg(child.id().to_string()).status()?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait().map(drop)
}

fn asked(address: SocketAddr, request: &[u8]) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b"200"))
}

#[allow(clippy::print_stdout)] // the figure is what this program is for
fn print_line(took: Duration) {
    println!("{}", took.as_nanos());
}

const PATIENCE: Duration = Duration::from_secs(10);
