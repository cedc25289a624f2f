//! Config → App. The only file that knows every concrete part, and what a reload replaces or keeps.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};

use crate::{
    auth::{Auth, Issuer, ask::Asker, own::Own},
    authority::{Authority, remote::Remote},
    config::{self, Address, Config, Credential, MasterKeys, Store},
    endpoints::{
        Endpoints,
        pages::{Pages, ThemeError},
    },
    gate::{Gate, trial::Trials},
    grants::{Grants, keys::KeyKeeper},
    jose::mint::Minter,
    jwks::Provider,
    model::{BoxError, Time},
    proxy::{
        Proxy,
        routes::{Conflict, Gap, Routes},
        upstream::Upstream,
    },
    rate::shared::Shared,
    refresh::{Renewals, service::Keeper},
    server::{
        self, Listeners, PlainServer, Shutdown, Summary,
        admin::{Admin, Reloads},
        health::Health,
    },
    session::{
        SessionStore, Sessions, elsewhere::Elsewhere, journal::Journal, measured::Measured, memory::Memory, moving,
        redb::Redb, redis::Redis, ring::KeyRing, ring_file,
    },
    telemetry::metrics::Metrics,
};

/// The running program. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    /// Flights, key sets and the small listeners; requests are carried by the workers' own runtimes. `None` only in `drop`.
    background: Option<Runtime>,
    time: Time,
    metrics: Arc<Metrics>,
    gate: Arc<ArcSwap<Gate>>,
    listeners: Listeners,
    /// Health and admin, by name.
    small: BTreeMap<&'static str, Address>,
    shutdown: Shutdown,
    reloads: Arc<Mutex<Reloads>>,
    trials: Trials,
    ended: watch::Receiver<Option<Summary>>,
}

