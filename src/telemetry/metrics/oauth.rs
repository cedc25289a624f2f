//! The families of the token endpoints, the sign-in and the session store.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Families, clamp};
use crate::{
    config::Authority,
    model::{ErrorCode, GrantType},
};

/// What the local authority counts. It outlives a reload.
pub struct OauthMetrics {
    requests: IntCounterVec,
    issued: IntCounterVec,
    refreshes: IntCounterVec,
    renewals: IntCounterVec,
    sign_ins: IntCounterVec,
    password_checks: IntGaugeVec,
    password_hashes: IntCounterVec,
    sessions: IntGaugeVec,
    store_up: IntGaugeVec,
    operations: IntCounterVec,
    operation_duration: HistogramVec,
}

/// An endpoint that sidegate serves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Authorize,
    /// Where users come back to from the authority outside.
    Callback,
    Token,
    Revoke,
    Introspect,
}

/// What came of a refresh token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    Rotated,
    /// The same successor once more.
    Retried,
    /// The store had lost a rotation.
    Healed,
    /// It came back after its time, and ended its session.
    Reused,
    Refused,
    /// The store did not answer.
    Unavailable,
}

/// What came of a renewal at the authority outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// With its refresh token.
    Refreshed,
    /// By a new sign-in, with credentials that are at hand.
    Obtained,
    /// With a refresh token of which nobody knew whether it was spent, or with one that had come too late.
    Recovered,
    /// It says that the session is over.
    Ended,
    /// The same, and an answer of it had not reached us: it may have given a token that nobody has. The one loss that
    /// cannot be excluded.
    AnswerLost,
    /// There was nothing to renew it with.
    NotRenewable,
    /// The authority is away or too many ask it, so nobody did.
    NotAsked,
    /// It wants to be asked less.
    Throttled,
    /// It refuses us, whatever is asked.
    Misconfigured,
    /// No answer that makes sense.
    Unavailable,
    /// The store did not take part.
    Store,
}

/// What came of the silent renewal of a client's own access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sliding {
    Slid,
    /// The answer carries its successor.
    Succeeded,
    /// The token or its session is over, or it may not be renewed any more.
    NotRenewable,
    /// The store or the authority outside did not answer.
    Unavailable,
}

/// What came of a name and a password, wherever they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    Success,
    Wrong,
    Throttled,
    /// Who would know could not be asked.
    Unavailable,
}

/// What came of a slow hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashed {
    Right,
    Wrong,
    /// Too many wait already.
    Busy,
    /// Something went wrong that nobody foresaw.
    Failed,
}

/// The handles of one session store.
pub struct StoreMetrics {
    operations: Box<[Operation]>,
}

struct Operation {
    results: [IntCounter; 3],
    duration: Histogram,
}

/// What is done with a session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum StoreOperation {
    /// A session begins, also by a code.
    Open,
    Find,
    Rotate,
    /// What the authority outside gave is replaced.
    Renew,
    /// Before the authority outside is asked, and when it gave nothing.
    Lease,
    /// The end of an access token is moved.
    Slide,
    /// An access token gets a successor.
    Succeed,
    Revoke,
    /// Codes, keys that are good once, acknowledgements.
    Note,
    List,
    Purge,
    /// The signing keys.
    Document,
    /// Wrong guesses that replicas count together.
    Count,
}

/// How an operation of a session store went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum StoreResult {
    Ok,
    Unavailable,
    Unreadable,
}

