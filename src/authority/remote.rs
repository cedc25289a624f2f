//! The authority outside: asked in its own dialect, once for each question.

mod breaker;
mod health;
mod identity;
mod metadata;
mod places;
mod proof;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{Method, StatusCode, header};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};
use url::Url;

use self::{
    breaker::{Change, Shut},
    health::Health,
    places::Places,
    proof::Proof,
};
pub use self::{
    breaker::{Standing, Whose},
    health::{Seen, State},
    identity::{Expected, Known, NAME_BYTES, Unproven, own_claims},
    places::SignInPage,
};
use super::line::{Full, LONGEST_WAIT, Line};
use crate::{
    config,
    dialect::{self, Content, Endpoint, Heard, Said},
    fetch::{Bounds, Call, FetchError, Fetcher},
    jose::mint::MintError,
    jwks::Provider,
    model::{ErrorCode, Grant, GrantType, RefreshForm, Secret, Time, TokenError, TokenGrant, TokenRequest, UnixTime},
    telemetry::metrics::{IdToken, Limited, Metrics},
};

/// The authority of one generation of the configuration.
pub struct Remote {
    settings: config::Remote,
    identity: String,
    fetcher: Arc<Fetcher>,
    bounds: Bounds,
    places: Places,
    proof: Proof,
    /// The keys of its ID tokens; `None`: none are asked for.
    keys: Option<Arc<Provider>>,
    health: Arc<Health>,
    time: Time,
    /// Apart: a flood of new sessions must not keep those that exist from being renewed.
    beginning: Line,
    renewing: Line,
    /// Before the line of those who renew: an upstream that refuses every token must not fill that one.
    forcing: Line,
    metrics: Arc<Metrics>,
}

impl Remote {
    /// Nothing is asked yet. `name` tells it from other authorities in logs and metrics. Metadata are read on `background`;
    /// `keys` are those of [`config::Remote::id_tokens`]; `old` is
    /// what a reload replaces.
    ///
    /// # Errors
    /// If the key for assertions cannot be used.
    pub fn new(
        name: &str,
        settings: config::Remote,
        keys: Option<Arc<Provider>>,
        time: Time,
        metrics: Arc<Metrics>,
        background: &Handle,
        old: Option<&Remote>,
    ) -> Result<Remote, MintError> {
        let fetcher = Arc::new(Fetcher::new(settings.ca_file.clone()));
        let bounds = Bounds { timeout: settings.timeout, bytes: ANSWER_BYTES };
        let places = Places::new(&settings, &fetcher, bounds, background);
        let proof = Proof::new(&settings.authentication)?;
        let identity = settings.identity();
        // The same authority is as it was, and need not fall over once more to be left alone.
        let same = old.filter(|old| old.identity == identity);
        let health = same.map_or_else(|| Arc::new(Health::of(name)), |old| old.health.clone());
        metrics.remote.prepare(name, settings.api.dialect(), &settings.grants());
        let (beginning, renewing) = (Line::new(settings.max_concurrent), Line::patient(settings.max_concurrent));
        let forcing = Line::patient(settings.max_concurrent.div_ceil(2));
        Ok(Remote {
            settings,
            identity,
            fetcher,
            bounds,
            places,
            proof,
            keys,
            health,
            time,
            beginning,
            renewing,
            forcing,
            metrics,
        })
    }

    pub fn settings(&self) -> &config::Remote {
        &self.settings
    }

    /// What it is called in logs and metrics.
    pub fn name(&self) -> &str {
        self.health.name()
    }

    /// Which authority it is (see [`config::Remote::identity`]).
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the authority gives for `grant`, asked at `now`, to begin a session. One attempt: an answer that is lost may
    /// have changed something there. `whose`: for whom; `None`: for sidegate itself, with nothing that others could choose.
    ///
    /// # Errors
    /// `invalid_grant` if, and only if, the authority says clearly that what was presented is no good. Anything else is
    /// no judgement on it: the cause says what is wrong.
    pub async fn ask(&self, grant: Grant, whose: Option<Whose>, now: UnixTime) -> Result<TokenGrant, TokenError> {
        let _place = self.enter(&self.beginning, whose).await?;
        self.asked(grant, whose, now, ready(true).boxed()).await.map_err(|not_given| not_given.error)
    }

