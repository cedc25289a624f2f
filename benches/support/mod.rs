//! The real authentication of the library, from a configuration, without listeners.

use std::{error::Error, fs, path::Path, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};
use sidegate::{
    app,
    auth::{
        Auth, Issuer,
        bearer::{self, Candidate},
        policy::Policy,
    },
    config::{self, Config, Environment, TokenPlace},
    jose::Minter,
    jwks::Provider,
    model::{Connection, Context, HeadLimits, Peer, RequestId, Time},
    telemetry::metrics::Metrics,
};
use tokio::runtime::Runtime;

use crate::mint::{AUDIENCE, ISSUER};

pub struct House {
    pub config: Config,
    pub auth: Auth,
    pub policy: Policy,
    pub runtime: Runtime,
}

/// A request that came a moment ago.
pub fn context() -> Context {
    Context {
        now: Time::default().now(),
        moment: Time::default().now_millis(),
        started: Instant::now(),
        id: RequestId::new(7),
        trace: None,
        client: None,
        connection: Arc::new(Connection::new(
            "main".into(),
            HeadLimits { bytes: 32 * 1024, count: 100 },
            None,
            Peer::Unix,
            false,
            0,
        )),
    }
}

/// One issuer with `keys`, one upstream that receives `credential` and `identity` headers, one route.
pub fn build(keys: &Value, credential: &Value, identity: &Value, cache: &Value) -> Result<House, Box<dyn Error>> {
    app::install_crypto();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(format!("jwks-{}.json", std::process::id()));
    fs::write(&file, keys.to_string())?;
    let settings = json!({
        "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
        "issuers": [{
            "name": "corp", "issuer": ISSUER, "jwks_file": file, "algorithms": ["RS256", "ES256", "EdDSA"],
        }],
        "internal_jwt": {"issuer": "https://sidegate.internal", "algorithm": "ES256"},
        "upstreams": [{
            "name": "orders", "url": "http://127.0.0.1:3000", "credential": credential,
            "identity_headers": identity,
        }],
        "routes": [
            {"name": "health", "paths": ["/healthz"], "upstream": "orders", "public": true},
            {"name": "order", "paths": ["/orders/{id}"], "methods": ["GET"], "upstream": "orders",
             "policy": {"issuers": ["corp"], "audiences": [AUDIENCE], "scopes_all": ["orders"]}},
        ],
        "cache": cache,
    });
    let loaded = config::load_str(&settings.to_string(), "bench", directory, &Environment::default());
    let config = loaded.map_err(|problems| problems.to_string())?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let time = Time::default();
    let issuers: Vec<Issuer> = config
        .issuers
        .iter()
        .map(|settings| Issuer {
            settings: settings.clone(),
            keys: Provider::start(settings.clone(), time.clone(), runtime.handle()),
            asker: None,
        })
        .collect();
    for issuer in &issuers {
        runtime.block_on(issuer.keys.ready_or_wait())?;
    }
    fs::remove_file(file)?;
    let minter = config.internal_jwt.as_ref().map(Minter::new).transpose()?.map(Arc::new);
    let auth = Auth::new(&config, issuers, None, minter, Arc::new(Metrics::new()))?;
    let settings = config.routes.iter().find_map(|route| route.policy.as_ref()).ok_or("no policy")?;
    let policy = auth.policy(settings);
    Ok(House { config, auth, policy, runtime })
}

/// `Authorization: Bearer token`, and the token found in it as a request's is.
pub struct Bearer(HeaderMap);

impl Bearer {
    pub fn new(token: &str) -> Result<Bearer, Box<dyn Error>> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        Ok(Bearer(headers))
    }

    pub fn token(&self) -> Result<Candidate<'_>, Box<dyn Error>> {
        Ok(bearer::extract(&self.0, &PLACE, None)?)
    }
}

const PLACE: TokenPlace = TokenPlace { header: AUTHORIZATION, query_parameter: None, basic: None };
