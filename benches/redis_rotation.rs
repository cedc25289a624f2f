//! How many refresh tokens rotate in a second in one local Redis, and what each of them asks of it.
//!
//! `cargo bench --bench redis_rotation -- [--sessions 1000] [--at-once 64] [--seconds 5] [--sync everysec] [--json FILE]`
//!
//! First the step alone, as a replica takes it, then the step with the look at the session that comes before it, which is
//! all that the refresh of a client asks of Redis. `--sync`: `appendfsync` of the append-only file, or `off`. Redis has a
//! core of its own only if there is one left. The commands are those that Redis counts.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use sidegate::{app::App, model::Time, session::Sessions};
use tokio::runtime::Builder;

use self::{
    redis_server::Redis,
    rotation::{Failure, Plan, Way},
};

#[path = "replicas/redis.rs"]
#[allow(dead_code)] // each bench takes what it needs
mod redis_server;
#[allow(dead_code)]
mod rotation;
#[path = "side_by_side/wire.rs"]
#[allow(dead_code)]
mod wire;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let plan = Plan::read(1000)?;
    let sync = wire::option("--sync").unwrap_or_else(|| "everysec".to_owned());
    let redis = Redis::start("redis-rotation", &sync)?;
    let config = redis.configuration(redis.address, "127.0.0.1:9".parse()?)?;
    let app = App::start(config, Time::default())?;
    let sessions = app.gate().endpoints().ok_or("no authority")?.grants.sessions.clone();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut told = json!({"sessions": plan.sessions, "at_once": plan.at_once, "sync": sync});
    for (name, way) in [("step", Way::Step), ("refresh", Way::Refresh)] {
        told[name] = runtime.block_on(measure(&redis, &sessions, way, plan))?;
        println!("{name}: {}", told[name]);
    }
    if let Some(file) = wire::option("--json") {
        fs::write(file, serde_json::to_string_pretty(&told)?)?;
    }
    app.abort();
    Ok(())
}

async fn measure(redis: &Redis, sessions: &Arc<Sessions>, way: Way, plan: Plan) -> Result<Value, Failure> {
    let mut made = rotation::make(sessions, plan).await?;
    // Scripts are known and connections there.
    rotation::turn(sessions, &mut made[0], way).await?;
    let before = redis.calls().await?;
    let mut seen = rotation::directly(sessions, made, way, plan).await?;
    let after = redis.calls().await?;
    let calls = after.into_iter().filter_map(|(name, calls)| {
        let earlier = before.iter().find(|(other, _)| *other == name).map_or(0, |(_, calls)| *calls);
        // What is asked now and then costs nobody anything.
        let each = (calls - earlier) as f64 / seen.turns as f64;
        (each > 0.01).then(|| (name, json!((each * 1000.0).round() / 1000.0)))
    });
    seen.told["commands_each"] = calls.collect::<serde_json::Map<_, _>>().into();
    Ok(seen.told)
}
