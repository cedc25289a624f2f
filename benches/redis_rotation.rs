//! How many refresh tokens rotate in a second in one local Redis, and what each of them asks of it.
//!
//! `cargo bench --bench redis_rotation -- [--sessions 1000] [--at-once 64] [--seconds 5] [--sync everysec] [--json FILE]`
//!
//! First the step alone, as a replica takes it, then the step with the look at the session that comes before it, which is
//! all that the refresh of a client asks of Redis. `--sync`: `appendfsync` of the append-only file, or `off`. Redis has a
//! core of its own only if there is one left. The commands are those that Redis counts.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{
    error::Error,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sidegate::{
    app::App,
    model::{GrantType, Scope, Time},
    session::{Access, Granted, Outcome, Refreshed, Rotate, Session, SessionId, Sessions, State},
};
use tokio::{runtime::Builder, task::JoinSet};

use self::redis_server::{Redis, percentile};

#[path = "replicas/redis.rs"]
mod redis_server;
#[path = "side_by_side/wire.rs"]
#[allow(dead_code)] // each bench takes what it needs
mod wire;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

/// What is done with a session, again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Step,
    Refresh,
}

fn main() -> Result<(), Failure> {
    let number = |name: &str, default: usize| wire::option(name).map_or(Ok(default), |text| text.parse());
    let (count, at_once) = (number("--sessions", 1000)?, number("--at-once", 64)?);
    let length = Duration::from_secs(number("--seconds", 5)? as u64);
    let sync = wire::option("--sync").unwrap_or_else(|| "everysec".to_owned());
    let redis = Redis::start("redis-rotation", &sync)?;
    let config = redis.configuration(redis.address, "127.0.0.1:9".parse()?)?;
    let app = App::start(config, Time::default())?;
    let sessions = app.gate().endpoints().ok_or("no authority")?.grants.sessions.clone();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut told = json!({"sessions": count, "at_once": at_once, "sync": sync});
    for (name, way) in [("step", Way::Step), ("refresh", Way::Refresh)] {
        told[name] = runtime.block_on(measure(&redis, &sessions, way, count, at_once, length))?;
        println!("{name}: {}", told[name]);
    }
    if let Some(file) = wire::option("--json") {
        fs::write(file, serde_json::to_string_pretty(&told)?)?;
    }
    app.abort();
    Ok(())
}

async fn measure(
    redis: &Redis,
    sessions: &Arc<Sessions>,
    way: Way,
    count: usize,
    at_once: usize,
    length: Duration,
) -> Result<Value, Failure> {
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let session = session(sessions)?;
        sessions.store().create(session.clone(), u32::MAX).await?;
        made.push((session, 1));
    }
    // Scripts are known and connections there.
    turn(sessions, &mut made[0], way).await?;
    let before = redis.calls().await?;
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    while !made.is_empty() {
        let mut own = made.split_off(made.len() - made.len().min(count.div_ceil(at_once)));
        let sessions = sessions.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            'measured: loop {
                for one in &mut own {
                    if begun.elapsed() > length {
                        break 'measured;
                    }
                    let asked = Instant::now();
                    turn(&sessions, one, way).await?;
                    latencies.push(asked.elapsed().as_micros() as u64);
                }
            }
            Ok::<_, Failure>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(of) = tasks.join_next().await {
        latencies.extend(of??);
    }
    let (seconds, turns) = (begun.elapsed().as_secs_f64(), latencies.len());
    let after = redis.calls().await?;
    let calls = after.into_iter().filter_map(|(name, calls)| {
        let earlier = before.iter().find(|(other, _)| *other == name).map_or(0, |(_, calls)| *calls);
        // What is asked now and then costs nobody anything.
        let each = (calls - earlier) as f64 / turns as f64;
        (each > 0.01).then(|| (name, json!((each * 1000.0).round() / 1000.0)))
    });
    Ok(json!({
        "per_second": (turns as f64 / seconds).round(),
        "p50_us": percentile(latencies.clone(), 0.5),
        "p99_us": percentile(latencies, 0.99),
        "commands_each": calls.collect::<serde_json::Map<_, _>>(),
    }))
}

async fn turn(sessions: &Sessions, (session, generation): &mut (Session, u64), way: Way) -> Result<(), Failure> {
    if way == Way::Refresh {
        sessions.find(session.id).await?.ok_or("the session is gone")?;
    }
    let now = sessions.now();
    let access = Access { digest: SessionId::random()?.0, issued: now, ..session.state.access[0].clone() };
    let step = Rotate { client: "app".to_owned(), presented: *generation, stable: false, idle: 86_400, access };
    match sessions.refresh(session, step).await? {
        Refreshed::Good { outcome: Outcome::Rotated { generation: next }, .. } => *generation = next,
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

/// As a sign-in makes one.
fn session(sessions: &Sessions) -> Result<Session, Failure> {
    let now = sessions.now();
    let granted = Granted {
        subject: "sub-ana".to_owned(),
        username: Some("ana".to_owned()),
        grant: GrantType::Password,
        scope: Scope::parse("orders profile").map_err(|_| "a scope")?,
        audiences: vec!["api".to_owned()],
        claims: [("email".to_owned(), json!("ana@example.com"))].into_iter().collect(),
        auth_time: now,
        credential: Some([3; 16]),
        salt: [7; 16],
        master_key: sessions.ring().current(),
        outside: false,
    };
    let access = Access {
        digest: SessionId::random()?.0,
        issued: now,
        expires: now.plus(3600),
        generation: 1,
        scope: None,
        audiences: None,
        foreign: false,
        grace: 0,
    };
    let state = State {
        client: "app".to_owned(),
        created: now,
        absolute: now.plus(86_400),
        idle_until: now.plus(86_400),
        generation: 1,
        form: sidegate::model::RefreshForm::Full,
        rotated_at: now,
        acknowledged: 0,
        retries: 0,
        revoked: None,
        access: vec![access],
        vouched: None,
    };
    Ok(Session { id: SessionId::random()?, state, granted, held: None })
}
