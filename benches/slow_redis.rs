//! What forwarding with cached tokens costs while Redis is slow.
//!
//! `cargo bench --bench slow_redis -- [--rounds 5] [--seconds 3] [--rate 500] [--connections 16] [--latency-ms 200]
//! [--json FILE]`
//!
//! One sidegate, whose way to Redis is a relay that can be slow. Clients whose verdicts are cached send requests at a
//! steady rate, while others refresh without a pause, each of which waits for Redis. Visits with and without the latency
//! take turns. A request's time counts from when it was to be sent.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{
    error::Error,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sidegate::{app::App, config::Address, model::Time};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    time::sleep_until,
};

use self::{
    redis_server::{Redis, percentile},
    relay::Relay,
};

#[path = "replicas/redis.rs"]
#[allow(dead_code)] // each bench takes what it needs
mod redis_server;
#[path = "../tests/it/support/relay.rs"]
#[allow(dead_code, clippy::unwrap_used)] // of the tests
mod relay;
#[path = "side_by_side/wire.rs"]
#[allow(dead_code)]
mod wire;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

/// Who refreshes meanwhile.
const REFRESHING: usize = 8;

fn main() -> Result<(), Failure> {
    let number = |name: &str, default: usize| wire::option(name).map_or(Ok(default), |text| text.parse());
    let (rounds, length) = (number("--rounds", 5)?, Duration::from_secs(number("--seconds", 3)? as u64));
    let (rate, connections) = (number("--rate", 500)?, number("--connections", 16)?);
    let latency = Duration::from_millis(number("--latency-ms", 200)? as u64);
    let redis = Redis::start("slow-redis", "everysec")?;
    // Neither of them shares a thread with who measures.
    let beside = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let relay = beside.block_on(async { Relay::to(redis.address).await });
    let upstream = beside.block_on(serve())?;
    let app = App::start(redis.configuration(relay.address, upstream)?, Time::default())?;
    let Some(Address::Tcp(sidegate)) = app.address("main") else { return Err("it does not listen".into()) };
    let tokens = runtime()?.block_on(async {
        let given = join_all((0..connections).map(|_| grant(sidegate, SIGN_IN.to_owned()))).await;
        given.into_iter().map(|given| Ok(text(&given?, "access_token")?)).collect::<Result<Vec<_>, Failure>>()
    })?;
    let (over, refreshed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let refreshing: Vec<_> =
        (0..REFRESHING).map(|_| beside.spawn(refresh(sidegate, over.clone(), refreshed.clone()))).collect();
    // Every verdict is cached and every connection there.
    visit(sidegate, &tokens, rate, Duration::from_secs(1))?;
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2 {
            let is_slow = (round + turn) % 2 == 1;
            relay.delays(if is_slow { latency } else { Duration::ZERO });
            let before = refreshed.load(SeqCst);
            let latencies = visit(sidegate, &tokens, rate, length)?;
            let refreshed = refreshed.load(SeqCst) - before;
            if is_slow { &mut slow } else { &mut quick }.push((latencies, refreshed));
        }
    }
    relay.open();
    over.store(true, SeqCst);
    beside.block_on(async { join_all(refreshing).await }).into_iter().try_for_each(|done| done?)?;
    app.abort();
    report(latency, &quick, &slow)
}

/// Latencies of requests at this rate, in microseconds.
fn visit(sidegate: SocketAddr, tokens: &[String], rate: usize, length: Duration) -> Result<Vec<u64>, Failure> {
    let (period, count) = (Duration::from_secs_f64(tokens.len() as f64 / rate as f64), tokens.len() as u32);
    let end = Instant::now() + length;
    runtime()?.block_on(async {
        let lines = tokens.iter().enumerate().map(async |(number, token)| {
            let mut due = Instant::now() + period * number as u32 / count;
            let mut line = connect(sidegate).await?;
            let mut latencies = Vec::new();
            while due < end {
                sleep_until(due.into()).await;
                let asked =
                    Request::get("/").header("host", "api.test").header("authorization", format!("Bearer {token}"));
                good(line.send_request(asked.body(Full::default())?).await?).await?;
                latencies.push(due.elapsed().as_micros() as u64);
                due += period;
            }
            Ok::<_, Failure>(latencies)
        });
        let seen: Result<Vec<Vec<u64>>, Failure> = join_all(lines).await.into_iter().collect();
        Ok(seen?.concat())
    })
}

/// One client that refreshes without a pause: each time Redis is asked.
async fn refresh(sidegate: SocketAddr, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<(), Failure> {
    let mut given = grant(sidegate, SIGN_IN.to_owned()).await?;
    while !over.load(SeqCst) {
        let token = text(&given, "refresh_token")?;
        given = grant(sidegate, format!("grant_type=refresh_token&refresh_token={token}&client_id=app")).await?;
        count.fetch_add(1, SeqCst);
    }
    Ok(())
}

const SIGN_IN: &str = "grant_type=password&username=ana&password=p&client_id=app";

async fn grant(sidegate: SocketAddr, form: String) -> Result<Value, Failure> {
    let mut line = connect(sidegate).await?;
    let asked = Request::post("/oauth20/token")
        .header("host", "api.test")
        .header("content-type", "application/x-www-form-urlencoded");
    let body = good(line.send_request(asked.body(Full::from(form))?).await?).await?;
    Ok(serde_json::from_slice(&body)?)
}

fn text(given: &Value, name: &str) -> Result<String, String> {
    given[name].as_str().map(str::to_owned).ok_or_else(|| given.to_string())
}

async fn connect(sidegate: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
    let stream = TokioIo::new(TcpStream::connect(sidegate).await?);
    stream.inner().set_nodelay(true)?;
    let (sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn good(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status == 200 { Ok(body) } else { Err(format!("{status} {}", String::from_utf8_lossy(&body)).into()) }
}

/// An upstream that says hello.
async fn serve() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |_: Request<Incoming>| {
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            });
            tokio::spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn report(latency: Duration, quick: &[(Vec<u64>, u64)], slow: &[(Vec<u64>, u64)]) -> Result<(), Failure> {
    let mut told = json!({"latency_ms": latency.as_millis() as u64, "rounds": quick.len()});
    let refreshes = |visits: &[(Vec<u64>, u64)]| visits.iter().map(|(_, refreshes)| refreshes).sum::<u64>();
    println!("refreshes meanwhile: {} with a quick Redis, {} with a slow one", refreshes(quick), refreshes(slow));
    told["refreshes"] = json!({"quick": refreshes(quick), "slow": refreshes(slow)});
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |visits: &[(Vec<u64>, u64)]| -> Vec<u64> {
            visits.iter().map(|(latencies, _)| percentile(latencies.clone(), share)).collect()
        };
        let (without, with) = (of(quick), of(slow));
        let ratio = percentile(with.clone(), 0.5) as f64 / percentile(without.clone(), 0.5).max(1) as f64;
        println!("{name}: quick {without:?} µs, slow {with:?} µs, ratio of medians {ratio:.2}");
        told[name] = json!({"quick_us": without, "slow_us": with, "ratio": ratio});
    }
    if let Some(file) = wire::option("--json") {
        fs::write(file, serde_json::to_string_pretty(&told)?)?;
    }
    Ok(())
}
