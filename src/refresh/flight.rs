//! The steps of one renewal.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use super::{Means, NotRenewed, Outcome, Wanted};
use crate::{
    authority::remote::{NotGiven, Turn, Whose},
    crash::{self, Point},
    model::{ErrorCode, Grant, GrantType, Secret, TokenGrant, UnixTime},
    session::{Answer, Exchanged, Held, Intended, Left, Renewed, Session, SessionId, StoreError},
    telemetry::{
        audit::{Entry, Event},
        metrics::Renewal,
    },
};

/// One renewal of one session.
pub(super) struct Flight {
    pub means: Arc<Means>,
    pub id: SessionId,
    pub wanted: Wanted,
}

/// What comes after an attempt.
enum Next {
    Landed(Outcome),
    /// The session is looked at once more.
    Again,
}

/// What the authority is asked, and under which lease.
struct Question<'f> {
    session: &'f Session,
    lease: &'f Lease,
    /// The token that it is asked with; `None`: something that any number of questions may be asked with.
    presented: Option<Secret<String>>,
    /// Another attempt was made with the same token, and nobody knows what came of it.
    doubtful: bool,
    /// This is the second attempt of that kind.
    again: bool,
}

/// The right to ask, as far as this process knows.
struct Lease {
    epoch: u64,
    /// Until then it is ours for sure: from before the store was asked for it.
    until: Mutex<Instant>,
    lost: AtomicBool,
}

impl Lease {
    fn lasts(&self, duration: Duration) -> bool {
        Instant::now() + duration <= *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) async fn fly(self) -> Outcome {
        loop {
            // Another may have renewed since whoever asked looked.
            let session = self.session().await?;
            let Some((held, vouched)) = session.held.as_ref().zip(session.state.vouched) else {
                return Err(NotRenewed::NotRenewable);
            };
            if self.means.is_met(self.id, self.wanted, held, vouched) {
                return Ok(Arc::new(session));
            }
            let Some(grant) = self.means.grant(&session.state.client, &session.granted, held) else {
                // Nothing was asked, so there is nothing to audit; and what nobody wants counts for nothing.
                if self.wanted != Wanted::Recovery {
                    self.means.metrics.oauth.renewed(Renewal::NotRenewable);
                }
                return Err(NotRenewed::NotRenewable);
            };
            if vouched.intent.is_some() && self.means.sessions.is_just_back() {
                // Whoever began it may have the answer, and could not say so: then the token is spent.
                tokio::time::sleep(A_MOMENT).await;
                continue;
            }
            match self.attempt(&session, vouched.generation, grant).await {
                Next::Landed(outcome) => return outcome,
                Next::Again => {}
            }
        }
    }

    /// First a place in the line, which may take its time; then the lease, durably, with the intent; then the question.
    async fn attempt(&self, session: &Session, seen: u64, grant: Grant) -> Next {
        let turn = match self.means.remote.turn(whose(session), matches!(self.wanted, Wanted::Forced { .. })).await {
            Ok(turn) => turn,
            Err(error) => return Next::Landed(Err(self.unavailable(session, &error.into()))),
        };
        crash::point(Point::BeforeIntent).await;
        let (expected, begun) = (self.means.others.expect(self.id), Instant::now());
        let (epoch, doubtful, again) = match self.means.sessions.intend(self.id, seen, self.means.lease()).await {
            Ok(Intended::Go { epoch, doubtful, again }) => (epoch, doubtful, again),
            Ok(Intended::Moved) => return Next::Again,
            Ok(Intended::Gone) => return Next::Landed(Err(NotRenewed::Ended)),
            Ok(Intended::Held { still }) => {
                drop(turn);
                expected.wait(still).await;
                return Next::Again;
            }
            Err(error) => return Next::Landed(Err(self.without_store(&error))),
        };
        crash::point(Point::AfterIntent).await;
        let presented = match &grant {
            Grant::RefreshToken { token } => Some(token.clone()),
            _ => None,
        };
        let until = Mutex::new(begun + self.means.lease());
        let lease = &Lease { epoch, until, lost: AtomicBool::new(false) };
        let question = Question { session, lease, presented, doubtful, again };
        tokio::select! {
            next = self.ask(turn, question, grant) => next,
            never = self.keep_lease(lease) => match never {},
        }
    }