impl OauthMetrics {
    pub(super) fn new(family: &Families<'_>) -> OauthMetrics {
        let metrics = OauthMetrics {
            requests: family.counters(
                "oauth_requests_total",
                "Requests to the endpoints of the local authority, by outcome.",
                &["endpoint", "dialect", "grant", "result"],
            ),
            issued: family.counters(
                "tokens_issued_total",
                "Access tokens given to clients, refreshed ones included.",
                &["dialect", "grant"],
            ),
            refreshes: family.counters(
                "token_refreshes_total",
                "Refresh tokens that were presented, by what came of them.",
                &["result"],
            ),
            renewals: family.counters(
                "renewals_total",
                "Renewals behind the client's back, by what came of them.",
                &["kind", "result", "reason"],
            ),
            sign_ins: family.counters("sign_ins_total", "Names and passwords that were checked.", &["result"]),
            password_checks: family.gauges(
                "password_checks",
                "Passwords being hashed, and those that wait for their turn.",
                &["state"],
            ),
            password_hashes: family.counters(
                "password_hashes_total",
                "Slow hashes of passwords and of client secrets; busy: refused, since too many wait.",
                &["result"],
            ),
            sessions: family.gauges("sessions", "Sessions that are neither revoked nor over.", &["store"]),
            store_up: family.gauges("session_store_up", "Whether the session store answers.", &["store"]),
            operations: family.counters(
                "session_operations_total",
                "Steps taken in the session store.",
                &["store", "op", "result"],
            ),
            operation_duration: family.histograms(
                "session_operation_duration_seconds",
                "Seconds that a step in the session store took, until it was durable.",
                &["store", "op"],
                STORE_BUCKETS,
            ),
        };
        for result in Refresh::ALL {
            metrics.refreshes.with_label_values(&[result.as_str()]);
        }
        for renewal in Renewal::ALL {
            metrics.renewals.with_label_values(&renewal.labels(AUTHORITY));
        }
        for renewal in Renewal::OF_SERVICE {
            metrics.renewals.with_label_values(&renewal.labels(SERVICE));
        }
        for sliding in Sliding::ALL {
            metrics.renewals.with_label_values(&sliding.labels());
        }
        for result in SignIn::ALL {
            metrics.sign_ins.with_label_values(&[result.as_str()]);
        }
        for result in Hashed::ALL {
            metrics.password_hashes.with_label_values(&[result.as_str()]);
        }
        metrics
    }

