//! Successors of access tokens that are JWTs of our own: the use of one begins the next, which the answer carries.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::sync::watch;

use super::{
    Auth, Principal, Refusal,
    bearer::Candidate,
    cache::{TokenDigest, VerdictCache},
    own::{Own, trusts_local, unavailable},
    policy::Policy,
    verdict::{ClaimPlan, Standing, Verdict},
};
use crate::{
    config::Renewal,
    jose::{Liveness, Verified, peek},
    model::{Context, Secret, UnixTime},
    refresh::slides_from,
    session::{Access, Session, SessionId, Succeed, Succeeded, about::About},
    spans,
    telemetry::{
        audit::{Entry, Event},
        metrics::{Metrics, Sliding},
        reason::Reason,
    },
};

/// What the verdict on a token knows of its successor. Its own times are on our clock, which requests are held against.
#[derive(Debug)]
pub struct Succession {
    /// The token that is presented: what the cache and its session know it by, and its own end.
    key: TokenDigest,
    presented: [u8; 16],
    ends: UnixTime,
    /// Ended when the key that signed the presented token is no longer ours, whichever key has signed since.
    signed: Arc<Liveness>,
    /// From here on its use begins a successor, or another one.
    from: AtomicU64,
    /// The one there is; the verdict is on this one then, and falls when the presented token is taken no more.
    successor: Option<Successor>,
}

/// The token that follows the presented one; its times are the store's.
#[derive(Debug)]
pub struct Successor {
    /// As it is; marked sensitive.
    pub token: HeaderValue,
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl Succession {
    pub(super) fn successor(&self) -> Option<&Successor> {
        self.successor.as_ref()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.signed.is_alive()
    }

    /// Bytes beside its own.
    pub(super) fn weight(&self) -> usize {
        self.successor.as_ref().map_or(0, |successor| successor.token.len())
    }

    fn begins(&self, now: UnixTime) -> bool {
        now.0 >= self.from.load(Ordering::Relaxed)
    }

    fn begins_from(&self, from: UnixTime) {
        self.from.store(from.0, Ordering::Relaxed);
    }
}

impl Successor {
    /// For `Authorization`.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let value = Secret::new([b"Bearer ", self.token.as_bytes()].concat());
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The successor's verdict; `None`: there is none to be had.
type Outcome = Result<Option<Arc<Verdict>>, Refusal>;
/// A successor that is on its way.
pub(super) type Coming = watch::Receiver<Option<Outcome>>;

/// Successors under way, by the token that is presented.
#[derive(Default)]
pub(super) struct Successions(Mutex<HashMap<TokenDigest, Coming>>);

impl Successions {
    fn open(&self) -> MutexGuard<'_, HashMap<TokenDigest, Coming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the board, however it ends.
struct Landing {
    board: Arc<Successions>,
    key: TokenDigest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.board.open().remove(&self.key);
    }
}

impl Auth {
    /// Begins the successor of the token that has just opened a door to `principal`, if it is time for that. Nobody waits
    /// for it yet.
    pub(super) fn succeed_beside(&self, principal: &mut Principal, now: UnixTime) {
        let Some(succession) = &principal.verdict.succession else { return };
        if succession.begins(now) {
            principal.coming = self.take_off(&principal.verdict, now);
        }
    }

    /// The principal as a request at `upstream` needs it: with `need` of life, and with the successor where that one is
    /// what the upstream is to see.
    ///
    /// # Errors
    /// If there is not so much life, and none can be had.
    pub async fn lasting(
        &self,
        principal: Principal,
        upstream: usize,
        need: Duration,
        now: UnixTime,
    ) -> Result<Principal, Refusal> {
        let short = self.check_life(&principal, upstream, need, now).is_err();
        let passes_next = principal.coming.is_some() && self.passes_original(upstream);
        if !short && !passes_next {
            return Ok(principal);
        }
        // Apart, so that requests which need not wait do not carry what waiting takes.
        Box::pin(self.lengthened(principal, upstream, need, now, short)).await
    }

