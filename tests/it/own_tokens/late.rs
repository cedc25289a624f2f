//! A store that is slow or away, and the races that nobody can time from outside.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use sidegate::{
    auth::{Auth, Refusal, bearer, own::Own, policy::Policy, verdict::Verdict},
    authority::Authority,
    config::{self, TokenPlace},
    jose::{
        SigningKeys,
        rotation::{self, Plan, Ring},
    },
    model::{Connection, Context, GrantType, HeadLimits, Peer, RequestId, Time, UnixTime},
    session::{
        Candidate, Code, Created, Exchanged, Filter, Intend, Intended, Left, News, Outcome, Renewed, Renewer, Rotate,
        Session, SessionId, SessionStore, Sessions, Slid, Slide, Spent, StoreError, Succeed, Succeeded, about::About,
        memory::Memory, record::RevocationReason, ring::KeyRing,
    },
    telemetry::{metrics::Metrics, reason::Reason},
};
use tokio::sync::{broadcast, watch};

use super::session;

/// A store in memory whose answers to `find` the test holds back, or that is away, or that others share.
pub(super) struct Slow {
    inside: Memory,
    held: watch::Sender<bool>,
    /// How many look-ups have read and wait to answer.
    pub(super) read: watch::Sender<usize>,
    pub(super) away: AtomicBool,
    /// Seconds that its clock is ahead of the process's.
    pub(super) ahead: AtomicI64,
    news: Option<broadcast::Sender<News>>,
}

impl Slow {
    fn fault(&self) -> Result<(), StoreError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("away".to_owned())),
            false => Ok(()),
        }
    }
}

impl SessionStore for Slow {
    fn now(&self) -> UnixTime {
        self.inside.now()
    }

    fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::SeqCst)
    }

    fn news(&self) -> Option<broadcast::Receiver<News>> {
        self.news.as_ref().map(broadcast::Sender::subscribe)
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        async move {
            self.fault()?;
            // What it answers later is what it reads now.
            let found = self.inside.find(id).await;
            self.read.send_modify(|read| *read += 1);
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            found
        }
        .boxed()
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.inside.create(session, most)
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.inside.rotate(id, step)
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inside.revoke(id, reason)
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inside.acknowledge(id, generation)
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        self.inside.intend(id, step)
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inside.extend(id, epoch, lease)
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inside.leave(id, epoch, left)
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.inside.candidates(id)
    }

    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.inside.lapsed(owner, after, most)
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        self.inside.renew(id, renewed)
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.inside.slide(id, step)
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        async move {
            self.fault()?;
            self.inside.succeed(id, step).await
        }
        .boxed()
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.inside.find_foreign(digest)
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inside.put_code(id, code)
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.inside.find_code(id)
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.inside.spend_code(session, most)
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inside.use_once(key, until)
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.inside.list(filter, after, most)
    }

    fn records(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<sidegate::session::moving::Records, StoreError>> {
        self.inside.records(after, most)
    }

    fn restore(
        &self,
        moved: sidegate::session::moving::Moved,
    ) -> BoxFuture<'_, Result<sidegate::session::moving::Restored, StoreError>> {
        self.inside.restore(moved)
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inside.count()
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inside.purge()
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        self.inside.load(name)
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inside.save(name, expected, content)
    }
}

pub(super) struct House {
    pub store: Arc<Slow>,
    pub sessions: Arc<Sessions>,
    auth: Auth,
    policy: Policy,
    /// The store's; what requests are judged by is behind it by as much as the store is ahead.
    pub time: Time,
}

impl House {
    fn new() -> House {
        House::of("grants: [client_credentials]")
    }

    /// Its client is like this.
    fn of(client: &str) -> House {
        House::sharing(client, 0, None)
    }

    /// The same with a store that is so many seconds ahead, and that is shared with processes that are heard.
    pub fn apart(client: &str, ahead: i64) -> House {
        House::sharing(client, ahead, Some(broadcast::Sender::new(64)))
    }

