//! `sidegate quickstart`: an upstream, an issuer and sidegate in front, in one process, and what to try with curl.

mod echo;
mod issuer;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use self::{echo::Echo, issuer::Issuer};
use super::{output, run};
use crate::{
    app::App,
    config::{self, Address},
    model::{BoxError, Time},
    server::PlainServer,
    telemetry::log,
};

#[derive(clap::Args)]
pub struct Options {
    /// The port to serve on; a free one is taken if somebody else has it.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub fn quickstart(options: &Options) -> ExitCode {
    output::finish(start(options))
}

fn start(options: &Options) -> Result<(), BoxError> {
    crate::app::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let loopback = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));

    let (upstream, keys) = {
        let _inside = runtime.enter();
        (PlainServer::bind("echo", &loopback)?, PlainServer::bind("issuer", &loopback)?)
    };
    let (upstream_url, issuer_url) = (url(&upstream.address()), url(&keys.address()));
    let issuer = Arc::new(Issuer::new(issuer_url.clone())?);
    runtime.spawn(upstream.serve(Arc::new(Echo)));
    runtime.spawn(keys.serve(issuer.clone()));

    let environment: config::Environment = [
        ("QUICKSTART_ADDRESS", free(options.port)),
        ("QUICKSTART_HEALTH", free(9901)),
        ("QUICKSTART_ADMIN", free(9902)),
        ("QUICKSTART_ISSUER", issuer_url),
        ("QUICKSTART_UPSTREAM", upstream_url),
    ]
    .into_iter()
    .collect();
    let text = include_str!("../../../config/quickstart.yaml");
    let config = config::load_str(text, "quickstart.yaml", Path::new("."), &environment)?.config;
    log::install(&config.log)?;
    let app = App::start(config, Time::default())?;
    print(&app, &issuer)?;
    run::until_signalled(&app, || {})?;
    output::print("\nDrained.\n")?;
    Ok(())
}

fn print(app: &App, issuer: &Issuer) -> Result<(), BoxError> {
    let address = |name| app.address(name).map(|address| url(&address)).unwrap_or_default();
    let (public, health, admin) = (address("public"), address("health"), address("admin"));
    let now = Time::default().now();
    let good = issuer.token(now, now.plus(3600), "orders")?;
    let expired = issuer.token(now.minus(7200), now.minus(3600), "orders")?;
    let narrow = issuer.token(now, now.plus(3600), "profile")?;
    let text = format!(
        "sidegate {version} stands in front of an echo upstream and trusts an issuer, all in this process.

Try, in another terminal:

# A good token: 200. The upstream sees X-Forwarded-User and a token of sidegate's own, never the client's.
curl -i -H 'Authorization: Bearer {good}' {public}/orders/7

# No token: 401 with a challenge; the upstream hears nothing.
curl -i {public}/orders/7

# An expired token: 401 invalid_token.
curl -i -H 'Authorization: Bearer {expired}' {public}/orders/7

# A token without the scope `orders`: 403 insufficient_scope.
curl -i -H 'Authorization: Bearer {narrow}' {public}/orders/7

# A public route needs none: 200. A path that no route covers: 404.
curl -i {public}/healthz
curl -i {public}/elsewhere

# What an operator sees: 200.
curl -i {health}/readyz
curl -i {health}/metrics
curl -i {admin}/status

{admin}/status is also a page for your browser. The configuration behind this: config/quickstart.yaml.
Ctrl-C drains and ends.",
        version = env!("CARGO_PKG_VERSION"),
    );
    output::print(&(text + "\n"))?;
    Ok(())
}

/// `port` on loopback if nobody has it, otherwise 0: any free one.
fn free(port: u16) -> String {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err();
    format!("127.0.0.1:{}", if taken { 0 } else { port })
}

fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}