    async fn lengthened(
        &self,
        mut principal: Principal,
        upstream: usize,
        need: Duration,
        now: UnixTime,
        short: bool,
    ) -> Result<Principal, Refusal> {
        if short && principal.coming.is_none() && self.may_lengthen(&principal.verdict, need, now) {
            principal.coming = self.take_off(&principal.verdict, now);
        }
        let came = match (&self.own, short) {
            (Some(own), true) => settle(&mut principal, own.settings.refresh.wait).await,
            _ => settle(&mut principal, A_MOMENT).await,
        };
        self.check_life(&principal, upstream, need, now).map_err(|short| came.err().unwrap_or(short))?;
        Ok(principal)
    }

    /// Whether a new token would have what this one has not. One that is just made is not made again.
    fn may_lengthen(&self, verdict: &Verdict, need: Duration, now: UnixTime) -> bool {
        let Some((own, succession)) = self.own.as_ref().zip(verdict.succession.as_ref()) else { return false };
        let client = verdict.client.as_ref().and_then(|client| own.authority.client(client));
        let now = own.sessions.on_its_clock(now);
        let rested = succession.successor().is_none_or(|successor| now >= successor.issued.plus(REST));
        rested && client.is_some_and(|client| client.access_lifetime >= need)
    }

    /// Before the answer goes: a successor that is on its way is waited for a moment.
    pub async fn await_successor(&self, principal: &mut Principal) {
        if principal.coming.is_some() {
            // Whatever came of it: the request was served.
            let _ = Box::pin(settle(principal, A_MOMENT)).await;
        }
    }

    /// The verdict for a JWT of our own that was `refused` as over and may yet have a successor: the request waits for
    /// that.
    pub(super) async fn succeed_late(
        &self,
        token: Candidate<'_>,
        policy: &Policy,
        cx: &Context,
        refused: Refusal,
    ) -> Result<Arc<Verdict>, Refusal> {
        let Some(own) = self.own.as_ref().filter(|_| trusts_local(policy).is_ok()) else { return Err(refused) };
        let refresh = own.settings.refresh;
        let token = token.check().map_err(|_| refused)?;
        let peeked = peek(token).ok().filter(|peek| peek.issuer() == own.issuer());
        let (Some(peeked), false) = (peeked, refresh.accept_expired_for.is_zero()) else { return Err(refused) };
        let key = self.cache.digest(token.as_bytes()).map_err(|_| Refusal::new(Reason::Undecided, "digest_failed"))?;
        let verdict = self.read_own_jwt(own, peeked, key, refresh.accept_expired_for).await?;
        let ends = verdict.succession.as_ref().map(|succession| succession.ends);
        // The leeway of clocks is no part of what is accepted.
        if ends.is_none_or(|ends| cx.now >= ends.plus(refresh.accept_expired_for.as_secs())) {
            return Err(refused);
        }
        let coming = self.take_off(&Arc::new(verdict), cx.now);
        match tokio::time::timeout(refresh.wait, arrival(coming.ok_or(refused)?)).await {
            Ok(Some(Ok(Some(verdict)))) => Ok(verdict),
            Ok(Some(Ok(None))) => Err(refused),
            Ok(Some(Err(refusal))) => Err(refusal),
            Ok(None) | Err(_) => Err(too_slow()),
        }
    }

