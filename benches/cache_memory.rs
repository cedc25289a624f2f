//! What the token cache holds and takes, with tokens that really differ.
//!
//! `cargo bench --bench cache_memory [-- --tokens 1000000]`: that many distinct 900-byte Ed25519 tokens go through the
//! authentication of the library. Shown are the entries that stay, the bytes that the cache counts, and the growth of
//! the process; then a thousand tokens in steady use, through a flood of refused tokens and one of good ones. Ends with
//! an error if the process grows by more than the configured bound (and a tenth for the allocator), or if a flood of
//! refused tokens displaces one good entry.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{
    env,
    error::Error,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sidegate::auth::{
    Auth,
    verdict::{Prepared, Verdict},
};

#[path = "side_by_side/mint.rs"]
mod mint;
#[allow(dead_code)] // each bench takes what it needs
mod support;
#[path = "side_by_side/wire.rs"]
#[allow(dead_code)]
mod wire;

use mint::Signer;
use support::House;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let tokens = wire::option("--tokens").map_or(Ok(1_000_000), |text| text.parse())?;
    if let Some(name) = wire::option("--only") {
        let wanted = shown().into_iter().find(|(known, ..)| *known == name).ok_or("nothing of that name")?;
        return measure(wanted, tokens);
    }
    println!(
        "a verdict: {} bytes, behind two counts; its ready headers: {} bytes, behind two counts, and what they say",
        size_of::<Verdict>(),
        size_of::<Prepared>(),
    );
    let mut broken = false;
    for (name, ..) in shown() {
        // Each in a process of its own: what the one before has given back would be taken again, and look like nothing.
        let mut again = Command::new(env::current_exe()?);
        broken |= !again.args(["--only", name, "--tokens", &tokens.to_string()]).status()?.success();
    }
    if broken { Err("see above".into()) } else { Ok(()) }
}

