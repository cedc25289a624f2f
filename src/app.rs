//! Config → App. The only file that knows every concrete part, and what a reload replaces or keeps.

pub mod load;
pub mod reload;

use std::{
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
        routes::{Conflict, Gap, Overlap, Routes},
        upstream::Upstream,
    },
    rate::shared::Shared,
    refresh::{Renewals, service::Keeper},
    server::{
        self, Listeners, PlainServer, Shutdown, Summary,
        admin::{Admin, Reload, ReloadSource, Reloads},
        health::Health,
    },
    session::{
        SessionStore, Sessions, elsewhere::Elsewhere, journal::Journal, measured::Measured, memory::Memory, moving,
        redb::Redb, redis::Redis, ring::KeyRing, ring_file,
    },
    spans::Spans,
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
    health: PlainServer,
    admin: PlainServer,
    shutdown: Shutdown,
    reloads: Arc<Mutex<Reloads>>,
    trials: Trials,
    ended: watch::Receiver<Option<Summary>>,
}

/// What led to a reload.
#[derive(Debug, Clone)]
pub struct Occasion {
    pub source: ReloadSource,
    /// The files that were changed.
    pub files: Vec<String>,
}

impl Occasion {
    fn noted(self, at: u64, succeeded: bool, sections: Vec<&'static str>) -> Reload {
        Reload { at, source: self.source, succeeded, files: self.files, sections }
    }
}