    /// Joins the flight for the token of `verdict`, or begins it.
    fn take_off(&self, verdict: &Arc<Verdict>, now: UnixTime) -> Option<Coming> {
        let (own, session) = (self.own.as_ref()?, verdict.session.as_ref()?.id());
        let key = verdict.succession.as_ref()?.key;
        let mut open = own.successions.open();
        if let Some(coming) = open.get(&key) {
            return Some(coming.clone());
        }
        // Another flight may have landed since the verdict was found.
        if let Some(there) = self.cache.peek(key).filter(|there| there.is_on_successor_of(verdict, now)) {
            return Some(watch::channel(Some(Ok(Some(there)))).1);
        }
        let (arrived, coming) = watch::channel(None);
        open.insert(key, coming.clone());
        drop(open);
        let landing = Landing { board: own.successions.clone(), key };
        let flight = Flight {
            own: own.clone(),
            cache: self.cache.clone(),
            plan: self.plan.clone(),
            metrics: self.metrics.clone(),
            verdict: verdict.clone(),
            session,
        };
        // Detached: others wait for it, and what the session knows of is not to be lost.
        own.sessions.background().spawn(spans::carried(async move {
            let outcome = flight.fly().await;
            // By now the cache has it.
            drop(landing);
            arrived.send_replace(Some(outcome));
        }));
        Some(coming)
    }
}

impl Verdict {
    /// Whether it is good, and on a token that lives longer than that of `other`.
    fn is_on_successor_of(&self, other: &Verdict, now: UnixTime) -> bool {
        let succeeds = self.succession.as_ref().is_some_and(|succession| succession.successor.is_some());
        succeeds && self.valid_until > other.valid_until && self.standing(now) == Standing::Good
    }
}

impl Own {
    /// What the verdict on `access`, a JWT, must know; `None`: it has no successor.
    pub(super) fn succession(
        &self,
        session: &Session,
        access: &Access,
        key: TokenDigest,
        signed: &Arc<Liveness>,
    ) -> Option<Arc<Succession>> {
        let client = self.authority.client(&session.state.client)?;
        let succeeds = !access.foreign && client.renews(session.granted.grant) == Some(Renewal::Successor);
        let from = self.sessions.on_our_clock(begins_from(access.issued, access.expires, session));
        let (presented, ends, signed) = (access.digest, self.sessions.on_our_clock(access.expires), signed.clone());
        succeeds.then(|| Arc::new(Succession { key, presented, ends, signed, from: from.0.into(), successor: None }))
    }
}

/// From when on the use of a token begins the next one; never if that would live no longer.
fn begins_from(issued: UnixTime, expires: UnixTime, session: &Session) -> UnixTime {
    if expires < session.state.absolute { slides_from(issued, expires) } else { NEVER }
}

struct Flight {
    own: Own,
    cache: Arc<VerdictCache>,
    plan: Arc<ClaimPlan>,
    metrics: Arc<Metrics>,
    /// Of the token that is presented, or of the successor that it has already.
    verdict: Arc<Verdict>,
    session: SessionId,
}

impl Flight {
    async fn fly(&self) -> Outcome {
        let Some(succession) = &self.verdict.succession else { return Ok(None) };
        let outcome = self.succeed(succession).await;
        self.metrics.oauth.slid(match &outcome {
            Ok(Some(_)) => Sliding::Succeeded,
            Err(refusal) if refusal.reason == Reason::Undecided => Sliding::Unavailable,
            Ok(None) | Err(_) => Sliding::NotRenewable,
        });
        match outcome {
            Ok(Some(verdict)) => {
                self.cache.keep(succession.key, verdict.clone());
                Ok(Some(verdict))
            }
            Ok(None) => {
                succession.begins_from(NEVER);
                Ok(None)
            }
            Err(refusal) => {
                // Whoever comes next does not ask again at once.
                let sessions = &self.own.sessions;
                succession.begins_from(sessions.on_our_clock(sessions.now().plus(REST)));
                Err(refusal)
            }
        }
    }