    /// Creates, at zero, what the endpoints that are switched on may count.
    pub fn prepare(&self, authority: &Authority, dialects: &[&'static str]) {
        let (endpoints, allowed) = (&authority.endpoints, |grant: GrantType| {
            authority.clients.values().any(|client| client.may(grant)).then_some(Some(grant))
        });
        let grants = |of: &[GrantType]| -> Vec<Option<GrantType>> {
            of.iter().filter_map(|grant| allowed(*grant)).chain([None]).collect()
        };
        let codes = || ErrorCode::ALL.map(ErrorCode::as_str).into_iter().chain([OK, THROTTLED]);
        for dialect in dialects {
            let create = |endpoint, grant, result| {
                self.requests.with_label_values(&request_labels(endpoint, dialect, grant, result));
            };
            if endpoints.token.is_some() {
                for grant in grants(&AT_TOKEN) {
                    codes().for_each(|result| create(Endpoint::Token, grant, result));
                }
            }
            for (endpoint, path) in
                [(Endpoint::Authorize, &endpoints.authorize), (Endpoint::Callback, &endpoints.callback)]
            {
                if path.is_some() {
                    for grant in grants(&[GrantType::AuthorizationCode, GrantType::Implicit]) {
                        AUTHORIZE_RESULTS.iter().for_each(|result| create(endpoint, grant, result));
                    }
                }
            }
            for (endpoint, path) in
                [(Endpoint::Revoke, &endpoints.revoke), (Endpoint::Introspect, &endpoints.introspect)]
            {
                if path.is_some() {
                    codes().for_each(|result| create(endpoint, None, result));
                }
            }
            for grant in grants(&GrantType::ALL).into_iter().flatten() {
                self.issued.with_label_values(&[dialect, grant.as_str()]);
            }
        }
        let (redex, consinco) = (&endpoints.redex, &endpoints.consinco);
        let built_in = [
            ("redex", GrantType::ApiKey, &redex.token, &redex.refresh),
            ("consinco", GrantType::Password, &consinco.login, &consinco.refresh),
        ];
        let built_in = built_in.into_iter().map(|(dialect, begins, path, renews)| {
            let served = [(begins, path), (GrantType::RefreshToken, renews)].into_iter();
            let served: Vec<GrantType> = served.filter(|(_, path)| path.is_some()).map(|(grant, _)| grant).collect();
            (dialect, served)
        });
        let declared = endpoints.declared.iter().map(|place| {
            let served: Vec<GrantType> = place.endpoints().map(|endpoint| endpoint.grant).collect();
            (&*place.dialect.name, served)
        });
        for (dialect, served) in built_in.chain(declared).filter(|(_, served)| !served.is_empty()) {
            for grant in grants(&served) {
                codes().for_each(|result| {
                    self.requests.with_label_values(&request_labels(Endpoint::Token, dialect, grant, result));
                });
                grant.iter().for_each(|grant| {
                    self.issued.with_label_values(&[dialect, grant.as_str()]);
                });
            }
        }
    }

    /// Counts one answer of an endpoint. `result` is [`OK`], [`THROTTLED`], an OAuth error code, or one of
    /// [`AUTHORIZE_RESULTS`]; `grant` is `None` where the request did not get that far.
    pub fn answered(&self, endpoint: Endpoint, dialect: &str, grant: Option<GrantType>, result: &'static str) {
        self.requests.with_label_values(&request_labels(endpoint, dialect, grant, result)).inc();
    }

    /// Counts one access token that went out.
    pub fn issued(&self, dialect: &str, grant: GrantType) {
        self.issued.with_label_values(&[dialect, grant.as_str()]).inc();
    }

    pub fn refreshed(&self, result: Refresh) {
        self.refreshes.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts one renewal at the authority outside.
    pub fn renewed(&self, renewal: Renewal) {
        self.renewals.with_label_values(&renewal.labels(AUTHORITY)).inc();
    }

    /// Counts one renewal of the token that an upstream is shown for everybody.
    pub fn service_renewed(&self, renewal: Renewal) {
        self.renewals.with_label_values(&renewal.labels(SERVICE)).inc();
    }

    pub fn slid(&self, sliding: Sliding) {
        self.renewals.with_label_values(&sliding.labels()).inc();
    }

    pub fn signed_in(&self, result: SignIn) {
        self.sign_ins.with_label_values(&[result.as_str()]).inc();
    }

    /// Passwords being hashed, and those that wait for their turn.
    pub fn observe_passwords(&self, running: usize, waiting: usize) {
        for (state, count) in [("running", running), ("waiting", waiting)] {
            self.password_checks.with_label_values(&[state]).set(clamp(count as u64));
        }
    }

    pub fn hashed(&self, result: Hashed) {
        self.password_hashes.with_label_values(&[result.as_str()]).inc();
    }

    /// What the store said of itself: how many sessions are alive, or nothing where it does not answer.
    pub fn observe_store(&self, store: &'static str, alive: Option<u64>) {
        self.store_up.with_label_values(&[store]).set(i64::from(alive.is_some()));
        if let Some(alive) = alive {
            self.sessions.with_label_values(&[store]).set(clamp(alive));
        }
    }

    pub fn store(&self, store: &'static str) -> StoreMetrics {
        let operation = |operation: &StoreOperation| Operation {
            results: StoreResult::ALL
                .map(|result| self.operations.with_label_values(&[store, operation.as_str(), result.as_str()])),
            duration: self.operation_duration.with_label_values(&[store, operation.as_str()]),
        };
        StoreMetrics { operations: StoreOperation::ALL.iter().map(operation).collect() }
    }
}

impl StoreMetrics {
    pub fn took(&self, operation: StoreOperation, result: StoreResult, duration: Duration) {
        let operation = &self.operations[operation as usize];
        operation.results[result as usize].inc();
        operation.duration.observe(duration.as_secs_f64());
    }
}

impl Endpoint {
    pub fn as_str(self) -> &'static str {
        match self {
            Endpoint::Authorize => "authorize",
            Endpoint::Callback => "callback",
            Endpoint::Token => "token",
            Endpoint::Revoke => "revoke",
            Endpoint::Introspect => "introspect",
        }
    }
}

impl Refresh {
    const ALL: [Refresh; 6] =
        [Refresh::Rotated, Refresh::Retried, Refresh::Healed, Refresh::Reused, Refresh::Refused, Refresh::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            Refresh::Rotated => "rotated",
            Refresh::Retried => "retried",
            Refresh::Healed => "healed",
            Refresh::Reused => "reused",
            Refresh::Refused => "refused",
            Refresh::Unavailable => "unavailable",
        }
    }
}

impl Renewal {
    const ALL: [Renewal; 11] = [
        Renewal::Refreshed,
        Renewal::Obtained,
        Renewal::Recovered,
        Renewal::Ended,
        Renewal::AnswerLost,
        Renewal::NotRenewable,
        Renewal::NotAsked,
        Renewal::Throttled,
        Renewal::Misconfigured,
        Renewal::Unavailable,
        Renewal::Store,
    ];
    const OF_SERVICE: [Renewal; 5] =
        [Renewal::Refreshed, Renewal::Obtained, Renewal::Throttled, Renewal::Misconfigured, Renewal::Unavailable];

