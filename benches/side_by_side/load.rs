//! The load generator: keep-alive connections over HTTP/1.1, each with one request under way at a time.
//!
//! `bench_load --address 127.0.0.1:8080 --seconds 3 [--path /] [--connections 64] [--tokens FILE [--first N]]
//! [--warm-seconds 1] [--warm-requests N] [--rate PER_SECOND] [--expect 200] [--pid PID]...`
//!
//! Each request carries the next token of the file. After the warm-up (both its time and its requests) comes the
//! window; what ended inside it is counted, together with the CPU time that the processes `--pid` spent in it.
//! One JSON object on stdout.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fs, io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::sleep_until,
};

#[path = "wire.rs"]
mod wire;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::read()?;
    let report = LocalSet::new().run_until(run(plan)).await?;
    println_json(&report);
    Ok(())
}

struct Plan {
    address: String,
    requests: Vec<Vec<u8>>,
    connections: usize,
    seconds: Duration,
    warm_seconds: Duration,
    warm_requests: u64,
    /// Time from one request to the next on one connection; none: as fast as the answers come.
    period: Option<Duration>,
    expect: u16,
    pids: Vec<String>,
}

impl Plan {
    fn read() -> Result<Self, Box<dyn Error>> {
        let number = |name: &str, default: f64| -> Result<f64, Box<dyn Error>> {
            Ok(wire::option(name).map_or(Ok(default), |text| text.parse())?)
        };
        let address = wire::option("--address").ok_or("--address is missing")?;
        let path = wire::option("--path").unwrap_or_else(|| "/".to_owned());
        let connections = number("--connections", 64.0)? as usize;
        let rate = number("--rate", 0.0)?;
        let requests = match wire::option("--tokens") {
            Some(file) => fs::read_to_string(file)?
                .lines()
                .take(number("--first", f64::from(u32::MAX))? as usize)
                .map(|token| request(&path, Some(token)))
                .collect(),
            None => vec![request(&path, None)],
        };
        if requests.is_empty() {
            return Err("no token in the file".into());
        }
        Ok(Self {
            address,
            requests,
            connections,
            seconds: Duration::from_secs_f64(number("--seconds", 3.0)?),
            warm_seconds: Duration::from_secs_f64(number("--warm-seconds", 0.5)?),
            warm_requests: number("--warm-requests", 0.0)? as u64,
            period: (rate > 0.0).then(|| Duration::from_secs_f64(connections as f64 / rate)),
            expect: number("--expect", 200.0)? as u16,
            pids: wire::options("--pid"),
        })
    }
}

fn request(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench\r\nAccept: application/json\r\n\
         {authorization}\r\n"
    )
    .into_bytes()
}

/// What all connections share; one thread, so cells do.
struct Shared {
    plan: Plan,
    next: Cell<usize>,
    done: Cell<u64>,
    /// Whether answers are counted now.
    open: Cell<bool>,
    over: Cell<bool>,
    counts: RefCell<Counts>,
}

#[derive(Default)]
struct Counts {
    nanoseconds: Vec<u32>,
    unexpected: u64,
    broken: u64,
    last_status: u16,
}

async fn run(plan: Plan) -> io::Result<serde_json::Value> {
    let shared = Rc::new(Shared {
        plan,
        next: Cell::new(0),
        done: Cell::new(0),
        open: Cell::new(false),
        over: Cell::new(false),
        counts: RefCell::default(),
    });
    let mut connections = JoinSet::new();
    for index in 0..shared.plan.connections {
        connections.spawn_local(keep_asking(Rc::clone(&shared), index));
    }
    let begun = Instant::now();
    while begun.elapsed() < shared.plan.warm_seconds || shared.done.get() < shared.plan.warm_requests {
        if begun.elapsed() > WARM_AT_MOST {
            return Err(io::Error::other("the warm-up does not end"));
        }
        tokio::time::sleep(TICK).await;
    }
    let cpu = cpu_seconds(&shared.plan.pids)?;
    shared.open.set(true);
    let opened = Instant::now();
    tokio::time::sleep(shared.plan.seconds).await;
    shared.open.set(false);
    let window = opened.elapsed();
    let cpu = cpu_seconds(&shared.plan.pids)? - cpu;
    shared.over.set(true);
    let own = cpu_seconds(&["self".to_owned()])?;
    Ok(report(&mut shared.counts.borrow_mut(), window, cpu, own))
}