    /// A turn to renew a session of `whose` that goes on, `forced` if only since an upstream refuses what there is. It may have
    /// to be waited for, so it comes before the lease on the session.
    ///
    /// # Errors
    /// If too many wait already, or it is away; nothing was asked.
    pub async fn turn(&self, whose: Whose, forced: bool) -> Result<Turn<'_>, TokenError> {
        let first = if forced { Some(self.enter(&self.forcing, Some(whose)).await?) } else { None };
        let place = self.enter(&self.renewing, Some(whose)).await?;
        Ok(Turn { remote: self, whose, _places: (place, first) })
    }

    async fn enter(&self, line: &Line, whose: Option<Whose>) -> Result<OwnedSemaphorePermit, TokenError> {
        // First: it is a place to wait for an answer in, and there will be none.
        self.health.may_ask(whose, self.time.now()).map_err(|shut| self.away(shut))?;
        line.enter().await.map_err(|Full| {
            self.metrics.rate_limited(Limited::Authority);
            let busy = TokenError::unavailable().throttled(LONGEST_WAIT.as_secs());
            busy.because("too many at once ask the authority: look at authority.remote.max_concurrent")
        })
    }

    async fn asked(
        &self,
        grant: Grant,
        whose: Option<Whose>,
        now: UnixTime,
        may_send: BoxFuture<'_, bool>,
    ) -> Result<TokenGrant, NotGiven> {
        // What sidegate asks for itself, it asks in the same words for everybody.
        let whose = whose.filter(|_| grant.kind() != GrantType::ClientCredentials);
        // Again: it may have gone away while this one stood in the line.
        let leave = self.health.admit(whose, self.time.now()).map_err(|shut| self.away(shut))?;
        let (kind, started) = (grant.kind(), Instant::now());
        // Boxed: the futures of all who ask would be as large.
        let given = Box::pin(self.put(grant, now, may_send)).await;
        let outcome = given.as_ref().map_err(|not_given| &not_given.error);
        let dialect = self.settings.api.dialect();
        self.metrics.remote.asked(self.name(), dialect, kind, outcome, started.elapsed());
        if let Some(Change::Opened { .. }) = leave.settle(given.as_ref(), self.time.now()) {
            self.metrics.remote.breaker_opened(self.name());
        }
        given
    }

    /// Nothing was asked, and nothing is anybody's fault but the authority's.
    fn away(&self, shut: Shut) -> TokenError {
        self.metrics.remote.breaker_refused(self.name());
        let error = TokenError { retry_after: Some(shut.retry_after), ..TokenError::unavailable() };
        error.because("the authority is away, and is asked nothing for a while")
    }

    async fn put(&self, grant: Grant, now: UnixTime, may_send: BoxFuture<'_, bool>) -> Result<TokenGrant, NotGiven> {
        let tokens = self.places.tokens(now).await.map_err(|unknown| NotGiven {
            asked: unknown.was_asked(),
            ..NotGiven::from(TokenError::unavailable().because(format!("the authority: {unknown}")))
        })?;
        let request = TokenRequest {
            client: self.proof.client(&self.settings, &tokens.obtain, now)?,
            grant,
            scope: Some(self.settings.scopes.clone()),
            resources: Vec::new(),
            refresh_form: RefreshForm::Full,
        };
        let said = dialect::write_request(&self.settings.api, &request)
            .map_err(|error| TokenError::unavailable().because(error.to_string()))?;
        let mut url = said.place(match said.endpoint {
            Endpoint::Obtain => &tokens.obtain,
            Endpoint::Renew => &tokens.renew,
        });
        let call = call(said, &mut url);
        // Last: whatever was waited for until here, whoever asks may have lost the right to.
        if !may_send.await {
            return Err(TokenError::unavailable().because("nothing was sent: others may ask as well by now").into());
        }
        let called = self.fetcher.call(&url, call, self.bounds).await.map_err(unreachable)?;
        if called.status.is_redirection() {
            // Secrets go to the place that the configuration names and nowhere else; and it is no judgement on them.
            let error = TokenError::unavailable().because("the authority: it redirects, which is not followed");
            return Err(NotGiven { error, spent: false, asked: true, answered: true });
        }
        let heard = Heard { status: called.status, headers: &called.headers, body: &called.body, asked: now };
        match dialect::read_reply(&self.settings.api, &heard) {
            Ok(given) => Ok(TokenGrant { expires_in: lifetime(given.expires_in), ..given }),
            Err(error) => {
                let spent = may_have_done_it(called.status, error.code);
                Err(NotGiven { spent, error, asked: true, answered: !is_gateways(called.status) })
            }
        }
    }

    /// Who signed in, by the ID token in `given`; `nonce` is what the user was sent away with. `None`: ID tokens are
    /// not asked for.
    ///
    /// # Errors
    /// Why it is not to be believed, or not now.
    pub async fn who(
        &self,
        given: &TokenGrant,
        nonce: Option<&Secret<String>>,
        now: UnixTime,
    ) -> Result<Option<Known>, Unproven> {
        let Some(keys) = &self.keys else { return Ok(None) };
        self.counted(Box::pin(self.known(keys, given, nonce, now)).await).map(Some)
    }

    /// Whether the ID token in `given`, if there is one, still speaks of `subject` (OpenID Connect Core, section 12.2).
    ///
    /// # Errors
    /// Why it does not, or nobody knows now.
    pub async fn still(&self, subject: &str, given: &TokenGrant, now: UnixTime) -> Result<(), Unproven> {
        let Some(keys) = self.keys.as_ref().filter(|_| given.id_token.is_some()) else { return Ok(()) };
        let known = Box::pin(self.known(keys, given, None, now)).await;
        let same = known.and_then(|known| if known.subject == subject { Ok(()) } else { Err(Unproven::OtherSubject) });
        self.counted(same)
    }

    async fn known(
        &self,
        keys: &Provider,
        given: &TokenGrant,
        nonce: Option<&Secret<String>>,
        now: UnixTime,
    ) -> Result<Known, Unproven> {
        let token = given.id_token.as_ref().ok_or(Unproven::Missing)?;
        let expected = Expected { client_id: &self.settings.client_id, access_token: &given.access_token, nonce };
        identity::verify(keys, token, expected, now).await
    }

    fn counted<T>(&self, outcome: Result<T, Unproven>) -> Result<T, Unproven> {
        self.metrics.remote.id_token(match &outcome {
            Ok(_) => IdToken::Accepted,
            Err(Unproven::Undecided) => IdToken::Undecided,
            Err(_) => IdToken::Refused,
        });
        outcome
    }

    pub fn keys(&self) -> Option<&Arc<Provider>> {
        self.keys.as_ref()
    }

    /// How it was when it was last asked.
    pub fn seen(&self) -> Seen {
        self.health.seen()
    }

    /// Where users sign in.
    ///
    /// # Errors
    /// If the authority cannot be asked for it now, or has no such place.
    pub async fn sign_in_page(&self, now: UnixTime) -> Result<SignInPage, TokenError> {
        self.places.sign_in(now).await
    }
}

