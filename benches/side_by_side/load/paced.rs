//! Requests at their time: each is due at a moment that nothing moves, and its latency is counted from there, so that
//! a proxy which stands still is charged with all that should have been asked meanwhile.
//!
//! A thread for each connection, since the timers of the runtime know milliseconds only.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    answer::{BUFFER, Partial},
    counts::{Counts, cpu_seconds, nanoseconds},
    plan::Plan,
};

pub fn run(plan: &Plan, rate: f64) -> io::Result<serde_json::Value> {
    // Threads are woken when they are due, not 50 µs later; where the kernel refuses, they are late and it is told.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let requests = plan.requests();
    let opens = Instant::now() + plan.warm_seconds;
    let closes = opens + plan.seconds;
    thread::scope(|scope| {
        let connections: Vec<_> = (0..plan.connections)
            .map(|index| {
                let pace = Pace { begun: opens - plan.warm_seconds, opens, closes, rate, index };
                let requests = &requests;
                scope.spawn(move || pace.keep_asking(plan, requests))
            })
            .collect();
        sleep_until(opens);
        let cpu = cpu_seconds(&plan.pids)?;
        sleep_until(closes);
        let cpu = cpu_seconds(&plan.pids)? - cpu;
        let mut counts = Counts::default();
        for connection in connections {
            counts.add(connection.join().map_err(|_| io::Error::other("a connection panicked"))?);
        }
        counts.report(plan.seconds, cpu)
    })
}

/// The times of one connection.
struct Pace {
    begun: Instant,
    opens: Instant,
    closes: Instant,
    rate: f64,
    index: usize,
}

impl Pace {
    fn keep_asking(&self, plan: &Plan, requests: &[Vec<u8>]) -> Counts {
        let mut counts = Counts::default();
        let mut buffer = vec![0; BUFFER];
        let mut stream = None;
        for turn in (self.index..).step_by(plan.connections) {
            let due = self.begun + Duration::from_secs_f64(turn as f64 / self.rate);
            if due >= self.closes {
                break;
            }
            sleep_until(due);
            let late = due.elapsed();
            let answered = ask(&mut stream, &plan.address, &requests[turn % requests.len()], &mut buffer);
            if due < self.opens {
                continue;
            }
            counts.late.push(nanoseconds(late));
            match answered {
                Ok(status) => counts.answered(due.elapsed(), status, plan.expect),
                Err(_) => {
                    counts.broken += 1;
                    stream = None;
                }
            }
        }
        counts
    }
}

fn ask(kept: &mut Option<TcpStream>, address: &str, request: &[u8], buffer: &mut [u8]) -> io::Result<u16> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            kept.insert(stream)
        }
    };
    stream.write_all(request)?;
    let mut partial = Partial::default();
    loop {
        let read = stream.read(partial.room(buffer)?)?;
        if let Some(status) = partial.add(read, buffer)? {
            return Ok(status);
        }
    }
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

const PATIENCE: Duration = Duration::from_secs(10);