async fn keep_asking(shared: Rc<Shared>, index: usize) {
    while !shared.over.get() {
        if ask(&shared, index).await.is_err() {
            if shared.open.get() {
                shared.counts.borrow_mut().broken += 1;
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

/// One connection, until it breaks or the time is over.
async fn ask(shared: &Shared, index: usize) -> io::Result<()> {
    let plan = &shared.plan;
    let mut stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let share = index as f64 / plan.connections as f64;
    let mut due = plan.period.map(|period| tokio::time::Instant::now() + period.mul_f64(share));
    while !shared.over.get() {
        let asked = match (due, plan.period) {
            (Some(at), Some(period)) => {
                let late = at < tokio::time::Instant::now();
                sleep_until(at).await;
                due = Some(at + period);
                // The runtime's timer rounds up to a millisecond, which is not the proxy's delay; but where the
                // connection was still busy when it was due, waiting for it is.
                if late { at.into_std() } else { Instant::now() }
            }
            _ => Instant::now(),
        };
        let turn = shared.next.get();
        shared.next.set(if turn + 1 == plan.requests.len() { 0 } else { turn + 1 });
        stream.write_all(&plan.requests[turn]).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        shared.done.set(shared.done.get() + 1);
        if shared.open.get() {
            let mut counts = shared.counts.borrow_mut();
            counts.nanoseconds.push(u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX));
            counts.unexpected += u64::from(status != plan.expect);
            counts.last_status = status;
        }
    }
    Ok(())
}

/// Reads one whole response; its status.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
    let mut held = 0;
    let mut whole = None;
    loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        held += read;
        if whole.is_none()
            && let Some(head) = wire::head(&buffer[..held])
        {
            let body = head.content_length.ok_or_else(|| io::Error::other("response without Content-Length"))?;
            whole = Some(head.length + body);
        }
        if whole.is_some_and(|length| held >= length) {
            let digits = buffer.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
            return digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::Error::other("no status"));
        }
        if held == buffer.len() {
            return Err(io::Error::other("response larger than the buffer"));
        }
    }
}

/// User and system time of whole processes, ended threads included.
fn cpu_seconds(pids: &[String]) -> io::Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        ticks += fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

fn report(counts: &mut Counts, window: Duration, cpu: f64, own: f64) -> serde_json::Value {
    let sorted = &mut counts.nanoseconds;
    sorted.sort_unstable();
    let quantile = |share: f64| {
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).map(|&ns| f64::from(ns) / 1e3)
    };
    serde_json::json!({
        "requests": sorted.len(),
        "unexpected": counts.unexpected,
        "broken": counts.broken,
        "last_status": counts.last_status,
        "seconds": window.as_secs_f64(),
        "per_second": sorted.len() as f64 / window.as_secs_f64(),
        "cpu_seconds": cpu,
        "cpu_us_per_request": cpu * 1e6 / sorted.len() as f64,
        "load_cpu_seconds": own,
        "p50_us": quantile(0.5),
        "p90_us": quantile(0.9),
        "p99_us": quantile(0.99),
        "p999_us": quantile(0.999),
        "max_us": quantile(1.0),
    })
}

#[allow(clippy::print_stdout)] // the report is what this program is for
fn println_json(report: &serde_json::Value) {
    println!("{report}");
}

const BUFFER: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(5);
const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, fixed by the kernel's interface
const WARM_AT_MOST: Duration = Duration::from_secs(120);