    async fn succeed(&self, succession: &Succession) -> Outcome {
        let own = &self.own;
        let (session, _) = own.live_session(self.session).await?;
        let (state, granted) = (&session.state, &session.granted);
        let Some(client) = own.authority.client(&state.client) else { return Ok(None) };
        let known = state.access.iter().find(|access| access.digest == succession.presented && !access.foreign);
        let Some(access) = known else { return Ok(None) };
        // As with a refresh: what was taken from the client in the configuration is not prolonged.
        let still = client.still_may(granted.grant, &granted.scope, &granted.audiences);
        if client.renews(granted.grant) != Some(Renewal::Successor) || still.is_err() {
            return Ok(None);
        }
        if !own.is_vouched_for_anew(&session).await? {
            return Ok(None);
        }
        let now = own.sessions.now();
        let expires = now.plus(client.access_lifetime.as_secs()).min(state.absolute);
        let there = succession.successor().map_or(access.expires, |there| there.expires.max(access.expires));
        if expires <= there {
            return Ok(None);
        }
        let about = About {
            session: session.id,
            client,
            granted,
            scope: access.scope.as_ref().unwrap_or(&granted.scope),
            audiences: access.audiences.as_ref().unwrap_or(&granted.audiences),
            issued: now,
            expires,
        };
        // Everything that may fail comes before the step.
        let made = about.jwt(own.issuer(), &own.signing).map_err(|_| unsigned())?;
        let token = made.token.expose();
        let verified = peek(token).and_then(|peek| peek.verify(own.rules(), &own.signing.keys(), now));
        let verified = verified.map_err(|_| unsigned())?;
        let mut header = HeaderValue::from_str(token).map_err(|_| unsigned())?;
        header.set_sensitive(true);
        let refresh = &own.settings.refresh;
        let grace = refresh.accept_expired_for.as_secs();
        let step = Succeed {
            presented: access.digest,
            access: Access { digest: made.digest, issued: now, expires, grace, ..access.clone() },
            idle: refresh.extends_idle.then(|| client.idle.as_secs()),
        };
        match own.sessions.succeed(session.id, step).await.map_err(unavailable)? {
            Succeeded::Kept => {}
            Succeeded::NoLonger | Succeeded::Gone => return Ok(None),
        }
        told(&session);
        let ours = |at| own.sessions.on_our_clock(at);
        let next = Succession {
            key: succession.key,
            presented: succession.presented,
            ends: succession.ends,
            signed: succession.signed.clone(),
            from: ours(begins_from(now, expires, &session)).0.into(),
            successor: Some(Successor { token: header, issued: now, expires }),
        };
        Ok(Some(Arc::new(self.verdict_on(next, &verified, grace))))
    }

    /// The verdict on the successor, for as long as the presented token is taken.
    fn verdict_on(&self, next: Succession, verified: &Verified, grace: u64) -> Verdict {
        let valid_until = self.own.sessions.on_our_clock(verified.expires);
        Verdict {
            valid_until,
            fresh_until: next.ends.plus(grace).min(valid_until),
            claims: self.plan.take(verified.claims.members()),
            liveness: Some(verified.key.liveness().clone()),
            succession: Some(Arc::new(next)),
            ..self.verdict.anew()
        }
    }
}

fn told(session: &Session) {
    let mut entry = Entry::new(Event::AccessSucceeded, None);
    entry.client = Some(&session.state.client);
    entry.subject = Some(&session.granted.subject);
    entry.session = Some(&session.id);
    entry.grant = Some(session.granted.grant);
    entry.write();
}

/// Lets `principal` go on with the successor that is on its way, if that comes in time.
async fn settle(principal: &mut Principal, wait: Duration) -> Result<(), Refusal> {
    let Some(coming) = &principal.coming else { return Ok(()) };
    let Ok(arrived) = tokio::time::timeout(wait, arrival(coming.clone())).await else { return Err(too_slow()) };
    principal.coming = None;
    if let Some(verdict) = arrived.ok_or_else(too_slow)?? {
        principal.verdict = verdict;
    }
    Ok(())
}

/// `None` if the flight was dropped.
async fn arrival(mut coming: Coming) -> Option<Outcome> {
    coming.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
}

fn too_slow() -> Refusal {
    Refusal::new(Reason::Undecided, "renewal_too_slow")
}

fn unsigned() -> Refusal {
    Refusal::new(Reason::Undecided, "signing_failed")
}

const NEVER: UnixTime = UnixTime(u64::MAX);
/// What a step of a store at hand takes at the most: no request with a good token waits longer for what its answer could
/// carry. The next one finds it.
const A_MOMENT: Duration = Duration::from_millis(250);
/// Seconds after an attempt in which there is no other one.
const REST: u64 = 5;
