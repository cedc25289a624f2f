//! Keeps the signing keys: in the session store, where they rotate by themselves, or as a folder of files says.

use std::{
    future::pending,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
    },
    task::AbortHandle,
};

use crate::{
    config::Signing,
    jose::{
        SigningKeys, folder,
        mint::MintError,
        rotation::{Begun, DOCUMENT, Plan, Ring},
    },
    model::{BoxError, Time, UnixTime},
    session::{News, SessionStore, StoreError},
    telemetry::audit::{Entry, Event},
};

/// Outlives a reload; dropping it stops its task.
pub struct KeyKeeper {
    signing: Arc<SigningKeys>,
    place: Place,
}

enum Place {
    Store(Arc<Kept>, AbortHandle),
    Folder(PathBuf),
}

/// What the task shares with those who rotate by hand.
struct Kept {
    store: Arc<dyn SessionStore>,
    signing: Arc<SigningKeys>,
    plan: Mutex<Plan>,
    /// The plan has changed.
    wake: Notify,
    /// Why they could not be looked after last; `None`: they could.
    trouble: Mutex<Option<String>>,
}

/// Why the keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("the signing keys are in a folder: sidegate keys rotate")]
    InFolder,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error("other processes rotate the keys at the same time")]
    Contended,
}

impl KeyKeeper {
    /// Reads the keys, or makes the first ones. Unless the store answers at once, this blocks, and is not to be called
    /// from within a runtime. Where others keep the store with us (`shared`), it may be away: then the keys come later.
    ///
    /// # Errors
    /// If they cannot be read or kept.
    pub fn start(
        settings: &Signing,
        store: &Arc<dyn SessionStore>,
        shared: bool,
        time: &Time,
        background: &Handle,
    ) -> Result<KeyKeeper, BoxError> {
        if let Some(folder) = &settings.folder {
            let signing = Arc::new(SigningKeys::new(&folder::read(folder)?)?);
            return Ok(KeyKeeper { signing, place: Place::Folder(folder.clone()) });
        }
        let _inside = background.enter();
        // Before the keys are read: what others do from here on is not overlooked.
        let news = store.news();
        let mut begun = pin!(first(store.as_ref(), plan_of(settings)));
        let first = begun.as_mut().now_or_never().unwrap_or_else(|| background.block_on(begun));
        let (signing, due, trouble) = match first {
            Ok((signing, due)) => (signing, due, None),
            Err(RotateError::Store(error @ StoreError::Unavailable(_))) if shared => {
                tracing::warn!(%error, "there are no signing keys yet; what needs them gets 503");
                (Arc::new(SigningKeys::expected()), None, Some(error.to_string()))
            }
            Err(RotateError::Store(error @ StoreError::Unreadable(_))) => {
                return Err(format!("the signing keys in the session store: {error}; {REMEDY}").into());
            }
            Err(error) => return Err(error.into()),
        };
        let kept = Arc::new(Kept {
            store: store.clone(),
            signing: signing.clone(),
            plan: Mutex::new(plan_of(settings)),
            wake: Notify::new(),
            trouble: Mutex::new(trouble),
        });
        let task = background.spawn(kept.clone().keep(time.clone(), news, due)).abort_handle();
        Ok(KeyKeeper { signing, place: Place::Store(kept, task) })
    }

    /// Whether [`KeyKeeper::reconfigure`] would find good keys. Changes nothing.
    ///
    /// # Errors
    /// If the folder holds none.
    pub fn check(&self) -> Result<(), BoxError> {
        if let Place::Folder(folder) = &self.place {
            SigningKeys::new(&folder::read(folder)?)?;
        }
        Ok(())
    }

