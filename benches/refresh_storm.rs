//! What forwarding to other sessions costs while a thousand sessions are renewed at once.
//!
//! `cargo bench --bench refresh_storm -- [--sessions 1000] [--rounds 10] [--bursts 3] [--rate 500] [--connections 16]
//! [--authority-ms 20] [--store memory|redb] [--json FILE]`
//!
//! One sidegate before an authority outside whose refresh tokens are good once. Clients of 16 sessions send requests
//! whose verdicts are cached, at a steady rate. Each round has a quiet visit, a storm visit and a busy one, in turns as to
//! which comes first. In a storm visit the clock is moved so that the authority's tokens of all the thousand sessions are
//! over, and each of them has a request at once, over HTTP/2; it lasts until all of those are answered, `--bursts`
//! times, and the quiet one as long. In a busy visit the thousand have a request at once as often, and nothing is to be
//! renewed: what a storm costs beyond that is the renewals alone, and not the cores that those requests take. A latency counts from when a request was to be sent, so that one which had to wait
//! for the one before it is not told better than it was.
//!
//! Ends with an error if a request is refused, or if the authority was not asked exactly once for each session and burst.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{
    error::Error,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sidegate::{
    app::App,
    config::{self, Address, Environment},
    model::Time,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    time::sleep_until,
};

#[path = "side_by_side/wire.rs"]
#[allow(dead_code)] // each bench takes what it needs
mod wire;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

/// Seconds that the authority's tokens live.
const LIFETIME: i64 = 300;
/// Streams of one connection.
const STREAMS: usize = 100;

struct Plan {
    sessions: usize,
    rounds: usize,
    bursts: usize,
    rate: usize,
    connections: usize,
    pause: Duration,
    store: String,
}

/// What one visit saw, in microseconds.
struct Visit {
    seconds: f64,
    latencies: Vec<u64>,
}

fn main() -> Result<(), Failure> {
    let number = |name: &str, default: usize| wire::option(name).map_or(Ok(default), |text| text.parse());
    let plan = Plan {
        sessions: number("--sessions", 1000)?,
        rounds: number("--rounds", 10)?,
        bursts: number("--bursts", 3)?,
        rate: number("--rate", 500)?,
        connections: number("--connections", 16)?,
        pause: Duration::from_millis(number("--authority-ms", 20)? as u64),
        store: wire::option("--store").unwrap_or_else(|| "memory".to_owned()),
    };
    let authority = Arc::new(Authority::default());
    // Neither shares a thread with who measures.
    let asked = authority.clone();
    let there = served(move |request| give(asked.clone(), plan.pause, request))?;
    let upstream = served(async |_| Response::new(Full::new(Bytes::from_static(b"hello"))))?;
    let time = Time::default();
    let app = App::start(configuration(&plan, there, upstream)?, time.clone())?;
    let Some(Address::Tcp(sidegate)) = app.address("main") else { return Err("it does not listen".into()) };
    let storm = runtime()?;
    let bystanders = storm.block_on(sign_in(sidegate, plan.connections))?;
    let sessions = storm.block_on(sign_in(sidegate, plan.sessions))?;
    let mut lines = Vec::new();
    for chunk in sessions.chunks(STREAMS) {
        let line = storm.block_on(async {
            let stream = TokioIo::new(TcpStream::connect(sidegate).await?);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            Ok::<http2::SendRequest<Full<Bytes>>, Failure>(sender)
        })?;
        lines.push((line, chunk.to_vec()));
    }
    // Everything is cached and every connection is there.
    storm.block_on(burst(&lines))?;
    visit(&plan, sidegate, &bystanders, || {
        thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;

    let (mut quiet, mut busy, mut stormy) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let mut length =
            quiet.last().map_or(Duration::from_secs(1), |visit: &Visit| Duration::from_secs_f64(visit.seconds));
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => {
                    quiet.push(visit(&plan, sidegate, &bystanders, || {
                        thread::sleep(length);
                        Ok(())
                    })?);
                    continue;
                }
                1 => {
                    busy.push(visit(&plan, sidegate, &bystanders, || {
                        for _ in 0..plan.bursts {
                            let begun = Instant::now();
                            storm.block_on(burst(&lines))?;
                            thread::sleep((length / plan.bursts as u32).saturating_sub(begun.elapsed()));
                        }
                        Ok(())
                    })?);
                    continue;
                }
                _ => {}
            }
            let before = authority.redeemed.load(SeqCst);
            let seen = visit(&plan, sidegate, &bystanders, || {
                for _ in 0..plan.bursts {
                    time.advance(LIFETIME);
                    storm.block_on(burst(&lines))?;
                }
                Ok(())
            })?;
            let redeemed = authority.redeemed.load(SeqCst) - before;
            if redeemed != plan.sessions * plan.bursts {
                return Err(
                    format!("{redeemed} redemptions for {} sessions, {} times", plan.sessions, plan.bursts).into()
                );
            }
            length = Duration::from_secs_f64(seen.seconds);
            stormy.push(seen);
        }
    }
    app.abort();
    report(&plan, &quiet, &busy, &stormy)
}