    /// Stable; the audit stream says it, too.
    pub fn reason(self) -> &'static str {
        match self {
            Renewal::Refreshed => "refreshed",
            Renewal::Obtained => "obtained",
            Renewal::Recovered => "recovered",
            Renewal::Ended => "invalid_grant",
            Renewal::AnswerLost => "answer_lost",
            Renewal::NotRenewable => "not_renewable",
            Renewal::NotAsked => "not_asked",
            Renewal::Throttled => "throttled",
            Renewal::Misconfigured => "misconfigured",
            Renewal::Unavailable => "unavailable",
            Renewal::Store => "store",
        }
    }

    fn labels(self, kind: &'static str) -> [&'static str; 3] {
        let result = match self {
            Renewal::Refreshed | Renewal::Obtained | Renewal::Recovered => "renewed",
            Renewal::Ended | Renewal::AnswerLost => "ended",
            Renewal::NotRenewable
            | Renewal::NotAsked
            | Renewal::Throttled
            | Renewal::Misconfigured
            | Renewal::Unavailable
            | Renewal::Store => "failed",
        };
        [kind, result, self.reason()]
    }
}

impl Sliding {
    const ALL: [Sliding; 4] = [Sliding::Slid, Sliding::Succeeded, Sliding::NotRenewable, Sliding::Unavailable];

    fn labels(self) -> [&'static str; 3] {
        match self {
            Sliding::Slid => ["access_token", "renewed", "slid"],
            Sliding::Succeeded => ["access_token", "renewed", "succeeded"],
            Sliding::NotRenewable => ["access_token", "failed", "not_renewable"],
            Sliding::Unavailable => ["access_token", "failed", "unavailable"],
        }
    }
}

impl SignIn {
    const ALL: [SignIn; 4] = [SignIn::Success, SignIn::Wrong, SignIn::Throttled, SignIn::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            SignIn::Success => "success",
            SignIn::Wrong => "wrong",
            SignIn::Throttled => "throttled",
            SignIn::Unavailable => "unavailable",
        }
    }
}

impl Hashed {
    const ALL: [Hashed; 4] = [Hashed::Right, Hashed::Wrong, Hashed::Busy, Hashed::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Hashed::Right => "right",
            Hashed::Wrong => "wrong",
            Hashed::Busy => "busy",
            Hashed::Failed => "failed",
        }
    }
}

impl StoreOperation {
    /// In the order of their numbers.
    const ALL: [StoreOperation; 13] = [
        StoreOperation::Open,
        StoreOperation::Find,
        StoreOperation::Rotate,
        StoreOperation::Renew,
        StoreOperation::Lease,
        StoreOperation::Slide,
        StoreOperation::Succeed,
        StoreOperation::Revoke,
        StoreOperation::Note,
        StoreOperation::List,
        StoreOperation::Purge,
        StoreOperation::Document,
        StoreOperation::Count,
    ];

    fn as_str(self) -> &'static str {
        match self {
            StoreOperation::Open => "open",
            StoreOperation::Find => "find",
            StoreOperation::Rotate => "rotate",
            StoreOperation::Renew => "renew",
            StoreOperation::Lease => "lease",
            StoreOperation::Slide => "slide",
            StoreOperation::Succeed => "succeed",
            StoreOperation::Revoke => "revoke",
            StoreOperation::Note => "note",
            StoreOperation::List => "list",
            StoreOperation::Purge => "purge",
            StoreOperation::Document => "document",
            StoreOperation::Count => "count",
        }
    }
}

impl StoreResult {
    const ALL: [StoreResult; 3] = [StoreResult::Ok, StoreResult::Unavailable, StoreResult::Unreadable];

    fn as_str(self) -> &'static str {
        match self {
            StoreResult::Ok => OK,
            StoreResult::Unavailable => "unavailable",
            StoreResult::Unreadable => "unreadable",
        }
    }
}

fn request_labels<'a>(endpoint: Endpoint, dialect: &'a str, grant: Option<GrantType>, result: &'a str) -> [&'a str; 4] {
    [endpoint.as_str(), dialect, grant.map_or("none", GrantType::as_str), result]
}

/// The `kind` of what is renewed with a session.
const AUTHORITY: &str = "authority";
/// The `kind` of what is renewed for an upstream.
const SERVICE: &str = "service";

/// The `result` of a request that was answered as it should be.
pub const OK: &str = "ok";
/// The `result` of a request that was answered with 429.
pub const THROTTLED: &str = "throttled";

/// What the authorization endpoint may come to: `ok` is a redirect with what was asked for, `page` a page for a person.
pub const AUTHORIZE_RESULTS: [&str; 18] = [
    OK,
    THROTTLED,
    "page",
    "access_denied",
    "account_selection_required",
    "away",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "login_required",
    "request_not_supported",
    "request_uri_not_supported",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
];

const AT_TOKEN: [GrantType; 4] =
    [GrantType::AuthorizationCode, GrantType::ClientCredentials, GrantType::Password, GrantType::RefreshToken];

/// From a step in memory to a slow disk.
const STORE_BUCKETS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
