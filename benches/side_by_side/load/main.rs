//! The load generator: connections, each with one request under way at a time, as fast as the answers come.
//!
//! `bench_load --address 127.0.0.1:8080 --seconds 3 [--path /] [--connections 64] [--tokens FILE [--first N]]
//! [--warm-seconds 1] [--warm-requests N] [--from N] [--stride N] [--upload BYTES] [--expect 200] [--pid PID]...`, and
//! one way to ask:
//!
//! - nothing: HTTP/1.1, connections kept alive; with `--under-way N` only so many of them ask at the same time;
//! - `--streams N`: HTTP/2, with N requests under way on each connection;
//! - `--fresh`: a connection for each request, with `Connection: close`;
//! - `--rate PER_SECOND`: HTTP/1.1, each request at its time whatever became of the one before;
//! - `--hold`: opens the connections, asks once over each, says so, and keeps them until its standard input ends.
//!
//! `--tls CA.pem` speaks TLS 1.3 with one cipher suite and one group, X25519 or with `--hybrid` X25519MLKEM768; with
//! `--resume` each connection uses a ticket of the one before. `--fresh` counts a handshake that was not as said.
//!
//! Each request carries the next token of the file, from the first one on or from another, and the next one or one further
//! on. After the warm-up (both its time and its requests) comes the
//! window; what ended inside it is counted, together with the CPU time that the processes `--pid` spent in it.
//! One JSON object on stdout.

use std::error::Error;

use tokio::task::LocalSet;

mod answer;
mod counts;
mod fresh;
mod hold;
mod keep_alive;
mod paced;
mod plan;
mod shared;
mod streams;
mod transport;
#[path = "../wire.rs"]
mod wire;

use plan::{Plan, Way};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::read()?;
    let local = LocalSet::new();
    let report = match plan.way {
        Way::KeepAlive => local.run_until(shared::run(plan, keep_alive::ask)).await?,
        Way::Streams(_) => local.run_until(shared::run(plan, streams::ask)).await?,
        Way::Fresh => local.run_until(shared::run(plan, fresh::ask)).await?,
        Way::Paced(rate) => paced::run(&plan, rate)?,
        Way::Hold => local.run_until(hold::run(plan)).await?,
    };
    println_json(&report);
    Ok(())
}

#[allow(clippy::print_stdout)] // the report is what this program is for
fn println_json(report: &serde_json::Value) {
    println!("{report}");
}