/// What an upstream is shown: a name for it, its credential, its identity headers.
fn shown() -> [(&'static str, Value, Value); 3] {
    let (original, user) = (json!({"original": {}}), json!({"X-Forwarded-User": "sub"}));
    [
        ("internal_jwt+identity", json!({"internal_jwt": {"audience": "orders"}}), user.clone()),
        ("original+identity", original.clone(), user),
        ("original", original, json!({})),
    ]
}

fn measure((name, credential, identity): (&str, Value, Value), tokens: u64) -> Result<(), Box<dyn Error>> {
    let signer = Signer::generate("EdDSA")?;
    let bound_mib = 64;
    println!("credential {name}, cache.max_bytes {bound_mib}MiB");
    let house = || {
        let cache = json!({"max_bytes": format!("{bound_mib}MiB")});
        support::build(&signer.key_set()?, &credential, &identity, &cache)
    };
    let mut broken = fill(&house()?, &signer, tokens, bound_mib)?;
    broken.extend(flood(&house()?, &signer, tokens)?);
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

/// Distinct tokens, each once, with the headers made for the upstream.
fn fill(house: &House, signer: &Signer, tokens: u64, bound_mib: u64) -> Result<Vec<String>, Box<dyn Error>> {
    // What the generator needs for itself is there before the first measurement.
    signer.tokens(0, CHUNK, TOKEN_BYTES)?;
    let (before, begun) = (resident_kib()?, Instant::now());
    let (mut half, mut highest) = (0, before);
    for first in (0..tokens).step_by(CHUNK as usize) {
        for token in signer.tokens(first, CHUNK.min(tokens - first), TOKEN_BYTES)? {
            ask(house, &token)?;
        }
        let entries = house.auth.cache().snapshot()[0].entries;
        highest = highest.max(resident_kib()?);
        // As full as side_by_side makes it; more than that, the bound does.
        if half == 0 && entries >= 50_000 {
            half = 1;
            println!(
                "  {entries} entries: {:.0} bytes of memory each",
                grown(before)? as f64 * 1024.0 / entries as f64
            );
        }
    }
    let [verdicts, _] = house.auth.cache().snapshot();
    let grown = highest - before;
    println!(
        "  {tokens} tokens of {TOKEN_BYTES} bytes in {:.1} s: {} entries, {:.1} MiB counted ({:.0} bytes each); \
         resident memory grew by {:.1} MiB at most ({:.0} bytes an entry)",
        begun.elapsed().as_secs_f64(),
        verdicts.entries,
        verdicts.bytes as f64 / MIB,
        verdicts.bytes as f64 / verdicts.entries as f64,
        grown as f64 / 1024.0,
        grown as f64 * 1024.0 / verdicts.entries as f64,
    );
    let allowed = bound_mib * 1024 * 11 / 10;
    Ok((grown > allowed).then(|| format!("grew by {grown} KiB where {allowed} are allowed")).into_iter().collect())
}

/// A thousand tokens in steady use: each asked once while a flood of `tokens / 100` passes.
fn flood(house: &House, signer: &Signer, tokens: u64) -> Result<Vec<String>, Box<dyn Error>> {
    let good = signer.tokens(0, GOOD, TOKEN_BYTES)?;
    for token in good.iter().cycle().take(3 * good.len()) {
        ask(house, token)?;
    }
    let refused = pass(house, signer, &good, tokens, |index| signer.forged(index, TOKEN_BYTES))?;
    let [verdicts, refusals] = house.auth.cache().snapshot();
    println!(
        "  {tokens} forged tokens: {} of {} good requests hit; {} verdicts and {} refusals ({:.1} MiB counted) are kept",
        refused.hits,
        refused.asked,
        verdicts.entries,
        refusals.entries,
        refusals.bytes as f64 / MIB,
    );
    let displaced = pass(house, signer, &good, tokens, |index| signer.token(index, TOKEN_BYTES))?;
    println!("  {tokens} other good tokens: {} of {} good requests hit", displaced.hits, displaced.asked);
    Ok((refused.hits < refused.asked).then(|| "a forged token displaced a good one".to_owned()).into_iter().collect())
}

struct Passed {
    asked: usize,
    hits: usize,
}

fn pass(
    house: &House,
    signer: &Signer,
    good: &[String],
    tokens: u64,
    make: impl Fn(u64) -> Result<String, Box<dyn Error>> + Sync,
) -> Result<Passed, Box<dyn Error>> {
    let mut passed = Passed { asked: 0, hits: 0 };
    let mut steady = good.iter().cycle();
    for first in (0..tokens).step_by(CHUNK as usize) {
        let flood = signer.many(FLOOD_FROM + first, CHUNK.min(tokens - first), &make)?;
        for (index, token) in flood.iter().enumerate() {
            // Whether it is refused or not is the caller's choice of tokens.
            let _ = ask(house, token);
            if index % 10 == 0
                && let Some(token) = steady.next()
            {
                passed.asked += 1;
                passed.hits += usize::from(is_kept(&house.auth, token));
                ask(house, token)?;
            }
        }
    }
    Ok(passed)
}

fn is_kept(auth: &Auth, token: &str) -> bool {
    auth.cache().digest(token.as_bytes()).is_ok_and(|digest| auth.cache().find(digest).is_some())
}

fn ask(house: &House, token: &str) -> Result<(), Box<dyn Error>> {
    let context = support::context();
    let bearer = support::Bearer::new(token)?;
    let principal = house
        .runtime
        .block_on(house.auth.authenticate(bearer.token()?, &house.policy, &context))
        .map_err(|refusal| refusal.code)?;
    house.auth.prepare(&principal, 0, Duration::ZERO, context.now)?;
    Ok(())
}

fn grown(before: u64) -> Result<u64, Box<dyn Error>> {
    Ok(resident_kib()?.saturating_sub(before))
}

fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

const TOKEN_BYTES: usize = 900;
const CHUNK: u64 = 2_000;
const GOOD: u64 = 1_000;
/// Beyond every token that is in steady use.
const FLOOD_FROM: u64 = 10_000_000;
const MIB: f64 = 1024.0 * 1024.0;
