//! Carries a request to its upstream and the response back: pooled, streamed, bounded in time.
//!
//! Each worker is a runtime of one thread and has connections of its own, so that nothing on the way is shared
//! between cores and a connection is always driven where it is used.

mod connect;
mod driver;
mod error;
mod exchange;
mod h1;
mod h2;
mod kept;
mod pool;
mod request_body;
mod response_body;
mod retry;
mod send;
mod stats;
mod timer;
mod tls;
mod upgrade;
mod wait;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{TryFutureExt, future::Either};
use http::{Request, Response};
use tokio::time::Instant;

use self::{connect::Endpoint, pool::Pool, stats::Stats};
pub use self::{
    error::{BodyError, UpstreamError, UpstreamSetupError},
    kept::Again,
    request_body::{RequestBody, TrailerFilter},
    response_body::ResponseBody,
    stats::Snapshot,
    upgrade::Tunnel,
};
use crate::{config, model::UnixTime};

/// One upstream of the configuration with its connections.
///
/// Dropped, it closes those that are idle; exchanges under way come to their end.
pub struct Upstream {
    shared: Arc<Shared>,
}

struct Shared {
    settings: config::Upstream,
    endpoint: Endpoint,
    workers: Box<[Worker]>,
    stats: Arc<Stats>,
}

#[derive(Default)]
struct Worker {
    pool: Mutex<Pool>,
    /// Whoever holds it opens the HTTP/2 connection that the others wait for.
    opening: tokio::sync::Mutex<()>,
}

/// What an upstream has answered.
pub struct Answer {
    pub response: Response<ResponseBody>,
    /// The request once more, if the answer is a 401 and it was kept.
    pub again: Option<Box<Again>>,
}

impl Upstream {
    /// Reads certificates and keys; connects to nothing. `workers`: the number of worker threads.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a name that no certificate could carry.
    pub fn new(settings: config::Upstream, workers: usize) -> Result<Self, UpstreamSetupError> {
        let endpoint = Endpoint::new(&settings)?;
        let workers = (0..workers).map(|_| Worker::default()).collect();
        Ok(Upstream { shared: Arc::new(Shared { settings, endpoint, workers, stats: Arc::default() }) })
    }

    /// The settings that it was made from.
    pub fn settings(&self) -> &config::Upstream {
        &self.shared.settings
    }

    /// When the first certificate ends that we show there; `None`: none is shown.
    pub fn certificate_expires(&self) -> Option<UnixTime> {
        self.shared.endpoint.certificate_expires()
    }

    /// What has been counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let idle = (0..self.shared.workers.len()).map(|worker| self.shared.pool(worker).idle() as u64).sum();
        self.shared.stats.snapshot(idle)
    }

    /// Sends `request` and returns the response once its head is there; its body follows as it comes. `now`: what the clock says.
    ///
    /// `worker` is the thread that this runs on. `request` has its final path, `Host` and headers; hop-by-hop headers
    /// are gone, except `Upgrade` and `Connection: upgrade` where hyper's `OnUpgrade` is among its extensions. Sent
    /// twice only if nothing of it was sent the first time, or if the method is idempotent, the body is at hand and
    /// the pooled connection died without an answer.
    ///
    /// `keep`: the bytes of its body that are kept in memory so that the caller can send it once more after a 401. That
    /// says that it was not processed, so the method does not matter. `None` costs nothing; neither does a request without a
    /// body that has a spare copy anyway, in case that its connection dies.
    ///
    /// With `Expect: 100-continue` the body waits for the upstream's 100 (a second at the most): hyper's server tells
    /// the client to go on when the body is first asked for, so a refusal reaches the client before it has sent
    /// anything. Other 1xx responses end here; hyper's server cannot pass them on.
    ///
    /// A response with status 101 has a [`Tunnel`] among its extensions, to be run by the caller.
    ///
    /// # Errors
    /// See [`UpstreamError`]; all of them are counted. Dropping the future or the body of the response closes the
    /// HTTP/1.1 connection or resets the HTTP/2 stream.
    ///
    /// # Panics
    /// If `worker` is not below the number given to [`Upstream::new`].
    pub fn send(
        &self,
        worker: usize,
        request: Request<RequestBody>,
        timeouts: &config::Timeouts,
        keep: Option<usize>,
        now: Instant,
    ) -> impl Future<Output = Result<Answer, UpstreamError>> + Send {
        let sent = if self.shared.settings.http2 {
            // Boxed: it must not make the future of an HTTP/1.1 request larger.
            Either::Left(Box::pin(send::http2(&self.shared, worker, request, timeouts, keep)))
        } else {
            Either::Right(send::http1(&self.shared, worker, request, timeouts, keep, now))
        };
        sent.inspect_err(|error| self.shared.stats.failed(error))
    }
}

impl Shared {
    fn pool(&self, worker: usize) -> MutexGuard<'_, Pool> {
        // Nothing that is done under the lock leaves the pool half changed.
        self.workers[worker].pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(self: &Arc<Self>, worker: usize, connection: Box<h1::Connection>) {
        let first = self.pool(worker).put(connection, Instant::now(), &self.settings.connections);
        if first {
            pool::start_sweeper(self, worker);
        }
    }

    fn put_multiplexed(self: &Arc<Self>, worker: usize, connection: h2::Connection) {
        let first = self.pool(worker).put_multiplexed(connection);
        if first {
            pool::start_sweeper(self, worker);
        }
    }
}
