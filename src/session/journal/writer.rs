//! The one thread that writes. Entries that wait together are made durable by one sync; each is answered only after it.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    folder::{Folder, Home, explain, may_pass},
    live::{Entry, Shared},
    record::{self, Given, HEADER, Key, Record},
};
use crate::{model::Time, session::ring::KeyRing};

pub(super) enum Job {
    Keep {
        key: Key,
        sealed: Vec<u8>,
        /// Dropped unanswered: it is not durable.
        durable: oneshot::Sender<()>,
    },
    Settle(Key),
}

pub(super) struct Writer {
    folder: Folder,
    ring: Arc<KeyRing>,
    time: Time,
    shared: Arc<Shared>,
    /// `None`: there is none that can be trusted.
    own: Option<Home>,
    /// What the last one was, until another one has what stands in it.
    broken: Option<Home>,
    /// Of processes that are gone, by their numbers.
    adopted: HashMap<u32, Adopted>,
    next: u32,
    /// Files that cannot be read, which was said.
    foreign: HashSet<PathBuf>,
    /// After a failure: until when nothing is tried, and how many there were in a row.
    rest: Option<(Instant, u32)>,
    look_at: Instant,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of one file.
    pub bytes: usize,
    /// How long what the store has acknowledged stays.
    pub kept_for: Duration,
}

struct Adopted {
    home: Home,
    /// It has entries that cannot be read: whoever has the right key, or a later version, may.
    stays: bool,
}

impl Writer {
    /// # Errors
    /// What is wrong with the folder, where waiting does not mend it.
    pub(super) fn open(
        folder: Folder,
        ring: Arc<KeyRing>,
        time: Time,
        shared: Arc<Shared>,
        limits: Limits,
    ) -> Result<Writer, String> {
        folder.check()?;
        let mut writer = Writer {
            folder,
            ring,
            time,
            shared,
            own: None,
            broken: None,
            adopted: HashMap::new(),
            next: OWN + 1,
            foreign: HashSet::new(),
            rest: None,
            look_at: Instant::now(),
            limits,
        };
        match writer.begin_anew() {
            Err(error) if !may_pass(&error) => return Err(explain(&error)),
            outcome => drop(writer.noted(outcome)),
        }
        writer.adopt();
        Ok(writer)
    }