    fn sharing(client: &str, ahead: i64, news: Option<broadcast::Sender<News>>) -> House {
        sidegate::app::install_crypto();
        let yaml = format!(
            "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nauthority:\n  issuer: http://127.0.0.1:8080\n  \
             audiences: [orders-api]\n  clients: [{{ id: app, secret_hashes: [\"sha256:{}\"], {client} }}]\n\
             store: {{ memory: {{}} }}\nupstreams: [{{ name: app, url: \"http://127.0.0.1:1\", credential: {{ none: {{}} }} }}]\n\
             routes: [{{ name: all, paths: [/], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
            "0".repeat(64)
        );
        let loaded = config::load_str(&yaml, "test.yaml", Path::new("/"), &config::Environment::default());
        let config = Arc::new(loaded.unwrap_or_else(|problems| panic!("{problems}")).config);
        let time = Time::default();
        let store = Arc::new(Slow {
            inside: Memory::new(time.clone()),
            held: watch::Sender::new(false),
            read: watch::Sender::new(0),
            away: AtomicBool::new(false),
            ahead: AtomicI64::new(ahead),
            news,
        });
        let ring = Arc::new(KeyRing::ephemeral().unwrap());
        let sessions = Arc::new(Sessions::new(store.clone(), ring, tokio::runtime::Handle::current()).unwrap());
        let metrics = Arc::new(Metrics::new());
        let authority = Arc::new(Authority::new(config.clone(), None, None, metrics.clone()).unwrap().unwrap());
        let signing = Arc::new(SigningKeys::generated(jsonwebtoken::Algorithm::ES256).unwrap());
        let own = Own::new(config.clone(), sessions.clone(), signing, authority, None);
        let auth = Auth::new(&config, Vec::new(), Some(own), None, metrics).unwrap();
        let policy = auth.policy(config.routes[0].policy.as_ref().unwrap());
        House { store, sessions, auth, policy, time }
    }

    pub async fn open(&self) -> (SessionId, String) {
        let mut session = session(&self.sessions);
        let made = self.sessions.ring().make_access(session.id).unwrap();
        session.state.access[0].digest = made.digest;
        let id = session.id;
        self.store.create(session, 100).await.unwrap();
        (id, made.token.expose().clone())
    }

    /// A JWT of a user's session.
    pub async fn open_jwt(&self) -> String {
        let mut session = session(&self.sessions);
        session.granted.grant = GrantType::Password;
        let (own, access) = (self.auth.own().unwrap(), &mut session.state.access[0]);
        let about = About {
            session: session.id,
            client: own.authority.client("app").unwrap(),
            granted: &session.granted,
            scope: &session.granted.scope,
            audiences: &session.granted.audiences,
            issued: access.issued,
            expires: access.expires,
        };
        let made = about.jwt(own.issuer(), &own.signing).unwrap();
        access.digest = made.digest;
        self.store.create(session, 100).await.unwrap();
        made.token.expose().clone()
    }

    pub async fn judge(&self, token: &str) -> Result<Arc<Verdict>, Refusal> {
        let (headers, cx) = self.presented(token);
        self.auth.judge(bearer::extract(&headers, &PLACE, None).unwrap(), &self.policy, &cx).await
    }

    /// As a request goes: what its answer would carry.
    pub async fn successor(&self, token: &str) -> Result<Option<HeaderValue>, Refusal> {
        let (headers, cx) = self.presented(token);
        let token = bearer::extract(&headers, &PLACE, None).unwrap();
        let mut principal = self.auth.authenticate(token, &self.policy, &cx).await?;
        self.auth.await_successor(&mut principal).await;
        Ok(principal.successor().map(|successor| successor.token.clone()))
    }

    fn presented(&self, token: &str) -> (HeaderMap, Context) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        let ours = self.time.wrong_by(-self.store.ahead());
        let cx = Context {
            now: ours.now(),
            moment: ours.now_millis(),
            started: std::time::Instant::now(),
            id: RequestId::new(1),
            trace: None,
            client: None,
            connection: Arc::new(Connection::new(
                "main".into(),
                HeadLimits { bytes: 1, count: 1 },
                None,
                Peer::Unix,
                false,
                0,
            )),
        };
        (headers, cx)
    }
}

const PLACE: TokenPlace = TokenPlace { header: AUTHORIZATION, query_parameter: None, basic: None };

