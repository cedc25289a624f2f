//! Other processes at the same store: what they tell, for those who wait for it here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{
        Notify,
        broadcast::{Receiver, error::RecvError},
    },
    time::Instant,
};

use crate::session::{News, SessionId, Sessions};

/// Outlives a reload, as flights do.
#[derive(Default)]
pub(super) struct Others {
    /// Whether there can be any.
    pub shared: bool,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// By the session that they wait for.
    waiting: HashMap<SessionId, Arc<Notify>>,
    /// When the store last went away, or came back.
    disturbed: Option<Instant>,
}

impl Others {
    pub(super) fn at(sessions: &Sessions) -> Arc<Others> {
        let news = sessions.store().news();
        let others = Arc::new(Others { shared: news.is_some(), heard: Mutex::default() });
        if let Some(news) = news {
            sessions.background().spawn(listen(Arc::downgrade(&others), news));
        }
        others
    }

    /// From here on it is noticed if something is told of session `id`.
    pub(super) fn expect(self: &Arc<Self>, id: SessionId) -> Expected {
        let told = if self.shared { self.lock().waiting.entry(id).or_default().clone() } else { Arc::default() };
        Expected { others: self.clone(), id, told }
    }

    /// Whether the store may have gone back, a moment ago, to before what others were given: they tell it once more.
    pub(super) fn are_at_odds(&self) -> bool {
        self.lock().disturbed.is_some_and(|at| at.elapsed() < DISTURBED_FOR)
    }

    fn tell(&self, id: SessionId) {
        if let Some(told) = self.lock().waiting.get(&id) {
            told.notify_one();
        }
    }

    fn disturbed(&self) {
        let mut heard = self.lock();
        heard.disturbed = Some(Instant::now());
        heard.waiting.values().for_each(|told| told.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // Insertion and removal are whole by themselves.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(others: Weak<Others>, mut news: Receiver<News>) {
    loop {
        let told = news.recv().await;
        let Some(others) = others.upgrade() else { return };
        match told {
            Ok(News::Ended(id) | News::Renewed(id)) => others.tell(id),
            Ok(News::Deaf | News::Missed) | Err(RecvError::Lagged(_)) => others.disturbed(),
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Somebody who waits for what others do with a session.
pub(super) struct Expected {
    others: Arc<Others>,
    id: SessionId,
    told: Arc<Notify>,
}

impl Expected {
    /// Returns once something was told since the last time, and after `still` in any case. Not everything is told.
    pub(super) async fn wait(&self, still: Duration) {
        let longest = if self.others.shared { LONGEST_LOOK } else { LONGEST_UNTOLD };
        // Whoever gives back what they did not use tells nobody.
        let _ = tokio::time::timeout(still.clamp(SHORTEST_LOOK, longest), self.told.notified()).await;
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut heard = self.others.lock();
        // The map's and this one.
        if Arc::strong_count(&self.told) <= 2 {
            heard.waiting.remove(&self.id);
        }
    }
}

/// Between two looks at a session that another process renews.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_UNTOLD: Duration = Duration::from_millis(100);
/// Processes learn within seconds that their store was away, and tell it what it should know.
const DISTURBED_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    fn others() -> (Arc<Others>, broadcast::Sender<News>) {
        let (sender, news) = broadcast::channel(64);
        let others = Arc::new(Others { shared: true, heard: Mutex::default() });
        tokio::spawn(listen(Arc::downgrade(&others), news));
        (others, sender)
    }

    async fn waits(expected: &Expected) -> Duration {
        let begun = Instant::now();
        expected.wait(Duration::from_secs(8)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_session_is_woken_by_what_is_told_of_it_and_looks_again_by_itself() {
        let ((others, tell), id) = (others(), SessionId([1; 16]));
        let expected = others.expect(id);
        assert_eq!(waits(&expected).await, LONGEST_LOOK);
        tell.send(News::Renewed(SessionId([2; 16]))).unwrap();
        assert_eq!(waits(&expected).await, LONGEST_LOOK, "another session");
        for news in [News::Renewed(id), News::Ended(id), News::Missed] {
            tell.send(news).unwrap();
            assert!(waits(&expected).await < SHORTEST_LOOK, "{news:?}");
        }
        drop(expected);
        assert!(others.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_between_the_step_and_the_wait_is_not_missed() {
        let ((others, tell), id) = (others(), SessionId([1; 16]));
        let (one, two) = (others.expect(id), others.expect(id));
        tell.send(News::Renewed(id)).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(two);
        assert_eq!(waits(&one).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_store_was_away_its_word_is_doubted_for_a_while() {
        let (others, tell) = others();
        assert!(!others.are_at_odds());
        tell.send(News::Deaf).unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        tell.send(News::Missed).unwrap();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(others.are_at_odds());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!others.are_at_odds());
    }
}
