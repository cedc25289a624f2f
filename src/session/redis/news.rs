//! What other replicas do, heard from the servers as it happens.
//!
//! A subscription that has died looks like one on which nothing happens. So each process publishes a beat of its own, on the
//! connections that steps use, and must hear it: that proves the whole way.

use std::{collections::HashSet, pin::pin, str, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use redis::{Msg, cmd};
use tokio::{
    runtime::Handle,
    sync::broadcast,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at},
};

use super::link::Link;
use crate::{
    backoff::{between, chance},
    model::{BoxError, UnixMillis},
    session::{News, SessionId, StoreError},
};

/// Listens as long as it lives. What this process does itself is heard as well.
pub(super) struct Listener {
    news: broadcast::Sender<News>,
    task: JoinHandle<()>,
    link: Arc<Link>,
    /// What this process's beats say, and where.
    own: String,
    beats: String,
    pace: Pace,
}

/// How often there is a beat, and how long it may take to be heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub beat: Duration,
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { beat: Duration::from_secs(1), patience: Duration::from_secs(2) }
    }
}

impl Listener {
    /// # Errors
    /// If there is no randomness.
    pub(super) fn start(link: Arc<Link>, background: &Handle, prefix: &str, pace: Pace) -> Result<Listener, BoxError> {
        let (news, _) = broadcast::channel(MOST_WAITING);
        let (own, channels) = (SessionId::random()?.to_string(), CHANNELS.map(|name| format!("{prefix}:{name}")));
        let beats = channels[BEAT].clone();
        let ear = Ear {
            link: link.clone(),
            news: news.clone(),
            channels,
            own: own.clone(),
            pace,
            state: State::New,
            since: Instant::now(),
        };
        Ok(Listener { news, task: background.spawn(ear.run()), link, own, beats, pace })
    }

    /// How many other processes live: each says so with every beat.
    ///
    /// # Errors
    /// If not even this one is heard.
    pub(super) async fn others(&self) -> Result<u64, String> {
        let (mut heard, begun) = (HashSet::new(), Instant::now());
        let mut messages = pin!(self.link.listen(std::slice::from_ref(&self.beats)).await?);
        while let Ok(Some(message)) = timeout_at(begun + self.pace.beat + self.pace.patience, messages.next()).await {
            heard.insert(message.get_payload_bytes().to_owned());
        }
        match heard.remove(self.own.as_bytes()) {
            true => Ok(heard.len() as u64),
            false => Err("who else serves from it is not heard".to_owned()),
        }
    }

    /// What is heard from now on. Whoever lags behind so far that something is gone has missed it.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Ear {
    link: Arc<Link>,
    news: broadcast::Sender<News>,
    channels: [String; CHANNELS.len()],
    /// What this process's beats say.
    own: String,
    pace: Pace,
    state: State,
    /// When the own beat was last heard, or when it was first to be.
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was to be heard yet.
    New,
    Hearing,
    Deaf,
}

impl Ear {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let heard = self.since;
            let why = self.listen().await;
            failures = if self.since > heard { 1 } else { failures.saturating_add(1) };
            self.deaf(&why);
            sleep(between(failures, SHORTEST_PAUSE, LONGEST_PAUSE, chance())).await;
        }
    }

    /// Until it is over; why it is.
    async fn listen(&mut self) -> String {
        let mut messages = match self.link.listen(&self.channels).await {
            Ok(messages) => pin!(messages),
            Err(why) => return why,
        };
        let mut beats = interval(self.pace.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: Option<BoxFuture<'static, Option<StoreError>>> = None;
        let mut trouble = None;
        let mut deadline = Instant::now() + self.pace.patience;
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => if self.hear(&message) {
                        deadline = Instant::now() + self.pace.patience;
                    },
                    None => return "the connection is lost".to_owned(),
                },
                // One that is still under way is not overtaken.
                _ = beats.tick(), if beat.is_none() => beat = Some(self.beat()),
                told = async { beat.as_mut()?.await }, if beat.is_some() => (beat, trouble) = (None, told),
                () = sleep_until(deadline) => {
                    let why = "the own beat is not heard";
                    // The way of the beat may lead to a server that is not the master any more.
                    self.link.doubt(why);
                    return trouble.map_or_else(|| why.to_owned(), |trouble| format!("{why}: {trouble}"));
                }
            }
        }
    }

    /// A sign of life, or why there is none; and the servers' time, for a process that does nothing else.
    fn beat(&self) -> BoxFuture<'static, Option<StoreError>> {
        let (link, channel, own) = (self.link.clone(), self.channels[BEAT].clone(), self.own.clone());
        async move {
            let (mut publish, time) = (cmd("PUBLISH"), cmd("TIME"));
            let (told, time) = tokio::join!(link.ask(publish.arg(channel).arg(own)), link.ask(&time));
            if let Some((seconds, micros)) = time.ok().and_then(|time| redis::from_redis_value::<(u64, u64)>(time).ok())
            {
                link.shown(UnixMillis(seconds.saturating_mul(1000).saturating_add(micros / 1000)));
            }
            told.err()
        }
        .boxed()
    }

    /// Whether it was the own beat.
    fn hear(&mut self, message: &Msg) -> bool {
        let Ok(text) = str::from_utf8(message.get_payload_bytes()) else { return false };
        let Some(channel) = self.channels.iter().position(|channel| message.get_channel_name() == channel) else {
            return false;
        };
        let id = || text.parse::<SessionId>().ok();
        let news = match channel {
            ENDED => id().map(News::Ended),
            RENEWED => id().map(News::Renewed),
            DOCUMENT => Some(News::Document),
            _ => {
                let own = text == self.own;
                if own {
                    self.heard_beat();
                }
                return own;
            }
        };
        if let Some(news) = news {
            self.tell(news);
        }
        false
    }

    fn heard_beat(&mut self) {
        self.since = Instant::now();
        match self.state {
            State::Hearing => return,
            // Whoever has been there already may have looked at the store before anything could be heard.
            State::New => {}
            State::Deaf => tracing::info!("what other replicas do is heard again"),
        }
        self.state = State::Hearing;
        self.tell(News::Missed);
    }

    fn deaf(&mut self, why: &str) {
        // At the beginning there is nothing that rests on the news.
        let patience = self.state == State::New && self.since.elapsed() < self.pace.patience;
        if self.state == State::Deaf || patience {
            return;
        }
        self.state = State::Deaf;
        self.tell(News::Deaf);
        tracing::warn!(error = why, "what other replicas do is not heard; it is tried again until it is");
    }

    fn tell(&self, news: News) {
        // Perhaps nobody wants to know.
        let _ = self.news.send(news);
    }
}

const CHANNELS: [&str; 4] = ["ended", "renewed", "document", "beat"];
const ENDED: usize = 0;
const RENEWED: usize = 1;
const DOCUMENT: usize = 2;
const BEAT: usize = 3;

/// News that a receiver may leave waiting.
const MOST_WAITING: usize = 4096;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