#[tokio::test]
async fn a_session_that_is_revoked_while_the_store_answers_is_not_revived() {
    let house = Arc::new(House::new());
    let (id, token) = house.open().await;
    house.store.held.send_replace(true);
    let judging = tokio::spawn({
        let (house, token) = (house.clone(), token.clone());
        async move { house.judge(&token).await }
    });
    // The store has read the session as it lives, and has not answered yet.
    house.store.read.subscribe().wait_for(|read| *read == 1).await.unwrap();
    house.sessions.revoke(id, RevocationReason::Client).await.unwrap();
    house.store.held.send_replace(false);
    assert_eq!(judging.await.unwrap().unwrap_err().reason, Reason::TokenRevoked);
    assert_eq!(house.judge(&token).await.unwrap_err().reason, Reason::TokenRevoked);
}

#[tokio::test]
async fn a_revocation_goes_to_its_end_when_nobody_waits_for_it() {
    let house = House::new();
    let (id, token) = house.open().await;
    let verdict = house.judge(&token).await.unwrap();
    {
        let mut revoking = std::pin::pin!(house.sessions.revoke(id, RevocationReason::Client));
        // Begun, and given up.
        assert!(futures_util::poll!(&mut revoking).is_pending());
    }
    for _ in 0..1000 {
        if !verdict.is_alive() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!verdict.is_alive());
    assert_eq!(house.judge(&token).await.unwrap_err().reason, Reason::TokenRevoked);
}

#[tokio::test]
async fn a_store_that_is_away_leaves_what_is_cached_and_decides_nothing_else() {
    let house = House::new();
    let (_, cached) = house.open().await;
    let (_, new) = house.open().await;
    house.judge(&cached).await.unwrap();
    house.store.away.store(true, Ordering::SeqCst);
    house.judge(&cached).await.unwrap();
    for _ in 0..2 {
        let refusal = house.judge(&new).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.code), (Reason::Undecided, "store_unavailable"));
    }
    house.store.away.store(false, Ordering::SeqCst);
    // Nothing was forgotten, and nothing remembered.
    house.judge(&new).await.unwrap();
}

pub(super) const SUCCEEDS: &str = "grants: [password], scopes: [orders, admin], \
                        access_token: { renewal: successor, format: jwt, lifetime: 10m }";

#[tokio::test]
async fn a_store_that_is_away_fails_no_request_whose_token_is_good() {
    let house = House::of(SUCCEEDS);
    let token = house.open_jwt().await;
    assert_eq!(house.successor(&token).await.unwrap(), None);
    house.time.advance(400);
    house.store.away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(house.successor(&token).await.unwrap(), None);
    }
    house.store.away.store(false, Ordering::SeqCst);
    assert_eq!(house.successor(&token).await.unwrap(), None, "it is not asked again at once");
    house.time.advance(5);
    assert!(house.successor(&token).await.unwrap().is_some());
    house.time.advance(195);
    assert_eq!(house.successor(&token).await.unwrap_err().reason, Reason::TokenExpired);
}

#[tokio::test]
async fn a_store_that_is_slow_is_waited_for_a_moment_and_what_comes_of_it_is_not_lost() {
    let house = House::of(SUCCEEDS);
    let token = house.open_jwt().await;
    house.successor(&token).await.unwrap();
    house.time.advance(400);
    house.store.held.send_replace(true);
    let read = *house.store.read.borrow();
    for _ in 0..2 {
        assert_eq!(house.successor(&token).await.unwrap(), None);
    }
    assert_eq!(*house.store.read.borrow(), read + 1, "one asks");
    house.store.held.send_replace(false);
    assert!(house.successor(&token).await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_whose_key_is_gone_is_taken_no_more_whichever_key_signed_its_successor() {
    let house = House::of(SUCCEEDS);
    let signing = house.auth.own().unwrap().signing.clone();
    let plan = Plan { algorithm: jsonwebtoken::Algorithm::ES256, rotate_after: None, publish_ahead: 0 };
    let (mut ring, now) = (Ring::default(), house.time.now());
    ring.advance(&plan, now).unwrap();
    signing.install(&ring).unwrap();
    let token = house.open_jwt().await;
    house.successor(&token).await.unwrap();
    ring.rotate(&plan, true, now).unwrap();
    signing.install(&ring).unwrap();
    house.time.advance(400);
    let next = house.successor(&token).await.unwrap().unwrap();
    // The first key is taken away, and nobody's clock has moved.
    ring.advance(&plan, now.plus(rotation::KEPT)).unwrap();
    signing.install(&ring).unwrap();
    assert_eq!(house.successor(&token).await.unwrap_err().reason, Reason::KeyUnknown);
    house.judge(next.to_str().unwrap()).await.unwrap();
}