/// Requests of others while `what` goes on.
fn visit(
    plan: &Plan,
    sidegate: SocketAddr,
    tokens: &[String],
    what: impl FnOnce() -> Result<(), Failure>,
) -> Result<Visit, Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let period = Duration::from_secs_f64(plan.connections as f64 / plan.rate as f64);
    let (tokens, ends) = (tokens.to_vec(), over.clone());
    let measuring = thread::spawn(move || -> Result<Vec<u64>, Failure> {
        runtime()?.block_on(async {
            let count = tokens.len() as u32;
            let lines = tokens.into_iter().enumerate().map(|(number, token)| {
                let first = Instant::now() + period * number as u32 / count;
                steady(sidegate, token, first, period, ends.clone())
            });
            let seen: Result<Vec<Vec<u64>>, Failure> = join_all(lines).await.into_iter().collect();
            Ok(seen?.concat())
        })
    });
    let begun = Instant::now();
    let outcome = what();
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, SeqCst);
    let latencies = measuring.join().map_err(|_| "whoever measured panicked")??;
    outcome.map(|()| Visit { seconds, latencies })
}

/// One connection: a request in every period, until it is over.
async fn steady(
    sidegate: SocketAddr,
    token: String,
    first: Instant,
    period: Duration,
    over: Arc<AtomicBool>,
) -> Result<Vec<u64>, Failure> {
    let stream = TokioIo::new(TcpStream::connect(sidegate).await?);
    stream.inner().set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let (mut latencies, mut due) = (Vec::new(), first);
    while !over.load(SeqCst) {
        sleep_until(due.into()).await;
        let response = sender.send_request(request("/cached", &token)?).await?;
        good(response).await?;
        latencies.push(due.elapsed().as_micros() as u64);
        due += period;
    }
    Ok(latencies)
}

/// A request of every session at once.
async fn burst(lines: &[(http2::SendRequest<Full<Bytes>>, Vec<String>)]) -> Result<(), Failure> {
    let all = lines.iter().flat_map(|(line, tokens)| tokens.iter().map(move |token| (line.clone(), token)));
    let all = all.map(async |(mut line, token)| {
        let response = line.send_request(request("http://api.test/shown", token)?).await?;
        good(response).await
    });
    join_all(all).await.into_iter().collect()
}

fn request(target: &str, token: &str) -> Result<Request<Full<Bytes>>, Failure> {
    let request = Request::get(target).header("host", "api.test").header("authorization", format!("Bearer {token}"));
    Ok(request.body(Full::default())?)
}

async fn good(response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status == 200 { Ok(()) } else { Err(format!("{status} {}", String::from_utf8_lossy(&body)).into()) }
}

async fn sign_in(sidegate: SocketAddr, sessions: usize) -> Result<Vec<String>, Failure> {
    let stream = TokioIo::new(TcpStream::connect(sidegate).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let mut tokens = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        let form = "grant_type=password&username=ana&password=p&client_id=app";
        let request = Request::post("/oauth20/token")
            .header("host", "api.test")
            .header("content-type", "application/x-www-form-urlencoded");
        let response = sender.send_request(request.body(Full::new(Bytes::from(form)))?).await?;
        let answer: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
        tokens.push(answer["access_token"].as_str().ok_or_else(|| answer.to_string())?.to_owned());
    }
    Ok(tokens)
}

/// What the authority has done.
#[derive(Default)]
struct Authority {
    given: AtomicUsize,
    redeemed: AtomicUsize,
}

