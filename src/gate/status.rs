//! What this generation knows of itself: for `/readyz`, `/status` and the metrics.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Gate, trial::RouteReport};
use crate::{
    auth::Issuer,
    authority::remote::{Standing, State},
    config::{self, Authority, KeySource, Store, Users, Way},
    jose::{ring::Shown, rotation::Stage},
    jwks::ProviderStatus,
    model::UnixTime,
    refresh::service::Keeper,
    session::{Ear, StoreError, journal::Journal},
    telemetry::{
        metrics::{
            BreakerState, CacheSnapshot, CertificateSnapshot, FetchedKeys, IssuerSnapshot, Names, ReplicasSnapshot,
            ServiceSnapshot, Snapshot, UpstreamSnapshot, bounded,
        },
        reason::Reason,
    },
};

/// How it stands with other replicas that share the store of sessions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReplicasStatus {
    /// `hears`: what others do is heard at once. `deaf`: it may not be. `checks`: it is heard again, and what may have been
    /// missed is looked up.
    pub state: &'static str,
    /// Seconds since that is so; `None`: from the start.
    pub state_age: Option<u64>,
    /// What that means for whoever relies on it; `None`: all is well.
    pub degraded: Option<&'static str>,
    /// Seconds that the store's clock is ahead of this process's.
    pub clock_ahead: i64,
    /// Revocations that the store had lost, and that were made once more.
    pub repeated: u64,
}

/// One generation, as it stands now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    pub generation: u64,
    pub issuers: Vec<IssuerStatus>,
    pub caches: Vec<CacheStatus>,
    pub upstreams: Vec<UpstreamStatus>,
    pub routes: Vec<RouteStatus>,
    pub authority: Option<AuthorityStatus>,
    /// What the routes that observe have let pass.
    pub observed: Vec<RouteReport>,
}

/// What makes an answer of the authority outside outlive a crash before the store has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JournalStatus {
    pub state: JournalState,
    /// Entries that the store has not spoken of.
    pub waiting: usize,
    /// Entries and files that are kept and cannot be read here.
    pub unreadable: usize,
    /// Seconds since it cannot be written.
    pub failing_for: Option<u64>,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// The store's own commit is durable, or the store ends with the process.
    NotNeeded,
    /// No disk is configured for it.
    Off,
    On,
    /// Renewals go on without it.
    Failing,
}

/// The token endpoints of this generation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuthorityStatus {
    pub issuer: String,
    pub clients: usize,
    /// `listed`, `http`, `ldap`, or `remote`: by the authority outside.
    pub users_by: &'static str,
    /// Users of the configuration; `None` where they are verified elsewhere.
    pub users: Option<usize>,
    /// Where its endpoints are, those that are switched on.
    pub endpoints: Vec<String>,
    pub signing_keys: Vec<SigningKeyStatus>,
    /// The authority outside that vouches in place of users and clients; `None`: they are judged here.
    pub remote: Option<RemoteStatus>,
}

