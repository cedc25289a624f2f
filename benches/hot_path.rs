//! The pieces of a forwarded request, one by one.
//!
//! `cargo bench --bench hot_path [-- NAME]`

use std::{error::Error, hint::black_box, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{BatchSize, Criterion};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use sidegate::{
    jose::{KeySet, peek},
    model::{RequestId, Time},
    proxy::{
        headers::{HeaderRules, Hop, Outgoing},
        path::canonical,
        routes::Routes,
    },
};

#[path = "side_by_side/mint.rs"]
mod mint;
#[allow(dead_code)] // each bench takes what it needs
mod support;

use mint::Signer;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let signer = Signer::generate("RS256")?;
    let (credential, identity) = (json!({"internal_jwt": {"audience": "orders"}}), json!({"X-Forwarded-User": "sub"}));
    let house = support::build(&signer.key_set()?, &credential, &identity, &json!({}))?;
    route(&mut criterion, &house)?;
    cache(&mut criterion, &house, &signer)?;
    headers(&mut criterion, &house)?;
    verify(&mut criterion, &house)?;
    internal_token(&mut criterion, &house)?;
    criterion.final_summary();
    Ok(())
}

fn route(criterion: &mut Criterion, house: &support::House) -> Result<(), Box<dyn Error>> {
    let routes = Routes::build(&house.config.routes).map_err(|_| "conflicting routes")?;
    criterion.bench_function("canonical path", |bencher| {
        bencher.iter(|| canonical(black_box("/orders/4711")).map(|path| path.is_plain()));
    });
    let path = canonical("/orders/4711")?;
    criterion.bench_function("route", |bencher| {
        bencher.iter(|| routes.find(black_box("api.example.com"), &path, &Method::GET).ok());
    });
    Ok(())
}

fn cache(criterion: &mut Criterion, house: &support::House, signer: &Signer) -> Result<(), Box<dyn Error>> {
    let context = support::context();
    let tokens = signer.tokens(0, 1_000, TOKEN_BYTES)?;
    let bearers: Vec<_> = tokens.iter().map(|token| support::Bearer::new(token)).collect::<Result<_, _>>()?;
    let mut next = bearers.iter().cycle();
    let token = &tokens[0];
    criterion.bench_function("digest of a token", |bencher| {
        bencher.iter(|| house.auth.cache().digest(black_box(token.as_bytes())));
    });
    let enter = |bearer: &support::Bearer| {
        let token = bearer.token().ok()?;
        let principal = house.runtime.block_on(house.auth.authenticate(token, &house.policy, &context)).ok();
        principal.map(|principal| house.auth.prepare(&principal, 0, Duration::ZERO, context.now).is_ok())
    };
    criterion.bench_function("authenticate and prepare, cached, 1 token", |bencher| {
        bencher.iter(|| enter(black_box(&bearers[0])));
    });
    criterion.bench_function("authenticate and prepare, cached, 1,000 tokens", |bencher| {
        bencher.iter(|| next.next().map(enter));
    });
    Ok(())
}

fn headers(criterion: &mut Criterion, house: &support::House) -> Result<(), Box<dyn Error>> {
    let rules = HeaderRules::new(&house.config);
    let identity = [(HeaderName::from_static("x-forwarded-user"), HeaderValue::from_static("user-1"))];
    let credential = HeaderValue::from_str(&format!("Bearer {}", "x".repeat(480)))?;
    let id = RequestId::new(7);
    let client: HeaderMap = [
        ("host", "api.example.com"),
        ("user-agent", "bench"),
        ("accept", "application/json"),
        ("authorization", "Bearer x"),
        ("x-forwarded-for", "192.0.2.1"),
        ("accept-encoding", "gzip"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect();
    let peer = HeaderValue::from_static("127.0.0.1");
    criterion.bench_function("headers out", |bencher| {
        bencher.iter_batched_ref(
            || client.clone(),
            |headers| {
                let hop = Hop { peer: Some(&peer), tls: false, host: "api.example.com", trusted: false };
                let outgoing = Outgoing {
                    route: 1,
                    hop,
                    upgrade: false,
                    http2: false,
                    credential: Some(&credential),
                    identity: &identity,
                    request_id: black_box(id.header()),
                };
                rules.prepare(headers, &outgoing);
            },
            BatchSize::SmallInput,
        );
    });
    Ok(())
}

/// Beside what the crypto library needs for the signature alone, with a key that it has read once.
fn verify(criterion: &mut Criterion, house: &support::House) -> Result<(), Box<dyn Error>> {
    let now = Time::default().now();
    let issuer = &house.config.issuers[0];
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let signer = Signer::generate(algorithm)?;
        let (keys, _) = KeySet::parse(signer.key_set()?.to_string().as_bytes())?;
        let token = signer.token(0, TOKEN_BYTES)?;
        criterion.bench_function(&format!("verify {algorithm}"), |bencher| {
            bencher.iter(|| peek(black_box(&token)).and_then(|peek| peek.verify(issuer, &keys, now)).is_ok());
        });
        let (message, signature) = token.rsplit_once('.').ok_or("no signature")?;
        let (key, signature) = (signer.verifier()?, URL_SAFE_NO_PAD.decode(signature)?);
        criterion.bench_function(&format!("verify {algorithm}, the crypto library alone"), |bencher| {
            bencher.iter(|| key.verify_sig(black_box(message.as_bytes()), &signature).is_ok());
        });
    }
    Ok(())
}

fn internal_token(criterion: &mut Criterion, house: &support::House) -> Result<(), Box<dyn Error>> {
    let now = Time::default().now();
    let minter = house.auth.minter().ok_or("no signer of internal tokens")?;
    let claims: Map<String, Value> =
        [("sub", "user-00000001"), ("client_id", "web-shop"), ("scope", "openid profile orders")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
    criterion.bench_function("mint the internal token, ES256", |bencher| {
        bencher.iter(|| minter.mint(black_box("orders"), &claims, now, now.plus(120)).is_ok());
    });
    Ok(())
}

const TOKEN_BYTES: usize = 869;