async fn give(authority: Arc<Authority>, pause: Duration, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if asked.windows(GRANT.len()).any(|part| part == GRANT) {
        authority.redeemed.fetch_add(1, SeqCst);
        tokio::time::sleep(pause).await;
    }
    let number = authority.given.fetch_add(1, SeqCst);
    let given = json!({"access_token": format!("at-{number}"), "refresh_token": format!("rt-{number}"),
        "token_type": "Bearer", "expires_in": LIFETIME});
    let mut response = Response::new(Full::new(Bytes::from(given.to_string())));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

const GRANT: &[u8] = b"grant_type=refresh_token";

/// A server with a thread of its own.
fn served<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Result<SocketAddr, Failure>
where
    F: Future<Output = Response<Full<Bytes>>> + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime()?;
    thread::spawn(move || {
        runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answering = answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answering.await) }
                });
                tokio::task::spawn_local(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
            #[allow(unreachable_code)] // says what the errors above are
            Ok::<(), std::io::Error>(())
        }))
    });
    Ok(address)
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn configuration(plan: &Plan, there: SocketAddr, upstream: SocketAddr) -> Result<config::Config, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("refresh-storm-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let secret = folder.join("secret");
    fs::write(&secret, "of-the-benchmark")?;
    let (store, keys) = match plan.store.as_str() {
        "memory" => (json!({"memory": {}}), json!({})),
        _ => (
            json!({"redb": {"path": folder.join("sessions.redb")}}),
            json!({"master_file": folder.join("master"), "generate": true}),
        ),
    };
    let policy = json!({"issuers": ["local"], "audiences": ["api"]});
    let settings = json!({
        "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
        "log": {"access": "refused", "level": "error"},
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "sessions_per_user": plan.sessions + plan.connections,
            "clients": [{"id": "app", "public": true, "grants": ["password", "refresh_token"],
                "access_token": {"lifetime": "1d"}, "refresh_token": {"idle": "1d", "absolute": "1d"}}],
            "remote": {"dialect": "oauth2", "url": format!("http://{there}"),
                "client": {"id": "sidegate", "secret_file": secret}},
        },
        "store": store,
        "keys": keys,
        "upstreams": [
            {"name": "cached", "url": format!("http://{upstream}"), "credential": {"none": {}}},
            {"name": "shown", "url": format!("http://{upstream}"), "credential": {"authority_token": {}}},
        ],
        "routes": [
            {"name": "cached", "paths": ["/cached"], "upstream": "cached", "policy": policy},
            {"name": "shown", "paths": ["/shown"], "upstream": "shown", "policy": policy},
        ],
    });
    // JSON is YAML.
    let loaded = config::load_str(&settings.to_string(), "bench.yaml", &folder, &Environment::default());
    Ok(loaded.map_err(|problems| problems.to_string())?.config)
}

fn report(plan: &Plan, quiet: &[Visit], busy: &[Visit], stormy: &[Visit]) -> Result<(), Failure> {
    let of = |visits: &[Visit], share: f64| -> Vec<u64> {
        visits.iter().map(|visit| percentile(visit.latencies.clone(), share)).collect()
    };
    let mut told = json!({
        "sessions": plan.sessions, "rounds": plan.rounds, "bursts": plan.bursts, "rate": plan.rate,
        "connections": plan.connections, "authority_ms": plan.pause.as_millis() as u64, "store": plan.store,
        "storm_seconds": stormy.iter().map(|visit| visit.seconds).sum::<f64>(),
        "requests": {
            "quiet": quiet.iter().map(|visit| visit.latencies.len()).sum::<usize>(),
            "busy": busy.iter().map(|visit| visit.latencies.len()).sum::<usize>(),
            "storm": stormy.iter().map(|visit| visit.latencies.len()).sum::<usize>(),
        },
    });
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (alone, beside, during) = (of(quiet, share), of(busy, share), of(stormy, share));
        let over = |other: &[u64]| median(&during) as f64 / median(other).max(1) as f64;
        let (to_quiet, to_busy) = (over(&alone), over(&beside));
        println!("{name} quiet: {alone:?} µs");
        println!("{name} busy:  {beside:?} µs");
        println!("{name} storm: {during:?} µs");
        println!("{name} ratio of medians: storm to quiet {to_quiet:.2}, storm to busy {to_busy:.2}");
        told[name] = json!({"quiet_us": alone, "busy_us": beside, "storm_us": during,
            "ratio_to_quiet": to_quiet, "ratio_to_busy": to_busy});
    }
    let burst = stormy.iter().map(|visit| visit.seconds).sum::<f64>() / (plan.rounds * plan.bursts).max(1) as f64;
    println!("{} sessions renewed in {:.0} ms each time", plan.sessions, burst * 1000.0);
    if let Some(file) = wire::option("--json") {
        fs::write(file, serde_json::to_string_pretty(&told)?)?;
    }
    Ok(())
}

fn percentile(mut latencies: Vec<u64>, share: f64) -> u64 {
    latencies.sort_unstable();
    let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(place).copied().unwrap_or_default()
}

fn median(values: &[u64]) -> u64 {
    percentile(values.to_vec(), 0.5)
}