/// Chooses the one cryptographic provider, for TLS and for tokens. A second call changes nothing.
pub fn install_crypto() {
    // Fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

impl App {
    /// What only the table of routes can find wrong with a checked configuration: the gaps between its routes.
    ///
    /// # Errors
    /// Every conflict between routes.
    pub fn check(config: &Config) -> Result<Vec<Gap>, Vec<Conflict>> {
        Routes::build(&config.routes).map(|routes| routes.gaps(&config.routes))
    }

    /// Whether the pages of the local authority can be made with the theme that is configured.
    ///
    /// # Errors
    /// What is wrong with it, with file and line.
    pub fn check_theme(config: &Config) -> Result<(), ThemeError> {
        let Some(pages) = config.authority.as_ref().map(|authority| &authority.pages) else { return Ok(()) };
        Pages::new(pages.theme.as_deref(), &pages.title).map(drop)
    }

    /// What requests would be judged by, without anything that listens; key sets are fetched on `background`. A store on
    /// disk is not touched: it belongs to the process that serves.
    ///
    /// # Errors
    /// What could not be read or made.
    pub fn gate_alone(config: Config, time: &Time, background: &Handle) -> Result<Gate, BoxError> {
        install_crypto();
        build(Arc::new(config), Start::Alone, time, &Arc::new(Metrics::new()), &Trials::default(), background)
    }

    /// Opens every listener and serves. Returns once requests are accepted; not to be called from within a runtime.
    ///
    /// # Errors
    /// What could not be opened, read or made; nothing is served then.
    pub fn start(config: Config, time: Time) -> Result<App, BoxError> {
        install_crypto();
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sidegate-background")
            .enable_all()
            .build()?;
        let handle = background.handle().clone();
        let _inside = handle.enter();
        let metrics = Arc::new(Metrics::new());
        let trials = Trials::default();
        let (workers, config) = (config.workers, Arc::new(config));
        let gate = build(config.clone(), Start::Serve, &time, &metrics, &trials, &handle)?;
        let gate = Arc::new(ArcSwap::from_pointee(gate));
        let listeners = Listeners::bind(&config.listeners, &config.trusted_proxies)?;
        let shutdown = Shutdown::default();
        let reloads: Arc<Mutex<Reloads>> = Arc::default();

        let stats = {
            let listeners = listeners.clone();
            Arc::new(move || listeners.stats())
        };
        let mut small = BTreeMap::new();
        if let Some(address) = &config.health {
            let server = PlainServer::bind("health", address)?;
            small.insert("health", server.address());
            background.spawn(server.serve(Arc::new(Health {
                gate: gate.clone(),
                metrics: metrics.clone(),
                listeners: stats.clone(),
                shutdown: shutdown.clone(),
                time: time.clone(),
            })));
        }
        if let Some(config::Admin { address, .. }) = &config.admin {
            let server = PlainServer::bind("admin", address)?;
            small.insert("admin", server.address());
            let (gate, metrics, reloads) = (gate.clone(), metrics.clone(), reloads.clone());
            let admin = Admin::new(gate, metrics, stats, reloads, shutdown.clone(), time.clone());
            background.spawn(server.serve(Arc::new(admin)));
        }
        metrics.keep_only(gate.load().names());
        metrics.program.started(time.now().0);

        let (done, ended) = watch::channel(None);
        let serving = server::run(listeners.clone(), gate.clone(), workers, shutdown.clone());
        background.spawn(async move {
            let summary = serving.await.unwrap_or_else(|error| {
                tracing::error!(%error, "the workers could not be started");
                Summary { finished: 0, cut: 0 }
            });
            done.send_replace(Some(summary));
        });
        let app = App(Arc::new(Inner {
            background: Some(background),
            time,
            metrics,
            gate,
            listeners,
            small,
            shutdown,
            reloads,
            trials,
            ended,
        }));
        app.log_addresses();
        Ok(app)
    }

    /// Puts `config` in the place of the running configuration: everything is built and opened first, then one swap.
    /// Requests under way keep what they began with. Keys of issuers, connections of upstreams and the signing key are
    /// kept where their settings are the same.
    ///
    /// # Errors
    /// What could not be built or opened; then everything stays as it was.
    pub fn reload(&self, mut config: Config) -> Result<(), BoxError> {
        let inner = &*self.0;
        let old = inner.gate.load_full();
        for (what, changed) in [
            ("health", config.health != old.config().health),
            ("admin.address", admin_address(&config) != admin_address(old.config())),
            ("workers", config.workers != old.config().workers),
        ] {
            if changed {
                tracing::warn!(setting = what, "this setting takes effect at the next start");
            }
        }
        // The threads that run are those of the start, and upstreams have connections for each.
        config.workers = old.config().workers;
        if old.endpoints().is_some() && config.authority.is_some() {
            keep_store(&mut config, old.config());
        }
        let config = Arc::new(config);
        let new = {
            let _inside = self.background().enter();
            let start = Start::Reload(&old);
            let new = build(config.clone(), start, &inner.time, &inner.metrics, &inner.trials, self.background())?;
            inner.listeners.rebind(&config.listeners, &config.trusted_proxies)?;
            new
        };
        let new = Arc::new(new);
        inner.gate.store(new.clone());
        inner.metrics.keep_only(new.names());
        old.proxy().auth().retire(new.proxy().auth());
        // Only now: these are the keys that the old generation signs with, too.
        if let (Some(endpoints), Some(authority)) = (new.endpoints(), &config.authority)
            && let Err(error) = endpoints.grants.keys.reconfigure(&authority.signing)
        {
            tracing::error!(%error, "the signing keys could not be read again; those in force stay");
        }
        inner.trials.reloaded(config.routes.iter().map(|route| &*route.name), inner.time.now());
        inner.metrics.program.reloaded(true, inner.time.now().0);
        let mut reloads = inner.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.succeeded += 1;
        reloads.last_error = None;
        Ok(())
    }

    /// Notes that a new configuration was refused, and why.
    pub fn reload_failed(&self, error: String) {
        self.0.metrics.program.reloaded(false, self.0.time.now().0);
        let mut reloads = self.0.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.failed += 1;
        reloads.last_error = Some(error);
    }

    /// Where a listener is: by its name, `health` or `admin`.
    pub fn address(&self, name: &str) -> Option<Address> {
        let config = self.0.gate.load().config().clone();
        let index = config.listeners.iter().position(|listener| *listener.name == *name);
        let open = index.and_then(|index| self.0.listeners.addresses().into_iter().nth(index));
        open.or_else(|| self.0.small.get(name).cloned())
    }

    /// Begins the drain that `drain` of the configuration in force describes.
    pub fn begin_drain(&self) {
        self.0.shutdown.begin(self.0.gate.load().config().drain);
    }

    /// Ends everything at once.
    pub fn abort(&self) {
        self.0.shutdown.abort();
    }

    /// Returns once the drain is over.
    pub fn drained(&self) -> impl Future<Output = Summary> + use<> {
        let mut ended = self.0.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(summary) => summary.unwrap_or(Summary { finished: 0, cut: 0 }),
                // The server's task is gone, and with it everything it served.
                Err(_) => Summary { finished: 0, cut: 0 },
            }
        }
    }

    pub fn background(&self) -> &Handle {
        self.0.background.as_ref().map(Runtime::handle).expect("taken only by `drop`")
    }

    /// The generation in force.
    pub fn gate(&self) -> Arc<Gate> {
        self.0.gate.load_full()
    }

    fn log_addresses(&self) {
        let names = self.0.gate.load().config().listeners.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
        let open = names.iter().map(|name| &**name).zip(self.0.listeners.addresses());
        let small = self.0.small.iter().map(|(name, address)| (*name, address.clone()));
        for (listener, address) in open.chain(small) {
            tracing::info!(listener, %address, "listening");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown.abort();
        if let Some(background) = self.background.take() {
            // Nothing on it may hold up the end, and a runtime must not wait inside another one.
            background.shutdown_background();
        }
    }
}