    /// Until nobody can send a job any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut batch = Vec::with_capacity(MOST_JOBS);
        loop {
            match jobs.recv_timeout(TICK) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            batch.extend(jobs.try_iter().take(MOST_JOBS - batch.len()));
            self.turn(batch.drain(..));
            self.tidy();
        }
    }

    fn turn(&mut self, jobs: impl Iterator<Item = Job>) {
        let (mut bytes, mut kept, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Keep { key, durable, .. } if self.shared.live().waits(&key) => drop(durable.send(())),
                Job::Keep { key, sealed, durable } => {
                    bytes.extend(Record::given(key, &sealed));
                    kept.push((key, sealed, durable));
                }
                Job::Settle(key) => settled.push(key),
            }
        }
        if !kept.is_empty() && self.append(&bytes) {
            for (key, sealed, durable) in kept {
                self.shared.live().insert(key, Entry::new(sealed.into(), OWN));
                // Whoever asked may have gone: then it waits until it is replayed.
                let _ = durable.send(());
            }
        }
        for key in settled {
            self.settle(key);
        }
    }

    /// Whether `bytes` are durable.
    fn append(&mut self, bytes: &[u8]) -> bool {
        if self.rests() {
            return false;
        }
        let outcome = self.try_append(bytes);
        self.noted(outcome)
    }

    fn rests(&self) -> bool {
        self.rest.is_some_and(|(until, _)| Instant::now() < until)
    }

    fn noted(&mut self, outcome: io::Result<()>) -> bool {
        match outcome {
            Ok(()) => {
                self.rest = None;
                self.shared.works();
                true
            }
            Err(error) => {
                let failures = self.rest.map_or(0, |(_, failures)| failures);
                let rest = FIRST_REST * (1 << failures.min(4));
                self.rest = Some((Instant::now() + rest, failures.saturating_add(1)));
                self.shared.fails(explain(&error), self.time.now());
                false
            }
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let most = self.limits.bytes as u64;
        let is_full = |own: &Home| own.size + bytes.len() as u64 > most;
        if self.own.as_ref().is_none_or(is_full) {
            self.begin_anew()?;
        }
        let Some(mut own) = self.own.take() else { return Err(io::Error::other("there is no file")) };
        if is_full(&own) {
            self.own = Some(own);
            let waiting = self.shared.live().waiting();
            return Err(io::Error::other(format!(
                "the journal is full: {waiting} entries, {most} bytes, wait for the session store to be back"
            )));
        }
        match self.folder.append(&mut own, bytes).and_then(|()| self.folder.sync(&own)) {
            Ok(()) => {
                self.own = Some(own);
                Ok(())
            }
            Err(error) => {
                // What of it is on the disk nobody knows; what was there before must not go before it stands elsewhere.
                self.broken = Some(own);
                Err(error)
            }
        }
    }

    /// Moves to a new file what stands in the old one and is of use.
    fn begin_anew(&mut self) -> io::Result<()> {
        let mut content = Vec::new();
        for (key, entry, settled) in self.shared.live().of(OWN) {
            content.extend(Record::given(*key, &entry.sealed));
            if settled {
                content.extend(Record::settled(*key));
            }
        }
        let new = self.folder.create(&content)?;
        for old in [self.own.replace(new), self.broken.take()].into_iter().flatten() {
            self.remove(&old);
        }
        Ok(())
    }

    fn remove(&self, home: &Home) {
        if let Err(error) = self.folder.remove(home) {
            // What stands in it is known to the store, or stands elsewhere: to replay it once more does no harm.
            tracing::warn!(path = %home.path.display(), %error, "a journal that is done with cannot be removed");
        }
    }

    /// Not synced: what is not known to be settled is replayed, and found to be.
    fn settle(&mut self, key: Key) {
        let Some(home) = self.shared.live().settle(key) else { return };
        let file = if home == OWN { self.own.as_mut() } else { self.adopted.get_mut(&home).map(|of| &mut of.home) };
        let Some(file) = file else { return };
        if self.folder.append(file, &Record::settled(key)).is_err() && home == OWN {
            self.broken = self.own.take();
        }
    }

    /// What is to be done now and then.
    fn tidy(&mut self) {
        self.shared.live().expire(self.limits.kept_for, self.limits.bytes / 4);
        self.mend();
        self.shrink();
        let done = self.adopted.iter().filter(|(home, of)| !of.stays && self.is_done(**home)).map(|(home, _)| *home);
        for home in done.collect::<Vec<u32>>() {
            if let Some(adopted) = self.adopted.remove(&home) {
                self.remove(&adopted.home);
            }
        }
        if self.look_at <= Instant::now() {
            self.adopt();
        }
    }

    /// Finds out whether what failed works again.
    fn mend(&mut self) {
        if (self.own.is_some() && self.rest.is_none()) || self.rests() {
            return;
        }
        let outcome = match &self.own {
            None => self.begin_anew(),
            Some(own) if own.size < self.limits.bytes as u64 / 2 => self.folder.sync(own),
            // As full as it was.
            Some(_) => return,
        };
        self.noted(outcome);
    }

    fn is_done(&self, home: u32) -> bool {
        self.shared.live().of(home).next().is_none()
    }

    fn shrink(&mut self) {
        let used: usize = self.shared.live().of(OWN).map(|(_, entry, _)| entry.sealed.len()).sum();
        let Some(own) = &mut self.own else { return };
        let (size, nothing) = (own.size, used == 0);
        if nothing && size > HEADER.len() as u64 {
            if let Err(error) = self.folder.cut(own, HEADER.len() as u64) {
                tracing::debug!(%error, "a journal could not be emptied yet");
            }
        } else if size > SMALL && size > 4 * used as u64 && !self.rests() {
            let outcome = self.begin_anew();
            self.noted(outcome);
        }
    }

    /// Takes over what processes that are gone have left.
    fn adopt(&mut self) {
        self.look_at = Instant::now() + LOOK_EVERY;
        let found = match self.folder.abandoned(|path| self.foreign.contains(path)) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "what other processes have left in the folder of the journal cannot be seen");
                return;
            }
        };
        for (path, home) in found {
            if let Err(problem) = home.map_err(|error| explain(&error)).and_then(|home| self.adopt_one(home)) {
                tracing::warn!(path = %path.display(), problem, "a journal cannot be read");
                self.foreign.insert(path);
                self.shared.live().unreadable += 1;
            }
        }
    }

    fn adopt_one(&mut self, mut home: Home) -> Result<(), String> {
        let bytes = home.read().map_err(|error| error.to_string())?;
        let content = record::read(&bytes).map_err(|foreign| foreign.to_string())?;
        let torn = bytes.len() - content.whole;
        if torn > 0 {
            tracing::info!(path = %home.path.display(), bytes = torn, "an entry of the journal was never whole, and is cut away");
            self.folder.cut(&mut home, content.whole as u64).map_err(|error| error.to_string())?;
        }
        let settled = |record: &Record| match record {
            Record::Settled { key } => Some(*key),
            Record::Given { .. } => None,
        };
        let settled: HashSet<Key> = content.records.iter().filter_map(settled).collect();
        let number = self.next;
        let (mut entries, mut unreadable) = (0, content.unreadable);
        for record in content.records {
            let Record::Given { key, sealed } = record else { continue };
            let settled = settled.contains(&key);
            match Given::open(key, &sealed, &self.ring) {
                Ok(_) => {
                    entries += 1;
                    self.shared.live().adopt(key, Entry::left(sealed.into(), number, settled));
                }
                // What the store knows of may go with its key.
                Err(_) if settled => {}
                Err(reason) => {
                    tracing::warn!(session = %key.session, %reason, "an entry of the journal cannot be opened");
                    unreadable += 1;
                }
            }
        }
        if entries > 0 {
            tracing::info!(path = %home.path.display(), entries, "the journal of a process that is gone is replayed");
        }
        if unreadable > 0 {
            tracing::warn!(
                path = %home.path.display(),
                entries = unreadable,
                "the journal has entries that cannot be read: they are kept for a sidegate with the right key"
            );
            self.shared.live().unreadable += unreadable;
        }
        self.next += 1;
        self.adopted.insert(number, Adopted { home, stays: unreadable > 0 });
        Ok(())
    }

    /// Leaves nothing to whoever comes next but what is of use.
    fn close(mut self) {
        if self.is_done(OWN)
            && let Some(own) = self.own.take()
        {
            self.remove(&own);
        }
    }
}

/// The number of the file that this process writes.
const OWN: u32 = 0;
/// Jobs that one sync carries.
const MOST_JOBS: usize = 256;
/// Bytes up to which a file is not worth being written anew.
const SMALL: u64 = 1024 * 1024;
const TICK: Duration = Duration::from_secs(1);
/// After the first failure; twice as long after each further one, at most 16 times as long.
const FIRST_REST: Duration = Duration::from_millis(250);
/// Between two looks for what processes that are gone have left.
const LOOK_EVERY: Duration = Duration::from_secs(30);
