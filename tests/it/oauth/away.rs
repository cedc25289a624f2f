//! The endpoints alone, over the wire, with a store that can go away.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::Full;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sidegate::{
    app::App,
    endpoints::Endpoints,
    grants::Grants,
    model::{Connection, Context, HeadLimits, Peer, RequestId, Time, UnixMillis, UnixTime},
    session::{
        Candidate, Code, Created, Exchanged, Filter, Intend, Intended, Left, News, Outcome, Renewed, Renewer, Rotate,
        Session, SessionId, SessionStore, Sessions, Slid, Slide, Spent, StoreError, Succeed, Succeeded, memory::Memory,
        record::RevocationReason, ring::KeyRing,
    },
};
use tokio::{net::TcpListener, sync::broadcast};

use crate::support::sidegate::parse;

/// Serves the endpoints of `yaml`; while the flag is up, the store is away.
pub async fn serve(yaml: &str) -> (SocketAddr, Arc<AtomicBool>) {
    serve_with(yaml, 0).await
}

/// The same, where the first `taken` ids that are drawn are those of other sessions.
pub async fn serve_crowded(yaml: &str, taken: usize) -> SocketAddr {
    serve_with(yaml, taken).await.0
}

async fn serve_with(yaml: &str, taken: usize) -> (SocketAddr, Arc<AtomicBool>) {
    let (config, time) = (parse(yaml), Time::default());
    let (clock, handle) = (time.clone(), tokio::runtime::Handle::current());
    let gate = tokio::task::spawn_blocking(move || App::gate_alone(config, &clock, &handle).unwrap()).await.unwrap();
    let away = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Store::new(time.clone(), away.clone(), taken));
    let own = &gate.endpoints().unwrap().grants;
    let grants = Grants {
        authority: own.authority.clone(),
        sessions: Arc::new(
            Sessions::new(store, Arc::new(KeyRing::ephemeral().unwrap()), tokio::runtime::Handle::current()).unwrap(),
        ),
        signing: own.signing.clone(),
        keys: own.keys.clone(),
        outside: None,
        refresh: own.refresh,
        metrics: own.metrics.clone(),
    };
    let endpoints = Arc::new(Endpoints::new(gate.config(), Arc::new(grants)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (endpoints, now) = (endpoints.clone(), time.now());
            let answer = service_fn(move |request: Request<Incoming>| {
                let endpoints = endpoints.clone();
                async move {
                    let mount = endpoints.find(request.uri().path()).unwrap();
                    let answer = endpoints.answer(mount, request, &context(now)).await;
                    Ok::<_, std::convert::Infallible>(answer.response.map(Full::new))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (address, away)
}

pub fn context(now: UnixTime) -> Context {
    let connection = Connection::new("main".into(), HeadLimits { bytes: 1, count: 1 }, None, Peer::Unix, false, 0);
    Context {
        now,
        moment: UnixMillis(now.0 * 1000),
        started: std::time::Instant::now(),
        id: RequestId::new(1),
        trace: None,
        client: None,
        connection: Arc::new(connection),
    }
}

/// A store in memory that is away while the flag is up.
pub struct Store {
    inside: Arc<Memory>,
    away: Arc<AtomicBool>,
    /// Steps that it did not take.
    pub missed: AtomicUsize,
    taken: AtomicUsize,
    /// Answers still to be lost of steps that replace what the authority gave, and were taken.
    pub lost: AtomicUsize,
    /// It goes away while the next lease is taken, and says so late.
    pub vanishes: AtomicBool,
    news: Option<broadcast::Sender<News>>,
}

impl Store {
    pub fn new(time: Time, away: Arc<AtomicBool>, taken: usize) -> Store {
        Store::around(Arc::new(Memory::new(time)), away, taken, None)
    }

    /// What one of several processes has of a store that they share.
    pub fn shared(inside: Arc<Memory>, away: Arc<AtomicBool>, news: broadcast::Sender<News>) -> Store {
        Store::around(inside, away, 0, Some(news))
    }

    fn around(
        inside: Arc<Memory>,
        away: Arc<AtomicBool>,
        taken: usize,
        news: Option<broadcast::Sender<News>>,
    ) -> Store {
        Store {
            inside,
            away,
            missed: AtomicUsize::new(0),
            taken: taken.into(),
            lost: AtomicUsize::new(0),
            vanishes: AtomicBool::new(false),
            news,
        }
    }

    fn step<'a, T: Send + 'a>(
        &self,
        step: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if self.away.load(Ordering::SeqCst) {
            self.missed.fetch_add(1, Ordering::SeqCst);
            return std::future::ready(Err(StoreError::Unavailable("away".to_owned()))).boxed();
        }
        step
    }
}

impl SessionStore for Store {
    fn now(&self) -> UnixTime {
        self.inside.now()
    }

    fn news(&self) -> Option<broadcast::Receiver<News>> {
        self.news.as_ref().map(broadcast::Sender::subscribe)
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        let fewer = |taken: usize| taken.checked_sub(1);
        if self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            return self.step(std::future::ready(Ok(Created::Taken)).boxed());
        }
        self.step(self.inside.create(session, most))
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.step(self.inside.find(id))
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(self.inside.rotate(id, step))
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(self.inside.revoke(id, reason))
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(self.inside.acknowledge(id, generation))
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        let taken = self.step(self.inside.intend(id, step));
        async move {
            let taken = taken.await;
            if self.vanishes.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_secs(4)).await;
                self.away.store(true, Ordering::SeqCst);
            }
            taken
        }
        .boxed()
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(self.inside.extend(id, epoch, lease))
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(self.inside.leave(id, epoch, left))
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.step(self.inside.candidates(id))
    }

    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.step(self.inside.lapsed(owner, after, most))
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        if self.away.load(Ordering::SeqCst) {
            // What is inside would have taken it by the time that it is asked for its answer.
            return self.step(std::future::pending().boxed());
        }
        let step = self.step(self.inside.renew(id, renewed));
        async move {
            let outcome = step.await;
            let lost = self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lost| lost.checked_sub(1)).is_ok();
            if lost { Err(StoreError::Unavailable("late".to_owned())) } else { outcome }
        }
        .boxed()
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.step(self.inside.slide(id, step))
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.step(self.inside.succeed(id, step))
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.step(self.inside.find_foreign(digest))
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(self.inside.put_code(id, code))
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.step(self.inside.find_code(id))
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.step(self.inside.spend_code(session, most))
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(self.inside.use_once(key, until))
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.step(self.inside.list(filter, after, most))
    }

    fn records(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<sidegate::session::moving::Records, StoreError>> {
        self.step(self.inside.records(after, most))
    }

    fn restore(
        &self,
        moved: sidegate::session::moving::Moved,
    ) -> BoxFuture<'_, Result<sidegate::session::moving::Restored, StoreError>> {
        self.step(self.inside.restore(moved))
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(self.inside.count())
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(self.inside.purge())
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<(u64, Vec<u8>)>, StoreError>> {
        self.step(self.inside.load(name))
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(self.inside.save(name, expected, content))
    }
}