/// The request as it goes out; a GET puts its members into `url`, which is then as secret as they are.
fn call(said: Said, url: &mut Url) -> Call {
    let (method, content_type, body) = match said.content {
        Content::Body { content_type, body } => (Method::POST, Some(content_type), Bytes::from_owner(Body(body))),
        Content::Query(query) => {
            url.set_query(Some(query.expose()));
            (Method::GET, None, Bytes::new())
        }
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::ACCEPT, Some(said.accept))];
    let headers = headers.into_iter().chain([(header::AUTHORIZATION, said.authorization)]);
    Call { method, headers: headers.filter_map(|(name, value)| Some((name, value?))).collect(), body }
}

/// The right to ask one question, or several one after the other.
pub struct Turn<'r> {
    remote: &'r Remote,
    whose: Whose,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Turn<'_> {
    /// As [`Remote::ask`]. One attempt; `may_send` has the last word before anything is sent.
    ///
    /// # Errors
    /// The same, and whether what was presented may be spent all the same.
    pub async fn ask(
        &self,
        grant: Grant,
        now: UnixTime,
        may_send: BoxFuture<'_, bool>,
    ) -> Result<TokenGrant, NotGiven> {
        self.remote.asked(grant, Some(self.whose), now, may_send).await
    }
}

/// Why the authority gave nothing.
#[derive(Debug)]
pub struct NotGiven {
    pub error: TokenError,
    /// Nobody knows whether it has done what was asked: a token that is good for one use only may have been used.
    pub spent: bool,
    /// Somebody tried to reach it. Otherwise it is as good as never asked: it was taken for away, too many ask it, or what
    /// is wanted could not be said.
    pub asked: bool,
    /// It did answer, if only to this one.
    pub answered: bool,
}

impl From<TokenError> for NotGiven {
    fn from(error: TokenError) -> NotGiven {
        NotGiven { error, spent: false, asked: false, answered: false }
    }
}

/// Whether an answer that is no clear word leaves open what was done before it.
fn may_have_done_it(status: StatusCode, code: ErrorCode) -> bool {
    let unclear = matches!(code, ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError);
    unclear && (status.is_success() || (status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE))
}

/// What stands before an authority that is away says so, whatever it was asked.
fn is_gateways(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Wiped once it is sent.
struct Body(Secret<Vec<u8>>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// No answer says nothing of what was presented.
fn unreachable(error: FetchError) -> NotGiven {
    let spent = match error {
        FetchError::Url | FetchError::Roots(_) | FetchError::Connect(_) => false,
        FetchError::Timeout(_) | FetchError::Transport(_) | FetchError::Status(_) | FetchError::TooLarge(_) => true,
    };
    let asked = !matches!(error, FetchError::Url | FetchError::Roots(_));
    let error = TokenError::unavailable().because(format!("the authority: {error}"));
    NotGiven { error, spent, asked, answered: false }
}

/// A token that is over when it comes would be renewed without end, and one that outlives everything never.
fn lifetime(said: u64) -> u64 {
    if said == 0 { SHORTEST_LIFE } else { said.min(LONGEST_LIFE) }
}

/// Seconds.
const SHORTEST_LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 366 * 24 * 3600;
/// Bytes of an answer.
const ANSWER_BYTES: usize = 256 * 1024;
