//! The real thing, in this process, on free ports, with a clock that the test moves.

use std::{net::SocketAddr, path::Path};

use sidegate::{
    app::{App, Occasion, load, reload::Watch},
    config::{self, Address},
    model::Time,
    server::admin::ReloadSource,
};

use super::{Issuer, Upstream};

pub struct Sidegate {
    pub public: SocketAddr,
    pub health: SocketAddr,
    pub admin: SocketAddr,
    pub time: Time,
    pub app: App,
}

impl Sidegate {
    /// Starts with `yaml`; `health`, `admin` and, unless it has `listeners`, one listener on free ports are added.
    pub async fn start(yaml: &str) -> Sidegate {
        Sidegate::at(yaml, Time::default()).await
    }

    /// The same with this clock.
    pub async fn at(yaml: &str, time: Time) -> Sidegate {
        Sidegate::with(parse(yaml), time).await
    }

    /// The same from a file, as it stands there, and what looks at that file; beats are the test's own.
    pub async fn from_file(file: &Path) -> (Sidegate, Watch) {
        let environment = config::Environment::default();
        let loaded = load::load(file, &environment).unwrap_or_else(|unusable| panic!("{}", unusable.problems));
        let sidegate = Sidegate::with(loaded.config, Time::default()).await;
        let watch = Watch::new(sidegate.app.clone(), file, environment, loaded.inputs, None);
        (sidegate, watch)
    }

    async fn with(config: config::Config, time: Time) -> Sidegate {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let started = time.clone();
        // The server has threads of its own; starting it may block.
        let app = tokio::task::spawn_blocking(move || App::start(config, started)).await.unwrap();
        let app = app.unwrap_or_else(|error| panic!("sidegate did not start: {error}"));
        Sidegate { public: tcp(&app, "main"), health: tcp(&app, "health"), admin: tcp(&app, "admin"), time, app }
    }

    /// In front of `upstream`, with the tokens of `issuer`, one protected route for everything, and `more` YAML.
    pub async fn protecting(upstream: &Upstream, issuer: &Issuer, more: &str) -> Sidegate {
        Sidegate::start(&protecting(upstream, issuer, more)).await
    }

    /// A page of the health listener.
    pub async fn health(&self, path: &str) -> super::Reply {
        super::get(self.health, path, "").await
    }

    /// The status page, asked for under the name `host`.
    pub async fn status_page(&self, host: &str, accept: &str) -> super::Reply {
        let mut asked = super::request("GET", "/status", "");
        asked.headers_mut().insert("host", host.parse().unwrap());
        asked.headers_mut().insert("accept", accept.parse().unwrap());
        super::send(self.admin, asked).await
    }

    /// The value of one series, with its labels as they are written; 0 if it is not there.
    pub async fn series(&self, series: &str) -> f64 {
        let page = self.health("/metrics").await;
        let line = page.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// What `sidegate explain` says of a GET / with this token, to people and to machines.
    pub async fn explained(&self, token: &str) -> (String, String) {
        self.explained_at("/", token).await
    }

    /// The same of another path.
    pub async fn explained_at(&self, path: &str, token: &str) -> (String, String) {
        let report = sidegate::explain::explain(&self.app.gate(), question(path, token)).await.unwrap();
        let mut text = String::new();
        sidegate::explain::write(&mut text, &report, false).unwrap();
        (text, serde_json::to_string(&report).unwrap())
    }

    /// Puts `yaml` in the place of the running configuration.
    pub async fn reload(&self, yaml: &str) {
        let app = self.app.clone();
        let config = parse(yaml);
        tokio::task::spawn_blocking(move || app.reload(config, signalled())).await.unwrap().unwrap();
    }
}

impl Drop for Sidegate {
    fn drop(&mut self) {
        self.app.abort();
    }
}

pub fn protecting(upstream: &Upstream, issuer: &Issuer, more: &str) -> String {
    format!(
        "{}upstreams:\n  - name: app\n    url: http://{}\n    credential: {{ none: {{}} }}\nroutes:\n  - name: all\n    \
         paths: [/, \"/*\"]\n    upstream: app\n    policy: {{ audiences: [orders-api] }}\n{more}",
        issuer.yaml(),
        upstream.address
    )
}

pub fn parse(yaml: &str) -> config::Config {
    let loaded = config::load_str(&completed(yaml), "test.yaml", Path::new("/"), &config::Environment::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

/// `yaml` with the listeners that it lacks, on free ports.
pub fn completed(yaml: &str) -> String {
    let mut yaml = yaml.to_owned();
    if !yaml.contains("listeners:") {
        yaml.push_str("\nlisteners:\n  - name: main\n    address: 127.0.0.1:0\n");
    }
    if !yaml.contains("\nadmin:") {
        yaml.push_str("\nadmin: { address: 127.0.0.1:0 }\n");
    }
    yaml.push_str("\nhealth: { address: 127.0.0.1:0 }\nworkers: 2\n");
    yaml
}

/// A reload that nothing but a signal has led to.
pub fn signalled() -> Occasion {
    Occasion { source: ReloadSource::Signal, files: Vec::new() }
}

fn tcp(app: &App, listener: &str) -> SocketAddr {
    match app.address(listener) {
        Some(Address::Tcp(address)) => address,
        other => panic!("{listener}: {other:?}"),
    }
}

/// A GET of `path` with this token, for `explain`.
pub fn question(path: &str, token: &str) -> sidegate::explain::Question {
    let connection = sidegate::model::Connection::new(
        "main".into(),
        sidegate::model::HeadLimits { bytes: 16_384, count: 100 },
        None,
        sidegate::model::Peer::Unix,
        false,
        0,
    );
    sidegate::explain::Question {
        head: super::request("GET", path, "").into_parts().0,
        token: Some(sidegate::model::Secret::new(token.to_owned())),
        connection: connection.into(),
    }
}