    /// Takes over new settings; a folder is read again.
    ///
    /// # Errors
    /// If the folder holds no good keys: then those in force stay.
    pub fn reconfigure(&self, settings: &Signing) -> Result<(), BoxError> {
        let place = match &self.place {
            Place::Store(..) => None,
            Place::Folder(folder) => Some(folder),
        };
        if settings.folder.as_ref() != place {
            tracing::warn!(setting = "authority.signing.folder", "this setting takes effect at the next start");
        }
        match &self.place {
            Place::Folder(folder) => self.signing.install(&folder::read(folder)?)?,
            Place::Store(kept, _) => {
                *kept.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan_of(settings);
                kept.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Begins a rotation now: the new key is published at once and signs after `publish_ahead`, or, `at_once`, without
    /// waiting for that.
    ///
    /// # Errors
    /// If the keys are not kept in the store, or it is not available.
    pub async fn rotate_now(&self, at_once: bool) -> Result<Begun, RotateError> {
        let Place::Store(kept, _) = &self.place else { return Err(RotateError::InFolder) };
        let plan = kept.plan();
        let begun = step(kept.store.as_ref(), &kept.signing, |ring, now| {
            ring.rotate(&plan, at_once, now).map(|begun| (true, begun))
        });
        let begun = begun.await?;
        kept.wake.notify_one();
        Ok(begun)
    }

    /// Why the keys cannot be looked after, if that is so.
    pub fn trouble(&self) -> Option<String> {
        match &self.place {
            Place::Store(kept, _) => kept.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Place::Folder(_) => None,
        }
    }

    pub fn signing(&self) -> &Arc<SigningKeys> {
        &self.signing
    }
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        if let Place::Store(_, task) = &self.place {
            task.abort();
        }
    }
}

impl Kept {
    async fn keep(self: Arc<Self>, time: Time, mut news: Option<broadcast::Receiver<News>>, mut due: Option<UnixTime>) {
        let mut deaf = false;
        loop {
            // Also when nothing is due here: another process may have rotated.
            let pause = if deaf || !self.signing.are_there() { LOOK_SOON } else { LOOK_AGAIN };
            let soon = self.store.now().plus(pause.as_secs());
            tokio::select! {
                () = time.sleep_until(self.store.on_our_clock(due.map_or(soon, |due| due.min(soon)))) => {}
                () = self.wake.notified() => {}
                hears = changed(&mut news) => deaf = !hears,
            }
            let plan = self.plan();
            let advanced = step(self.store.as_ref(), &self.signing, |ring, now| {
                let changed = ring.advance(&plan, now)?;
                Ok((changed, ring.due(&plan)))
            });
            due = match advanced.await {
                Ok(due) => {
                    if self.note(None) {
                        tracing::info!("the signing keys are looked after again");
                    }
                    due
                }
                Err(error) => {
                    // The keys in force stay: nothing is refused for it.
                    if self.note(Some(error.to_string())) {
                        tracing::warn!(%error, "the signing keys cannot be looked after; trying again");
                    }
                    None
                }
            };
        }
    }

    /// Whether there is trouble now and was none before, or the other way round.
    fn note(&self, trouble: Option<String>) -> bool {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let turned = noted.is_some() != trouble.is_some();
        *noted = trouble;
        turned
    }

    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when another process may have changed the keys: true, or may do so from now on without being heard: false.
async fn changed(news: &mut Option<broadcast::Receiver<News>>) -> bool {
    let Some(heard) = news else { return pending().await };
    loop {
        match heard.recv().await {
            Ok(News::Document | News::Missed) | Err(RecvError::Lagged(_)) => return true,
            Ok(News::Deaf) => return false,
            Ok(News::Ended(_) | News::Renewed(_)) => {}
            Err(RecvError::Closed) => return pending().await,
        }
    }
}

async fn first(store: &dyn SessionStore, plan: Plan) -> Result<(Arc<SigningKeys>, Option<UnixTime>), RotateError> {
    let (_, ring, due) = change(store, |ring, now| {
        let changed = ring.advance(&plan, now)?;
        Ok((changed, ring.due(&plan)))
    })
    .await?;
    Ok((Arc::new(SigningKeys::new(&ring)?), due))
}

/// Changes the ring, and takes over what is kept of it then.
async fn step<T>(
    store: &dyn SessionStore,
    signing: &SigningKeys,
    how: impl Fn(&mut Ring, UnixTime) -> Result<(bool, T), MintError>,
) -> Result<T, RotateError> {
    let (changed, ring, told) = change(store, how).await?;
    signing.install(&ring)?;
    if changed {
        Entry::new(Event::KeysRotated, None).write();
    }
    Ok(told)
}

/// One change of the ring that is kept, by compare-and-swap: of processes that do the same, one does it and the others
/// take over what it did.
async fn change<T>(
    store: &dyn SessionStore,
    how: impl Fn(&mut Ring, UnixTime) -> Result<(bool, T), MintError>,
) -> Result<(bool, Ring, T), RotateError> {
    for _ in 0..ATTEMPTS {
        let (version, mut ring) = match store.load(DOCUMENT).await? {
            None => (0, Ring::default()),
            Some((version, content)) => {
                let unreadable = || StoreError::Unreadable("the signing keys".to_owned());
                (version, Ring::read(&content).ok_or_else(unreadable)?)
            }
        };
        let (changed, told) = how(&mut ring, store.now())?;
        if !changed {
            return Ok((false, ring, told));
        }
        let content = ring.write().map_err(|_| MintError::Crypto)?;
        if store.save(DOCUMENT, version, content).await? {
            return Ok((true, ring, told));
        }
        // Another process was first: what it kept is what counts.
    }
    Err(RotateError::Contended)
}

fn plan_of(settings: &Signing) -> Plan {
    Plan {
        algorithm: settings.algorithm,
        rotate_after: settings.rotate_after.map(|after| after.as_secs()),
        publish_ahead: settings.publish_ahead.as_secs(),
    }
}

/// How often the store is asked what other processes did, whatever is heard of them.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The same while nothing is heard of them, or there are no keys yet.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// For keys that are there and cannot be read: nothing but another ring helps, and nothing may take their place.
const REMEDY: &str = "give the ring in keys.master_file that those have who keep this store too";
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::jose::peek;
    use crate::session::{
        memory::Memory,
        redis::{
            Redis,
            testing::{Server, metrics},
        },
        testing::ring,
    };

    fn settings() -> Signing {
        Signing {
            algorithm: Algorithm::ES256,
            folder: None,
            rotate_after: Some(Duration::from_secs(1000)),
            publish_ahead: Duration::from_secs(100),
        }
    }

    /// A replica on `server` with these master keys.
    fn replica(server: &Server, time: &Time, keys: &[u32]) -> Arc<dyn SessionStore> {
        let redis = Redis::open(&server.settings(), ring(keys), time.clone(), &Handle::current(), metrics());
        Arc::new(redis.unwrap())
    }

    async fn begin(store: &Arc<dyn SessionStore>, time: &Time) -> Result<KeyKeeper, String> {
        let (store, time, handle) = (store.clone(), time.clone(), Handle::current());
        let started = move || KeyKeeper::start(&settings(), &store, true, &time, &handle);
        tokio::task::spawn_blocking(started).await.unwrap().map_err(|error| error.to_string())
    }

    async fn start(store: &Arc<dyn SessionStore>, time: &Time) -> KeyKeeper {
        let (store, time, handle) = (store.clone(), time.clone(), Handle::current());
        let started = move || KeyKeeper::start(&settings(), &store, false, &time, &handle).unwrap();
        tokio::task::spawn_blocking(started).await.unwrap()
    }

    async fn until(keeper: &KeyKeeper, stages: &[&str]) {
        let now = || keeper.signing().shown().iter().map(|key| key.stage.as_str()).collect::<Vec<_>>();
        for _ in 0..2000 {
            if now() == stages {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("never came so far: {:?}", now());
    }

    fn kids(keeper: &KeyKeeper) -> Vec<String> {
        keeper.signing().shown().into_iter().map(|key| key.kid).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_processes_agree_on_their_keys_and_rotate_by_themselves() {
        let time = Time::default();
        let store: Arc<dyn SessionStore> = Arc::new(Memory::new(time.clone()));
        let (one, other) = (start(&store, &time).await, start(&store, &time).await);
        assert_eq!(kids(&one), kids(&other));
        for (seconds, stages) in [
            (901, &["current", "next"][..]),
            (100, &["previous", "current"]),
            (900, &["previous", "current", "next"]),
            (crate::jose::rotation::KEPT as i64 - 1000, &["previous", "current"]),
        ] {
            time.advance(seconds);
            until(&one, stages).await;
            // The other looks again within a minute.
            time.advance(60);
            until(&other, stages).await;
            assert_eq!(kids(&one), kids(&other));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn replicas_begin_with_one_ring_and_hear_of_each_others_rotations_at_once() {
        let (server, time) = (Server::start(), Time::default());
        let stores = [0; 4].map(|_| replica(&server, &time, &[1]));
        let begun = futures_util::future::join_all(stores.iter().map(|store| begin(store, &time))).await;
        let keepers: Vec<KeyKeeper> = begun.into_iter().map(Result::unwrap).collect();
        for other in &keepers {
            assert_eq!(kids(other), kids(&keepers[0]));
        }
        // The clock stands: nobody looks because a minute is over.
        let (signing, before) = (keepers[3].signing(), kids(&keepers[3]));
        let begun = Instant::now();
        keepers[0].rotate_now(true).await.unwrap();
        while kids(&keepers[3]) == before {
            assert!(begun.elapsed() < LOOK_AGAIN / 2, "nobody has told");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(signing.shown().iter().map(|key| key.stage.as_str()).collect::<Vec<_>>(), ["previous", "current"]);
        let claims = serde_json::from_str(&crate::jose::testing::claims(serde_json::json!({}))).unwrap();
        let token = keepers[0].signing().sign("at+jwt", &claims).unwrap();
        let kid = peek(&token).unwrap().kid().unwrap().to_owned();
        assert!(kids(&keepers[3]).contains(&kid));
        for other in &keepers {
            until(other, &["previous", "current"]).await;
            assert_eq!((kids(other), other.trouble()), (kids(&keepers[0]), None));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_lacks_the_master_key_of_the_others_says_which_one_and_begins_no_ring_of_its_own() {
        let (server, time) = (Server::start(), Time::default());
        let (one, new) = (replica(&server, &time, &[2, 1]), replica(&server, &time, &[1]));
        let first = begin(&one, &time).await.unwrap();
        let refused = begin(&new, &time).await.err().unwrap();
        assert!(refused.contains("master key 2, which is not in the ring"), "{refused}");
        assert!(refused.contains("keys.master_file"), "{refused}");
        assert_eq!(kids(&begin(&one, &time).await.unwrap()), kids(&first));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keys_come_when_a_shared_store_that_was_away_at_the_start_answers() {
        let (mut server, time) = (Server::start(), Time::default());
        server.kill();
        let keeper = begin(&replica(&server, &time, &[1]), &time).await.unwrap();
        assert!(!keeper.signing().are_there() && keeper.trouble().is_some());
        server.start_again();
        until(&keeper, &["current"]).await;
        assert!(keeper.signing().are_there() && keeper.trouble().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_restart_finds_the_keys_again() {
        let time = Time::default();
        let store: Arc<dyn SessionStore> = Arc::new(Memory::new(time.clone()));
        let before = kids(&start(&store, &time).await);
        assert_eq!(kids(&start(&store, &time).await), before);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rotations_by_hand_do_not_run_into_each_other() {
        let time = Time::default();
        let store: Arc<dyn SessionStore> = Arc::new(Memory::new(time.clone()));
        let (one, other) = (start(&store, &time).await, start(&store, &time).await);
        let (first, second) = tokio::join!(one.rotate_now(false), other.rotate_now(false));
        assert!(first.unwrap().signs_from.0.abs_diff(second.unwrap().signs_from.0) <= 1);
        until(&one, &["current", "next"]).await;
        until(&other, &["current", "next"]).await;
        assert_eq!(kids(&one), kids(&other));
        one.rotate_now(true).await.unwrap();
        until(&one, &["previous", "current"]).await;
    }
}