    async fn ask(&self, turn: Turn<'_>, question: Question<'_>, grant: Grant) -> Next {
        let now = self.means.sessions.now();
        match turn.ask(grant, now, self.may_send(question.lease).boxed()).await {
            Ok(given) => {
                crash::point(Point::AfterReceive).await;
                self.given(&question, given, now).await
            }
            // Only to a refresh token it is the end: what was configured to sign in with may be mended.
            Err(NotGiven { error, .. }) if error.code == ErrorCode::InvalidGrant && question.presented.is_some() => {
                self.refused(turn, &question).await
            }
            Err(not_given) => self.nothing_given(&question, &not_given).await,
        }
    }

    /// Whether the lease lasts for as long as an answer may take: if the store was away, it has perhaps not been made longer.
    async fn may_send(&self, lease: &Lease) -> bool {
        let answered_within = self.means.remote.settings().timeout;
        lease.lasts(answered_within) || (self.extend(lease).await && lease.lasts(answered_within))
    }

    async fn given(&self, question: &Question<'_>, given: TokenGrant, now: UnixTime) -> Next {
        let how = match (&question.presented, question.doubtful) {
            (Some(_), false) => Renewal::Refreshed,
            (Some(_), true) => Renewal::Recovered,
            (None, _) => Renewal::Obtained,
        };
        let held = Held {
            expires: given.issued.plus(given.expires_in),
            access_token: given.access_token.clone(),
            authority: self.means.remote.identity().to_owned(),
            issued: given.issued,
            // Without a new one the old one stays good (RFC 6749, section 6).
            refresh_token: given.refresh_token.clone().or_else(|| question.presented.clone()),
        };
        let next = self.keep(question, held, how).await;
        // Only now: whatever it says, what came with it must not be lost.
        self.look_at_id_token(question.session, given, now);
        next
    }