/// The authority outside, as it was when it was last asked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoteStatus {
    /// What it speaks.
    pub dialect: String,
    /// Its issuer, or where its tokens are renewed.
    pub place: String,
    /// What its last answer came to; `untried`: nobody asked it yet.
    pub state: State,
    /// Seconds since that is so.
    pub state_age: Option<u64>,
    /// Its last answer made no sense, or there was none.
    pub degraded: bool,
    /// `closed`: it is asked. `open`: it was away too often in a row, and is asked nothing. `half_open`: one question finds
    /// out whether it is back.
    pub breaker: BreakerState,
    /// Seconds until whoever comes then asks it, while the breaker is open.
    pub next_attempt: Option<u64>,
    /// Seconds since it last gave or refused something, as it should.
    pub answered: Option<u64>,
    pub last_error: Option<String>,
    /// Keys to verify its ID tokens with; `None`: none are asked for.
    pub keys: Option<usize>,
    /// Seconds since those were fetched.
    pub key_age: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SigningKeyStatus {
    pub kid: String,
    pub algorithm: String,
    /// `next`, `current` or `previous`.
    pub stage: &'static str,
    /// Seconds since it was made.
    pub age: u64,
    /// Seconds until a next key signs, or a previous one is forgotten.
    pub until: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct IssuerStatus {
    pub name: String,
    pub issuer: String,
    pub required: bool,
    /// Whether tokens of this issuer can be judged now.
    pub usable: bool,
    /// Whether its keys were there at least once.
    pub ever_loaded: bool,
    pub keys: usize,
    /// Keys of its set that could not be read, with the reason.
    pub skipped: Vec<String>,
    /// Seconds since the keys were fetched.
    pub key_age: Option<u64>,
    pub introspection: bool,
    pub probe: bool,
    pub last_error: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheStatus {
    pub name: &'static str,
    pub entries: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    /// Since the start of the process.
    pub lookups: u64,
    /// Of the look-ups, those that found something: 0 to 1; `null`: there were none.
    pub hit_ratio: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct UpstreamStatus {
    pub name: String,
    pub active_connections: u64,
    pub idle_connections: u64,
    /// Requests that it did not answer.
    pub errors: u64,
    /// The same by reason, as in the label of the metric.
    pub errors_for: BTreeMap<&'static str, u64>,
    /// Seconds until the first certificate ends that it is shown; 0: it has. `None`: it is shown none.
    pub certificate_expires_in: Option<u64>,
    /// The token that it is shown for everybody; `None`: it is shown something else.
    pub service: Option<ServiceStatus>,
}

/// A token of sidegate's own, never the token itself.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceStatus {
    /// What its authority speaks.
    pub dialect: String,
    /// The issuer, or where the token is renewed.
    pub place: String,
    /// How its authority is, as its last answer tells.
    pub state: State,
    pub breaker: BreakerState,
    /// There is one that is good.
    pub valid: bool,
    /// There is none, or the last attempt to renew it failed.
    pub degraded: bool,
    /// Seconds since it was asked for.
    pub age: Option<u64>,
    /// Seconds until it ends; 0: it has.
    pub expires_in: Option<u64>,
    pub last_error: Option<String>,
    /// After a failure: seconds until it is asked for again.
    pub again_in: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RouteStatus {
    pub name: String,
    pub paths: Vec<String>,
    pub upstream: String,
    /// `public`, `enforce` or `observe`.
    pub mode: &'static str,
    /// Requests that were allowed since the start of the process, or asked for no token.
    pub allowed: u64,
    /// Those that were refused, or would have been if the route did not only observe.
    pub refused: u64,
    /// The same by reason.
    pub refused_for: BTreeMap<&'static str, u64>,
}

impl Gate {
    pub fn status(&self, now: UnixTime) -> Status {
        let cache = self.proxy.auth().cache();
        Status {
            generation: self.generation,
            issuers: self.issuer_statuses(now),
            caches: cache.snapshot().iter().zip(cache.lookups()).map(CacheStatus::of).collect(),
            upstreams: self
                .proxy
                .upstreams()
                .iter()
                .enumerate()
                .map(|(index, upstream)| {
                    let counted = upstream.snapshot();
                    UpstreamStatus {
                        service: self.proxy.auth().service(index).map(|keeper| ServiceStatus::of(keeper, now)),
                        name: upstream.settings().name.to_string(),
                        active_connections: counted.open.saturating_sub(counted.idle),
                        idle_connections: counted.idle,
                        errors: counted.errors.iter().map(|(_, count)| count).sum(),
                        errors_for: counted.errors.into_iter().filter(|(_, count)| *count > 0).collect(),
                        certificate_expires_in: upstream
                            .certificate_expires()
                            .map(|expires| now.until(expires).as_secs()),
                    }
                })
                .collect(),
            routes: self
                .config
                .routes
                .iter()
                .enumerate()
                .map(|(index, route)| self.route_status(index, route))
                .collect(),
            authority: self.authority_status(now),
            observed: self.observed(),
        }
    }

    fn route_status(&self, index: usize, route: &config::Route) -> RouteStatus {
        let (allowed, refused): (Vec<_>, Vec<_>) =
            self.observer.decisions(index).partition(|(reason, _)| reason.result() == "allow");
        let sum = |counts: &[(Reason, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
        RouteStatus {
            name: route.name.to_string(),
            paths: route.paths.clone(),
            upstream: self.config.upstreams[route.upstream].name.to_string(),
            mode: match (&route.policy, route.observe) {
                (None, _) => "public",
                (Some(_), true) => "observe",
                (Some(_), false) => "enforce",
            },
            allowed: sum(&allowed),
            refused: sum(&refused),
            refused_for: refused.into_iter().map(|(reason, count)| (reason.as_str(), count)).collect(),
        }
    }

    fn authority_status(&self, now: UnixTime) -> Option<AuthorityStatus> {
        let grants = &self.endpoints()?.grants;
        let (keys, remote) = (grants.signing.shown(), self.remote_status(now));
        // Keys are made, and have their turns, by the store's clock.
        Some(AuthorityStatus::of(self.config.authority.as_ref()?, &keys, remote, grants.sessions.now()))
    }

    /// The authority outside alone, where one vouches: cheap enough for a probe.
    pub fn remote_status(&self, now: UnixTime) -> Option<RemoteStatus> {
        let remote = self.proxy.auth().own()?.renewals.as_ref()?.remote();
        let (seen, keys) = (remote.seen(), remote.keys().map(|keys| keys.status()));
        let of_keys = keys.as_ref().and_then(|keys| keys.last_error.as_ref());
        let last_error = seen.last_error.or_else(|| of_keys.map(|error| format!("its keys: {error}")));
        Some(RemoteStatus {
            dialect: remote.settings().api.dialect().to_owned(),
            place: shown_place(remote.settings()),
            state: seen.state,
            state_age: seen.since.map(|since| since.until(now).as_secs()),
            degraded: last_error.is_some(),
            breaker: state_of(seen.breaker),
            next_attempt: match seen.breaker {
                Standing::Open { until } => Some(now.until(until).as_secs()),
                Standing::Closed | Standing::HalfOpen => None,
            },
            answered: seen.last_answer.map(|at| at.until(now).as_secs()),
            last_error,
            keys: keys.as_ref().map(|keys| keys.keys),
            key_age: keys.and_then(|keys| keys.last_success).map(|at| at.until(now).as_secs()),
        })
    }

    /// The tokens that upstreams are shown for everybody, by the upstream's name: cheap enough for a probe.
    pub fn service_statuses(&self, now: UnixTime) -> impl Iterator<Item = (&str, ServiceStatus)> {
        self.proxy.auth().services().map(move |keeper| (keeper.upstream(), ServiceStatus::of(keeper, now)))
    }

    /// The breakers of all authorities outside, by the names of those.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, BreakerState)> {
        let remote = self.proxy.auth().own().and_then(|own| own.renewals.as_ref()).map(|renewals| renewals.remote());
        let services = self.proxy.auth().services().map(|keeper| keeper.remote());
        let remote = remote.into_iter().map(|remote| &**remote);
        remote.chain(services).map(|remote| (remote.name(), state_of(remote.seen().breaker)))
    }

    /// The kind of the session store, and how many sessions are alive in it; `None` without an authority.
    pub async fn sessions_alive(&self) -> Option<(&'static str, Result<u64, StoreError>)> {
        let own = self.proxy.auth().own()?;
        let counted = tokio::time::timeout(COUNTED_WITHIN, own.sessions.store().count()).await;
        let late = |_| Err(StoreError::Unavailable("it did not count its sessions in time".into()));
        Some((own.settings.store.kind(), counted.unwrap_or_else(late)))
    }

    /// The journal beside the session store; `None` without an authority.
    pub fn journal_status(&self, now: UnixTime) -> Option<JournalStatus> {
        let own = self.proxy.auth().own()?;
        Some(JournalStatus::of(&own.settings.store, own.sessions.journal(), now))
    }

    /// `None` where there are none: cheap enough for a probe.
    pub fn replicas_status(&self) -> Option<ReplicasStatus> {
        let sessions = &self.proxy.auth().own()?.sessions;
        let heard = sessions.heard()?;
        let (state, degraded) = match heard.ear {
            Ear::Hears => ("hears", None),
            Ear::Deaf => ("deaf", Some("what other replicas do is not heard: revocations may arrive late")),
            Ear::Checks => ("checks", Some("revocations that may have been missed are looked up")),
        };
        Some(ReplicasStatus {
            state,
            state_age: (heard.since.0 > 0).then(|| heard.since.until(sessions.now()).as_secs()),
            degraded,
            clock_ahead: sessions.store().ahead(),
            repeated: heard.repeated,
        })
    }

    /// The issuers alone: cheap enough for a probe.
    pub fn issuer_statuses(&self, now: UnixTime) -> Vec<IssuerStatus> {
        let issuers = self.proxy.auth().issuers();
        issuers
            .iter()
            .map(|issuer| {
                let keys = issuer.keys.status();
                let way = issuer.settings.inquiry.as_ref().map(|inquiry| &inquiry.way);
                IssuerStatus {
                    name: issuer.settings.name.to_string(),
                    issuer: issuer.settings.issuer.clone(),
                    required: issuer.settings.required,
                    usable: is_usable(issuer, &keys),
                    ever_loaded: keys.ever_loaded,
                    keys: keys.keys,
                    skipped: keys
                        .skipped
                        .iter()
                        .map(|skipped| format!("{}: {}", skipped.kid.as_deref().unwrap_or("(no kid)"), skipped.reason))
                        .collect(),
                    key_age: keys.last_success.map(|at| at.until(now).as_secs()),
                    introspection: matches!(way, Some(Way::Introspection(_))),
                    probe: matches!(way, Some(Way::Probe(_))),
                    last_error: keys.last_error,
                }
            })
            .collect()
    }

    /// Hands what is counted elsewhere to the metrics.
    pub fn fill<'a>(&'a self, snapshot: &mut Snapshot<'a>) {
        let now = self.time.now();
        (snapshot.generation, snapshot.workers) = (self.generation, self.config.workers);
        snapshot.replicas = self.replicas();
        let limits = |listener: &'a config::Listener| (&*listener.name, listener.limits.connections as u64);
        snapshot.limits.extend(self.config.listeners.iter().map(limits));
        snapshot.services.extend(self.proxy.auth().services().map(|keeper| {
            let seen = keeper.seen();
            ServiceSnapshot {
                upstream: keeper.upstream(),
                valid: seen.is_valid(now),
                expires: seen.token.map_or(0, |(_, expires)| expires.0),
            }
        }));
        snapshot.caches.extend(self.proxy.auth().cache().snapshot());
        snapshot.issuers.extend(self.proxy.auth().issuers().iter().map(|issuer| {
            let (keys, fetches) = (issuer.keys.status(), issuer.keys.fetches());
            let fetched = !matches!(issuer.settings.keys, KeySource::Shared(_) | KeySource::None);
            IssuerSnapshot {
                name: &issuer.settings.name,
                usable: is_usable(issuer, &keys),
                keys: keys.keys as u64,
                fetched: fetched.then(|| FetchedKeys {
                    last_success: keys.last_success.map_or(0, |at| at.0),
                    max_age: issuer.settings.max_stale.as_secs(),
                    succeeded: fetches.ok,
                    failed: fetches.failed,
                }),
            }
        }));
        snapshot.upstreams.extend(self.proxy.upstreams().iter().enumerate().map(|(index, upstream)| {
            let (name, counted) = (&*upstream.settings().name, upstream.snapshot());
            UpstreamSnapshot {
                label: bounded(index, name),
                name,
                active: counted.open.saturating_sub(counted.idle),
                idle: counted.idle,
                opened: counted.opened,
                retried: counted.retried,
                broken: counted.broken,
                errors: counted.errors.to_vec(),
            }
        }));
        snapshot.breakers.extend(self.breakers());
        let shown = self.proxy.upstreams().iter().filter_map(|upstream| {
            let expires = upstream.certificate_expires()?.0;
            Some(CertificateSnapshot { name: &upstream.settings().name, expires })
        });
        snapshot.certificates.extend(shown);
    }

    /// What labels may say as long as this generation is in force.
    pub fn names(&self) -> Names {
        let config = &*self.config;
        let listeners = || config.listeners.iter().map(|listener| &*listener.name);
        let upstreams = || config.upstreams.iter().map(|upstream| &*upstream.name);
        let services = self.proxy.auth().services().map(|keeper| keeper.upstream());
        let remotes = self.breakers().map(|(name, _)| name);
        let dialects = config.dialects.iter().map(|dialect| &*dialect.name);
        Names::default()
            .with("route", self.observer.labels())
            .with("listener", listeners())
            .with("upstream", upstreams().enumerate().map(|(index, name)| bounded(index, name)).chain(services))
            .with("name", listeners().chain(upstreams()))
            .with("issuer", config.issuers.iter().map(|issuer| &*issuer.name))
            .with("authority", remotes)
            .with("dialect", dialects.chain(BUILT_IN))
            .with("store", self.proxy.auth().own().map(|own| own.settings.store.kind()))
    }
}

impl Gate {
    fn replicas(&self) -> Option<ReplicasSnapshot> {
        let own = self.proxy.auth().own()?;
        let heard = own.sessions.heard()?;
        Some(ReplicasSnapshot {
            store: own.settings.store.kind(),
            heard: heard.ear != Ear::Deaf,
            ahead: own.sessions.store().ahead(),
            kept: heard.kept,
            ended: heard.ended,
            doubted: heard.doubted,
            repeated: heard.repeated,
        })
    }
}

impl AuthorityStatus {
    fn of(settings: &Authority, keys: &[Shown], remote: Option<RemoteStatus>, now: UnixTime) -> AuthorityStatus {
        let judged_there = settings.remote.as_ref().is_some_and(|remote| !remote.mapped);
        let (users_by, users) = match &settings.users {
            _ if judged_there => ("remote", None),
            Users::Listed(users) => ("listed", Some(users.len())),
            Users::Http(_) => ("http", None),
            Users::Ldap(_) => ("ldap", None),
        };
        AuthorityStatus {
            issuer: settings.issuer.clone(),
            clients: settings.clients.len(),
            users_by,
            users,
            endpoints: settings.endpoints.paths().map(str::to_owned).collect(),
            signing_keys: keys.iter().map(|key| SigningKeyStatus::of(key, now)).collect(),
            remote,
        }
    }
}

impl JournalStatus {
    fn of(store: &Store, journal: Option<&Journal>, now: UnixTime) -> JournalStatus {
        let standing = journal.map(Journal::standing);
        let failing = standing.as_ref().and_then(|standing| standing.failing.as_ref());
        JournalStatus {
            state: match (store, &standing) {
                (_, Some(_)) if failing.is_some() => JournalState::Failing,
                (_, Some(_)) => JournalState::On,
                (Store::Memory | Store::Redb { .. }, None) => JournalState::NotNeeded,
                (Store::Redis(_), None) => JournalState::Off,
            },
            waiting: standing.as_ref().map_or(0, |standing| standing.waiting),
            unreadable: standing.as_ref().map_or(0, |standing| standing.unreadable),
            failing_for: failing.map(|failing| failing.since.until(now).as_secs()),
            last_error: failing.map(|failing| failing.error.clone()),
        }
    }
}

impl ServiceStatus {
    fn of(keeper: &Keeper, now: UnixTime) -> ServiceStatus {
        let (seen, remote) = (keeper.seen(), keeper.remote());
        let valid = seen.is_valid(now);
        ServiceStatus {
            dialect: remote.settings().api.dialect().to_owned(),
            place: shown_place(remote.settings()),
            state: remote.seen().state,
            breaker: state_of(remote.seen().breaker),
            valid,
            degraded: !valid || seen.last_error.is_some(),
            age: seen.token.map(|(issued, _)| issued.until(now).as_secs()),
            expires_in: seen.token.map(|(_, expires)| now.until(expires).as_secs()),
            last_error: seen.last_error,
            again_in: seen.again.map(|again| now.until(again).as_secs()),
        }
    }
}

/// Where it is. A query may have what only the authority should know.
pub fn shown_place(remote: &config::Remote) -> String {
    remote.place().split('?').next().unwrap_or_default().to_owned()
}

impl SigningKeyStatus {
    fn of(key: &Shown, now: UnixTime) -> SigningKeyStatus {
        SigningKeyStatus {
            kid: key.kid.clone(),
            algorithm: format!("{:?}", key.algorithm),
            stage: key.stage.as_str(),
            age: key.made.until(now).as_secs(),
            until: match key.stage {
                Stage::Current { .. } => None,
                Stage::Next { signs_from: until } | Stage::Previous { until } => Some(now.until(until).as_secs()),
            },
        }
    }
}

impl CacheStatus {
    fn of((snapshot, (lookups, hits)): (&CacheSnapshot<'static>, (u64, u64))) -> CacheStatus {
        let CacheSnapshot { name, entries, bytes, max_bytes } = *snapshot;
        let hit_ratio = (lookups > 0).then(|| (hits as f64 / lookups as f64 * 10_000.0).round() / 10_000.0);
        CacheStatus { name, entries, bytes, max_bytes, lookups, hit_ratio }
    }
}

fn is_usable(issuer: &Issuer, keys: &ProviderStatus) -> bool {
    keys.keys > 0 || issuer.asker.is_some()
}

fn state_of(breaker: Standing) -> BreakerState {
    match breaker {
        Standing::Closed => BreakerState::Closed,
        Standing::Open { .. } => BreakerState::Open,
        Standing::HalfOpen => BreakerState::HalfOpen,
    }
}

/// The dialects that need not be declared.
const BUILT_IN: [&str; 3] = ["oauth2", "redex", "consinco"];

/// A scrape must not hang on a store that does not answer.
const COUNTED_WITHIN: Duration = Duration::from_secs(2);