/// What a generation is built for.
#[derive(Clone, Copy)]
enum Start<'a> {
    Serve,
    /// What did not change is taken over.
    Reload(&'a Gate),
    /// To answer a question beside the process that serves.
    Alone,
}

/// One generation.
fn build(
    config: Arc<Config>,
    start: Start<'_>,
    time: &Time,
    metrics: &Arc<Metrics>,
    trials: &Trials,
    background: &Handle,
) -> Result<Gate, BoxError> {
    let old = match start {
        Start::Reload(old) => Some(old),
        Start::Serve | Start::Alone => None,
    };
    let issuers = config.issuers.iter().map(|settings| issuer(settings, old, time, background)).collect();
    let minter = match &config.internal_jwt {
        None => None,
        Some(settings) => match old.filter(|old| old.config().internal_jwt.as_ref() == Some(settings)) {
            Some(old) => old.minter(),
            None => Some(Arc::new(Minter::new(settings)?)),
        },
    };
    let mut upstreams = Vec::with_capacity(config.upstreams.len());
    for settings in &config.upstreams {
        let kept = old.and_then(|old| old.upstreams().iter().find(|upstream| upstream.settings() == settings).cloned());
        upstreams.push(match kept {
            Some(upstream) => upstream,
            None => Arc::new(Upstream::new(settings.clone(), config.workers)?),
        });
    }
    let (own, keys) = own(&config, start, time, metrics, background)?.unzip();
    let services = services(&config, start, time, metrics, background)?;
    let auth = Auth::new(&config, issuers, own.clone(), minter, metrics.clone())?.with_services(services);
    let routes = Routes::build(&config.routes)
        .map_err(|conflicts| conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let proxy = Proxy::new(config.clone(), routes, auth, upstreams, time.clone(), metrics.clone());
    let endpoints = match own.zip(keys) {
        Some((Own { authority, sessions, signing, renewals: outside, .. }, keys)) => {
            let (refresh, metrics) = (config.refresh, metrics.clone());
            let grants = Grants { authority, sessions, signing, keys, outside, refresh, metrics };
            Some(Endpoints::new(&config, Arc::new(grants))?)
        }
        None => None,
    };
    let generation = old.map_or(1, |old| old.generation() + 1);
    Ok(Gate::new(config, proxy, endpoints, generation, time.clone(), metrics, trials))
}

/// The store that is open, and its keys, stay as they are: the configuration in force says what is.
fn keep_store(config: &mut Config, old: &Config) {
    // A ring that was made at the start is now there to be read.
    let made = matches!((&old.keys, &config.keys), (MasterKeys::Generate(_), MasterKeys::Given(_)));
    if config.store != old.store || (config.keys != old.keys && !made) {
        tracing::warn!(setting = "store, keys", "this setting takes effect at the next start");
        config.store = old.store.clone();
        config.keys = old.keys.clone();
    }
}

/// The sessions and the signing keys of the local authority. Both outlive a reload: a store is opened once.
fn own(
    config: &Arc<Config>,
    start: Start<'_>,
    time: &Time,
    metrics: &Arc<Metrics>,
    background: &Handle,
) -> Result<Option<(Own, Arc<KeyKeeper>)>, BoxError> {
    let old = match start {
        Start::Reload(old) => Some(old),
        Start::Serve | Start::Alone => None,
    };
    let keys = old.and_then(|old| old.endpoints()).map(|endpoints| endpoints.grants.keys.clone());
    let old = old.and_then(|old| old.proxy().auth().own());
    let Some(settings) = &config.authority else { return Ok(None) };
    metrics.oauth.prepare(settings, &["oauth2"]);
    let authority = |old, counts| Authority::new(config.clone(), old, counts, metrics.clone());
    if let Some((old, keys)) = old.zip(keys) {
        keys.check()?;
        let Some(authority) = authority(Some(&old.authority), None)?.map(Arc::new) else { return Ok(None) };
        let last = old.renewals.as_deref();
        let renewals = renewals(config, &old.sessions, &authority, last, time, metrics, background)?;
        if let Some(renewals) = &renewals {
            renewals.sweep();
        }
        let own = Own::new(config.clone(), old.sessions.clone(), old.signing.clone(), authority, renewals);
        return Ok(Some((own, keys)));
    }
    let alone = matches!(start, Start::Alone);
    let ring = match &config.keys {
        MasterKeys::Given(ring) => KeyRing::new(ring),
        MasterKeys::Generate(path) if !alone => KeyRing::new(&ring_file::create(path)?),
        MasterKeys::Ephemeral | MasterKeys::Generate(_) => KeyRing::ephemeral()?,
    };
    let ring = Arc::new(ring);
    let mut counts: Option<Arc<dyn Shared>> = None;
    let store: Arc<dyn SessionStore> = match &config.store {
        Store::Memory => Arc::new(Memory::new(time.clone())),
        Store::Redis(settings) => {
            let link = metrics.link.store(config.store.kind());
            let redis = Redis::open(settings, ring.clone(), time.clone(), background, link)?;
            counts = Some(Arc::new(redis.counts(settings.timeout, metrics.oauth.store(config.store.kind()))));
            Arc::new(redis)
        }
        Store::Redb { .. } if alone => Arc::new(Elsewhere::new(time.clone())),
        Store::Redb { path } => Arc::new(Redb::open(path, ring.clone(), time.clone())?),
    };
    if !alone && config.store != Store::Memory {
        // Whoever moves its sessions must not go on with what they read before.
        if let Err(error) = background.block_on(moving::note_serving(store.as_ref())) {
            tracing::warn!(%error, "an interrupted export of sessions may not notice that they are served again");
        }
    }
    let Some(authority) = authority(None, counts)?.map(Arc::new) else { return Ok(None) };
    let measured = Arc::new(Measured::new(store, metrics.oauth.store(config.store.kind())));
    let mut sessions = Sessions::new(measured, ring.clone(), background.clone())?;
    if let Store::Redis(settings) = &config.store
        && let Some(folder) = settings.journal.as_ref().filter(|_| !alone)
    {
        sessions = sessions.with_journal(Journal::open(folder, ring, time.clone(), metrics.clone())?);
    }
    let sessions = Arc::new(sessions);
    let shared = matches!(config.store, Store::Redis(_));
    let keys = Arc::new(KeyKeeper::start(&settings.signing, sessions.store(), shared, time, background)?);
    let renewals = renewals(config, &sessions, &authority, None, time, metrics, background)?;
    if let Some(renewals) = renewals.as_ref().filter(|_| !alone) {
        renewals.sweep();
    }
    let own = Own::new(config.clone(), sessions, keys.signing().clone(), authority, renewals);
    Ok(Some((own, keys)))
}

/// Opens a store beside those who serve from it; `None`: its sessions are in the process that serves.
///
/// # Errors
/// Why it cannot be used, and what to do.
pub fn open_store(
    store: &Store,
    ring: &Arc<KeyRing>,
    time: &Time,
    background: &Handle,
) -> Result<Option<Arc<dyn SessionStore>>, BoxError> {
    Ok(match store {
        Store::Memory => None,
        Store::Redis(settings) => {
            let link = Metrics::new().link.store(store.kind());
            Some(Arc::new(Redis::open(settings, ring.clone(), time.clone(), background, link)?))
        }
        Store::Redb { path } => Some(Arc::new(Redb::open(path, ring.clone(), time.clone())?)),
    })
}

/// Who renews what an authority outside gives, if one vouches.
fn renewals(
    config: &Config,
    sessions: &Arc<Sessions>,
    authority: &Arc<Authority>,
    old: Option<&Renewals>,
    time: &Time,
    metrics: &Arc<Metrics>,
    background: &Handle,
) -> Result<Option<Arc<Renewals>>, BoxError> {
    let Some(settings) = config.authority.as_ref().and_then(|authority| authority.remote.as_ref()) else {
        return Ok(None);
    };
    let kept = old.map(Renewals::remote).filter(|remote| remote.settings() == settings);
    let remote = match kept {
        // Its metadata outlive our reload.
        Some(remote) => remote.clone(),
        None => {
            let last = old.map(|old| &**old.remote());
            let old = last.and_then(Remote::keys);
            let keys = settings.id_tokens().map(|issuer| match old.filter(|old| old.issuer() == issuer) {
                Some(old) => old.clone(),
                None => Provider::start(issuer.clone(), time.clone(), background),
            });
            Arc::new(Remote::new(REMOTE, settings.clone(), keys, time.clone(), metrics.clone(), background, last)?)
        }
    };
    let renewals = Renewals::new(sessions.clone(), remote, authority.clone(), config.refresh, metrics.clone(), old);
    Ok(Some(Arc::new(renewals)))
}

/// Who keeps the tokens that upstreams are shown for everybody, in the order of the upstreams.
fn services(
    config: &Config,
    start: Start<'_>,
    time: &Time,
    metrics: &Arc<Metrics>,
    background: &Handle,
) -> Result<Vec<Option<Arc<Keeper>>>, BoxError> {
    let old = |name: &str| match start {
        Start::Reload(old) => old.proxy().auth().services().find(|keeper| keeper.upstream() == name).cloned(),
        Start::Serve | Start::Alone => None,
    };
    let keeper = |upstream: &config::Upstream| {
        let Credential::Service(settings) = &upstream.credential else { return Ok(None) };
        let (name, refresh, old) = (upstream.name.clone(), config.refresh, old(&upstream.name));
        if let Some(kept) = old.as_ref().filter(|old| old.is_for(&name, settings, &refresh)) {
            return Ok(Some(kept.clone()));
        }
        let (settings, time, metrics) = (settings.clone(), time.clone(), metrics.clone());
        let keeper = match start {
            // Nobody is asked beside the process that serves.
            Start::Alone => Keeper::idle(name, settings, refresh, time, metrics, background)?,
            Start::Serve | Start::Reload(_) => {
                Keeper::start(name, settings, refresh, old.as_deref(), time, metrics, background)?
            }
        };
        Ok(Some(Arc::new(keeper)))
    };
    config.upstreams.iter().map(keeper).collect()
}

fn admin_address(config: &Config) -> Option<&Address> {
    config.admin.as_ref().map(|admin| &admin.address)
}

fn issuer(settings: &crate::config::Issuer, old: Option<&Gate>, time: &Time, background: &Handle) -> Issuer {
    let kept = old.and_then(|old| old.issuers().iter().find(|issuer| issuer.settings == *settings));
    match kept {
        // An outage of the issuer must not begin with our reload.
        Some(issuer) => issuer.clone(),
        None => Issuer {
            settings: settings.clone(),
            keys: Provider::start(settings.clone(), time.clone(), background),
            asker: Asker::new(settings, background.clone()).map(Arc::new),
        },
    }
}

/// What the authority that vouches is called in logs and metrics.
const REMOTE: &str = "remote";