    /// Before anybody sees them: what is lost here is lost for good.
    async fn keep(&self, question: &Question<'_>, held: Held, how: Renewal) -> Next {
        let renewed_for = match self.wanted {
            Wanted::ByTime { .. } | Wanted::Forced { .. } | Wanted::Recovery => None,
            Wanted::ByClient { presented } => Some(presented),
        };
        // Only a refresh token that is spent makes this the one copy of the session's life.
        let precious = question.presented.is_some();
        let (mut failures, mut pause) = (0, FIRST_PAUSE);
        loop {
            let answer = Answer::Given { held: held.clone(), renewed_for };
            match self.means.sessions.renew(self.id, Renewed { epoch: question.lease.epoch, answer }).await {
                Ok(Exchanged::Kept { .. }) => {
                    crash::point(Point::AfterCommit).await;
                    self.note(how, question.session);
                    return Next::Landed(self.session().await.map(Arc::new));
                }
                Ok(Exchanged::Moved) => {
                    // By the attempt before, whose answer did not come.
                    if failures > 0 {
                        self.note(how, question.session);
                    }
                    return Next::Landed(self.session().await.map(Arc::new));
                }
                Ok(Exchanged::Aside) => {
                    tracing::warn!(session = %self.id, "what the authority gave came after the lease was over; it is kept aside");
                    return Next::Again;
                }
                Ok(Exchanged::Gone | Exchanged::Ended | Exchanged::Untried) => {
                    return Next::Landed(Err(NotRenewed::Ended));
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(session = %self.id, %error, "what the authority gave could not be kept yet; it is tried again");
                    }
                    let over = self.means.sessions.now() >= question.session.state.absolute;
                    let hopeless = matches!(error, StoreError::Unreadable(_)) || !precious;
                    if over || (hopeless && failures >= ATTEMPTS) {
                        break;
                    }
                    if failures == ATTEMPTS {
                        tracing::error!(
                            session = %self.id,
                            %error,
                            "what the authority gave could still not be kept: the session is lost if sidegate ends before the store is back"
                        );
                        self.note(Renewal::Store, question.session);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        tracing::error!(session = %self.id, "what the authority gave could not be kept, and its last refresh token is lost");
        self.note(Renewal::Store, question.session);
        Next::Landed(Err(NotRenewed::unavailable("the store is not available".to_owned())))
    }

    /// The authority does not know the refresh token any more. What was given too late may be good still; otherwise the
    /// session ends, unless somebody has renewed it since.
    async fn refused(&self, turn: Turn<'_>, question: &Question<'_>) -> Next {
        let (mut turn, mut tried) = (Some(turn), Vec::new());
        let (ends, expected) = (Instant::now() + self.grace(question), self.means.others.expect(self.id));
        loop {
            let candidates = match self.patiently(|| self.means.sessions.candidates(self.id).boxed()).await {
                Ok((candidates, _)) => candidates,
                Err(error) => return Next::Landed(Err(self.without_store(&error))),
            };
            let Some(candidate) = candidates.into_iter().find(|candidate| !tried.contains(&candidate.epoch)) else {
                let now = Instant::now();
                if now >= ends || question.lease.lost.load(Ordering::Relaxed) {
                    break;
                }
                // Others may ask meanwhile.
                turn = None;
                expected.wait(ends - now).await;
                continue;
            };
            tried.push(candidate.epoch);
            let its_own = candidate.held.authority == self.means.remote.identity();
            let Some(token) = candidate.held.refresh_token.filter(|_| its_own) else { continue };
            let taken = match turn.take() {
                Some(turn) => Ok(turn),
                None => self.means.remote.turn(whose(question.session), false).await,
            };
            let taken = match taken {
                Ok(turn) => turn,
                Err(error) => return self.nothing_given(question, &error.into()).await,
            };
            let question = Question { presented: Some(token.clone()), doubtful: true, ..*question };
            let now = self.means.sessions.now();
            match taken.ask(Grant::RefreshToken { token }, now, self.may_send(question.lease).boxed()).await {
                Ok(given) => return self.given(&question, given, now).await,
                Err(NotGiven { error, .. }) if error.code == ErrorCode::InvalidGrant => turn = Some(taken),
                Err(not_given) => return self.nothing_given(&question, &not_given).await,
            }
        }
        let renewed = Renewed { epoch: question.lease.epoch, answer: Answer::Ended { tried } };
        match self.patiently(|| self.means.sessions.renew(self.id, renewed.clone()).boxed()).await {
            // Or by the attempt before, whose answer did not come.
            Ok((Exchanged::Ended, _) | (Exchanged::Gone, true)) => {
                self.note(if question.doubtful { Renewal::AnswerLost } else { Renewal::Ended }, question.session);
                Next::Landed(Err(NotRenewed::Ended))
            }
            // Somebody has renewed it, or put something aside, since this one looked.
            Ok(_) => Next::Again,
            Err(error) => Next::Landed(Err(self.without_store(&error))),
        }
    }

    /// How long a session is not ended in spite of a no. Another process may have the token that is good in its hands: one
    /// that had stopped for longer than its lease, or one that has told a store which then forgot it.
    fn grace(&self, question: &Question<'_>) -> Duration {
        let others = &self.means.others;
        let may_come = others.shared && (question.doubtful || others.are_at_odds());
        if may_come { self.means.lease() } else { Duration::ZERO }
    }

    /// Takes a step at a store that may be away for a moment, and says whether that took more than one attempt: what is
    /// known by now would have to be asked for once more, and then look like an answer that was lost.
    async fn patiently<'f, T: Send>(
        &'f self,
        step: impl Fn() -> BoxFuture<'f, Result<T, StoreError>> + Send,
    ) -> Result<(T, bool), StoreError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 0..A_FEW {
            if let Ok(taken) = step().await {
                return Ok((taken, attempt > 0));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        step().await.map(|taken| (taken, true))
    }

    /// No judgement on the session. Where the token may be spent all the same, it is tried once more at once: authorities
    /// that forgive a second use do so for seconds only.
    async fn nothing_given(&self, question: &Question<'_>, not_given: &NotGiven) -> Next {
        if question.lease.lost.load(Ordering::Relaxed) && !not_given.asked {
            // Whoever has it now knows what comes of it.
            return Next::Again;
        }
        let doubt = not_given.spent && question.presented.is_some();
        let left = if doubt { Left::Doubtful } else { Left::Untouched };
        if let Err(error) = self.means.sessions.leave(self.id, question.lease.epoch, left).await {
            // Then it lapses, and is found.
            tracing::warn!(session = %self.id, %error, "a lease could not be given back");
            return Next::Landed(Err(self.unavailable(question.session, not_given)));
        }
        if doubt && !question.again {
            tracing::warn!(session = %self.id, "the authority's answer was lost; it is asked once more");
            return Next::Again;
        }
        Next::Landed(Err(self.unavailable(question.session, not_given)))
    }

    /// Keeps the lease while the authority is asked, and until what it gave is kept.
    async fn keep_lease(&self, lease: &Lease) -> Infallible {
        let third = self.means.lease() / 3;
        let mut pause = third;
        loop {
            tokio::time::sleep(pause).await;
            // A store that is away for a moment must not cost it.
            pause = if self.extend(lease).await { third } else { third / 4 };
            if lease.lost.load(Ordering::Relaxed) {
                tracing::warn!(session = %self.id, "the lease on a renewal is lost; what comes of it is kept aside");
                return std::future::pending().await;
            }
        }
    }

    /// False: it is lost, or nobody knows.
    async fn extend(&self, lease: &Lease) -> bool {
        let (begun, length) = (Instant::now(), self.means.lease());
        match self.means.sessions.extend(self.id, lease.epoch, length).await {
            Ok(true) => *lease.until.lock().unwrap_or_else(PoisonError::into_inner) = begun + length,
            Ok(false) => lease.lost.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(session = %self.id, %error, "a lease could not be made longer yet");
                return false;
            }
        }
        !lease.lost.load(Ordering::Relaxed)
    }

    /// Who somebody is was said at the sign-in, and stays: an ID token that says something else is not believed, and
    /// somebody should know. Beside: nobody waits for the keys.
    fn look_at_id_token(&self, session: &Session, given: TokenGrant, now: UnixTime) {
        if !session.granted.outside || session.granted.grant == GrantType::ClientCredentials {
            return;
        }
        let (remote, id, subject) = (self.means.remote.clone(), self.id, session.granted.subject.clone());
        self.means.sessions.background().spawn(async move {
            if let Err(error) = remote.still(&subject, &given, now).await {
                tracing::warn!(session = %id, %error, "the ID token that came with a renewal is not believed");
            }
        });
    }

    async fn session(&self) -> Result<Session, NotRenewed> {
        let session = self.means.sessions.find(self.id).await.map_err(|error| self.without_store(&error))?;
        session.filter(|session| session.is_alive(self.means.sessions.now())).ok_or(NotRenewed::Ended)
    }

    fn without_store(&self, error: &StoreError) -> NotRenewed {
        self.means.metrics.oauth.renewed(Renewal::Store);
        NotRenewed::unavailable(error.to_string())
    }

    /// No judgement on the session: it is kept.
    fn unavailable(&self, session: &Session, NotGiven { error, asked, .. }: &NotGiven) -> NotRenewed {
        let cause = format!("{} ({})", error.code.as_str(), error.cause.as_deref().unwrap_or_default());
        if let (false, Some(retry_after)) = (asked, error.throttled.or(error.retry_after)) {
            // Nothing was asked, so there is nothing to audit.
            self.means.metrics.oauth.renewed(Renewal::NotAsked);
            return NotRenewed::NotAsked { retry_after, busy: error.throttled.is_some(), cause };
        }
        let renewal = match error.code {
            _ if error.throttled.is_some() => Renewal::Throttled,
            ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => Renewal::Unavailable,
            ErrorCode::InvalidGrant => {
                tracing::error!(session = %self.id, "the authority outside refuses what sidegate signs in with for a session: look at the accounts");
                Renewal::Misconfigured
            }
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidClient
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::UnsupportedTokenType => Renewal::Misconfigured,
        };
        self.note(renewal, session);
        let throttled = error.throttled.is_some();
        NotRenewed::Unavailable { retry_after: error.throttled.or(error.retry_after), throttled, cause }
    }

    fn note(&self, renewal: Renewal, session: &Session) {
        self.means.metrics.oauth.renewed(renewal);
        let mut entry = Entry::new(
            match renewal {
                Renewal::Refreshed | Renewal::Obtained | Renewal::Recovered => Event::AuthorityRenewed,
                Renewal::Ended | Renewal::AnswerLost => Event::AuthorityEnded,
                Renewal::NotRenewable
                | Renewal::NotAsked
                | Renewal::Throttled
                | Renewal::Misconfigured
                | Renewal::Unavailable
                | Renewal::Store => Event::AuthorityNotRenewed,
            },
            None,
        );
        entry.client = Some(&session.state.client);
        entry.subject = Some(&session.granted.subject);
        entry.session = Some(&self.id);
        entry.reason = Some(renewal.reason());
        entry.write();
    }
}

/// Sessions of one user are one to the authority.
fn whose(session: &Session) -> Whose {
    let mut hasher = DefaultHasher::new();
    session.granted.subject.hash(&mut hasher);
    Whose(hasher.finish())
}

/// Between two looks at a session that another process may speak of.
const A_MOMENT: Duration = Duration::from_millis(100);
/// To keep what was given, a minute together, before somebody must be told. Requests do not wait so long.
const ATTEMPTS: u32 = 62;
/// To note what is known: a few seconds together.
const A_FEW: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Shorter than others wait, once the store is back, before they ask in our place.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