/// Chooses the one cryptographic provider, for TLS and for tokens. A second call changes nothing.
pub fn install_crypto() {
    // Fails only if it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

impl App {
    /// What only the table of routes can find wrong with a checked configuration: the gaps between its routes, and where
    /// they overlap.
    ///
    /// # Errors
    /// Every conflict between routes.
    pub fn check(config: &Config) -> Result<(Vec<Gap>, Vec<Overlap>), Vec<Conflict>> {
        let routes = Routes::build(&config.routes)?;
        Ok((routes.gaps(&config.routes), routes.overlaps(&config.routes)))
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
        let health = PlainServer::bind("health", config.health.as_ref())?;
        background.spawn(health.clone().serve(Arc::new(Health {
            gate: gate.clone(),
            metrics: metrics.clone(),
            listeners: stats.clone(),
            shutdown: shutdown.clone(),
            time: time.clone(),
        })));
        let admin = PlainServer::bind("admin", admin_address(&config))?;
        background.spawn(admin.clone().serve(Arc::new({
            let (gate, metrics, reloads) = (gate.clone(), metrics.clone(), reloads.clone());
            Admin::new(gate, metrics, stats, reloads, shutdown.clone(), time.clone())
        })));
        background.spawn(sweep(gate.clone(), time.clone()));
        metrics.keep_only(gate.load().names());
        metrics.program.started(time.now().0);
        reloads.lock().unwrap_or_else(PoisonError::into_inner).in_force_since = time.now().0;

        let (done, ended) = watch::channel(None);
        let serving = server::run(listeners.clone(), gate.clone(), workers, shutdown.clone());
        let last = gate.clone();
        background.spawn(async move {
            let summary = serving.await.unwrap_or_else(|error| {
                tracing::error!(%error, "the workers could not be started");
                Summary { finished: 0, cut: 0 }
            });
            // Last: what is told of the last request.
            let spans = last.load().spans().clone();
            let _ = tokio::time::timeout(LAST_SPANS, spans.flush()).await;
            done.send_replace(Some(summary));
        });
        let app = App(Arc::new(Inner {
            background: Some(background),
            time,
            metrics,
            gate,
            listeners,
            health,
            admin,
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
    /// kept where their settings are the same. Returns the sections that say something else than before.
    ///
    /// # Errors
    /// What could not be built or opened; then everything stays as it was.
    pub fn reload(&self, mut config: Config, occasion: Occasion) -> Result<Vec<&'static str>, BoxError> {
        let inner = &*self.0;
        let old = inner.gate.load_full();
        let pending_restart = keep_what_began(&mut config, old.config(), old.endpoints().is_some());
        for setting in &pending_restart {
            tracing::warn!(setting, "this setting takes effect at the next start");
        }
        let sections = config.changed_since(old.config());
        let config = Arc::new(config);
        let new = {
            let _inside = self.background().enter();
            let start = Start::Reload(&old);
            let new = build(config.clone(), start, &inner.time, &inner.metrics, &inner.trials, self.background())?;
            // All of them are opened before one is taken over.
            let listeners = inner.listeners.prepare(&config.listeners, &config.trusted_proxies)?;
            let health = inner.health.prepare(config.health.as_ref())?;
            let admin = inner.admin.prepare(admin_address(&config))?;
            listeners.apply();
            health.apply();
            admin.apply();
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
        let at = inner.time.now().0;
        inner.metrics.program.reloaded(true, at);
        let mut reloads = self.reloads();
        reloads.succeeded += 1;
        reloads.last_error = None;
        reloads.last = Some(occasion.noted(at, true, sections.clone()));
        reloads.in_force_since = at;
        reloads.pending_restart = pending_restart;
        Ok(sections)
    }

    /// Notes that a new configuration was refused, and why.
    pub fn refused(&self, error: String, occasion: Occasion) {
        let at = self.0.time.now().0;
        self.0.metrics.program.reloaded(false, at);
        let mut reloads = self.reloads();
        reloads.failed += 1;
        reloads.last_error = Some(error);
        reloads.last = Some(occasion.noted(at, false, Vec::new()));
    }

    fn reloads(&self) -> MutexGuard<'_, Reloads> {
        self.0.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a listener is: by its name, `health` or `admin`.
    pub fn address(&self, name: &str) -> Option<Address> {
        let config = self.0.gate.load().config().clone();
        let index = config.listeners.iter().position(|listener| *listener.name == *name);
        let open = index.and_then(|index| self.0.listeners.addresses().into_iter().nth(index));
        open.or_else(|| self.small().into_iter().find(|(other, _)| *other == name)?.1)
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

    /// The listeners beside the product's.
    fn small(&self) -> [(&'static str, Option<Address>); 2] {
        [("health", self.0.health.address()), ("admin", self.0.admin.address())]
    }

    fn log_addresses(&self) {
        let names = self.0.gate.load().config().listeners.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
        let open = names.iter().map(|name| &**name).zip(self.0.listeners.addresses());
        let small = self.small().into_iter().filter_map(|(name, address)| Some((name, address?)));
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

/// Lets the caches of the generation in force go of what is over.
async fn sweep(gate: Arc<ArcSwap<Gate>>, time: Time) {
    loop {
        tokio::time::sleep(SWEPT_EVERY).await;
        let (gate, now) = (gate.load_full(), time.now());
        // A walk over a million entries is long for a thread that others wait for. It fails where everything ends.
        let _ = tokio::task::spawn_blocking(move || gate.proxy().auth().cache().sweep(now)).await;
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
    let spans = spans(&config, start, metrics, background);
    Ok(Gate::new(config, proxy, endpoints, generation, time.clone(), metrics, trials).with_spans(spans))
}

/// Where spans go.
fn spans(config: &Config, start: Start<'_>, metrics: &Arc<Metrics>, background: &Handle) -> Spans {
    #[cfg(feature = "otlp")]
    if let Some(settings) = &config.traces {
        return match start {
            // Nothing is told of what is only tried.
            Start::Alone => Spans::default(),
            // With what waits there.
            Start::Reload(old) if old.config().traces == config.traces => old.spans().clone(),
            Start::Reload(_) | Start::Serve => crate::otlp::start(settings, metrics, background),
        };
    }
    let _ = (config, start, metrics, background);
    Spans::default()
}

/// Some things are as they were at the start, and the configuration in force says what is. Returns the settings that
/// `config` had otherwise.
fn keep_what_began(config: &mut Config, old: &Config, store_is_open: bool) -> Vec<&'static str> {
    fn keep<T: PartialEq + Clone>(name: &'static str, new: &mut T, old: &T) -> Option<&'static str> {
        let changed = mem::replace(new, old.clone()) != *old;
        changed.then_some(name)
    }
    // The threads that run are those of the start, and upstreams have connections for each.
    let workers = keep("workers", &mut config.workers, &old.workers);
    let format = keep("log.format", &mut config.log.format, &old.log.format);
    let mut pending: Vec<_> = workers.into_iter().chain(format).collect();
    if let Some((new, old_authority)) = config.authority.as_mut().zip(old.authority.as_ref()).filter(|_| store_is_open)
    {
        pending.extend(keep("store", &mut config.store, &old.store));
        // A ring that was made at the start is now there to be read.
        if !matches!((&old.keys, &config.keys), (MasterKeys::Generate(_), MasterKeys::Given(_))) {
            pending.extend(keep("keys", &mut config.keys, &old.keys));
        }
        let (new, old) = (&mut new.signing.folder, &old_authority.signing.folder);
        pending.extend(keep("authority.signing.folder", new, old));
    }
    pending
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

/// What is over in a cache takes memory for so long at most.
const SWEPT_EVERY: Duration = Duration::from_secs(60);

/// A collector that is away must not hold up the end.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// What the authority that vouches is called in logs and metrics.
const REMOTE: &str = "remote";
