//! Access tokens of our own that go on being good because they are used, for clients that know nothing of refreshing.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Auth, Refusal, bearer::Candidate, own::Own, own::unavailable, policy::Policy, verdict::Verdict};
use crate::{
    config::{LOCAL_ISSUER, Renewal},
    model::{Context, UnixTime},
    refresh::{NotRenewed, Renewals, Wanted, slides_from},
    session::{Access, Session, Sessions, Slid, Slide, tokens::Opaque},
    spans,
    telemetry::{
        audit::{Entry, Event},
        metrics::{Metrics, Sliding},
        reason::Reason,
    },
};

/// What a cached verdict knows of the sliding of its token.
#[derive(Debug)]
pub struct Slides {
    /// From here on its use moves its end; never again if that is the session's own.
    from: UnixTime,
    begun: AtomicBool,
    slid: OnceLock<Prolonged>,
}

/// What came of one step, on our clock: that is what requests are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prolonged {
    pub(super) until: UnixTime,
    from: UnixTime,
}

impl Prolonged {
    fn new(issued: UnixTime, until: UnixTime, session: &Session, sessions: &Sessions) -> Prolonged {
        let from = if until < session.state.absolute { slides_from(issued, until) } else { UnixTime(u64::MAX) };
        Prolonged { until: sessions.on_our_clock(until), from: sessions.on_our_clock(from) }
    }
}

impl Slides {
    pub(super) fn new(prolonged: Prolonged) -> Slides {
        Slides { from: prolonged.from, begun: AtomicBool::new(false), slid: OnceLock::new() }
    }

    /// Whether whoever asks at `now` is the one to move the end.
    fn begins(&self, now: UnixTime) -> bool {
        now >= self.from && !self.begun.load(Ordering::Relaxed) && !self.begun.swap(true, Ordering::Relaxed)
    }

    /// What the token's end is now, if that has moved since the verdict was found.
    pub(super) fn slid(&self) -> Option<Prolonged> {
        self.slid.get().copied()
    }
}

impl Own {
    /// What the verdict on `access` must know; `None`: it does not slide.
    pub(super) fn slides(&self, session: &Session, access: &Access) -> Option<Arc<Slides>> {
        let client = self.authority.client(&session.state.client)?;
        let slides = !access.foreign && client.renews(session.granted.grant) == Some(Renewal::Sliding);
        slides.then(|| Arc::new(Slides::new(Prolonged::new(access.issued, access.expires, session, &self.sessions))))
    }

    /// Moves the end of a token as far as its client may still have that. `None`: it may not, or no more.
    async fn slide(&self, token: Opaque) -> Result<Option<(Session, Slid)>, Refusal> {
        let (session, _) = self.live_session(token.session).await?;
        let (state, granted) = (&session.state, &session.granted);
        let Some(client) = self.authority.client(&state.client) else { return Ok(None) };
        let Some(access) = state.access.iter().find(|access| access.digest == token.digest) else { return Ok(None) };
        // As with a refresh: what was taken from the client in the configuration is not prolonged.
        let still = client.still_may(granted.grant, &granted.scope, &granted.audiences);
        if access.foreign || client.renews(granted.grant) != Some(Renewal::Sliding) || still.is_err() {
            return Ok(None);
        }
        if self.sessions.now() < slides_from(access.issued, access.expires) {
            // Somebody else was faster.
            let stands = Slid::Stands(access.expires);
            return Ok(Some((session, stands)));
        }
        if !self.is_vouched_for_anew(&session).await? {
            return Ok(None);
        }
        let refresh = &self.settings.refresh;
        let step = Slide {
            digest: token.digest,
            seen: access.expires,
            lifetime: client.access_lifetime.as_secs(),
            grace: refresh.accept_expired_for.as_secs(),
            idle: refresh.extends_idle.then(|| client.idle.as_secs()),
        };
        let slid = self.sessions.slide(session.id, step).await.map_err(unavailable)?;
        Ok(Some((session, slid)))
    }

    /// The same, told to those who watch; `None`: the token ends when it says so.
    async fn prolong(&self, token: Opaque, metrics: &Metrics) -> Result<Option<Prolonged>, Refusal> {
        let outcome = self.slide(token).await;
        let (told, prolonged) = match &outcome {
            Ok(Some((session, Slid::Moved(until)))) => {
                let mut entry = Entry::new(Event::AccessRenewed, None);
                entry.client = Some(&session.state.client);
                entry.subject = Some(&session.granted.subject);
                entry.session = Some(&session.id);
                entry.grant = Some(session.granted.grant);
                entry.write();
                (Some(Sliding::Slid), Some(Prolonged::new(self.sessions.now(), *until, session, &self.sessions)))
            }
            Ok(Some((session, Slid::Stands(until)))) => {
                (None, Some(Prolonged::new(self.sessions.now(), *until, session, &self.sessions)))
            }
            Ok(Some((_, Slid::Gone)) | None) => (Some(Sliding::NotRenewable), None),
            Err(refusal) if refusal.reason == Reason::Undecided => (Some(Sliding::Unavailable), None),
            Err(_) => (Some(Sliding::NotRenewable), None),
        };
        if let Some(told) = told {
            metrics.oauth.slid(told);
        }
        outcome.map(|_| prolonged)
    }

    /// Whether the authority outside, where one stands behind `session`, goes on vouching: what nobody would renew is not
    /// prolonged.
    pub(super) async fn is_vouched_for_anew(&self, session: &Session) -> Result<bool, Refusal> {
        let Some(held) = &session.held else { return Ok(true) };
        let renews = |renewals: &&Arc<Renewals>| renewals.can_renew(&session.state.client, &session.granted, held);
        let Some(renewals) = self.renewals.as_ref().filter(renews) else { return Ok(false) };
        match renewals.renew(session.id, Wanted::ByTime { need: Duration::ZERO }).await {
            Ok(_) => Ok(true),
            Err(NotRenewed::Ended) => Err(Refusal::new(Reason::TokenRevoked, "authority_session_over")),
            Err(NotRenewed::NotRenewable) => Ok(false),
            Err(NotRenewed::NotAsked { retry_after, .. }) => {
                Err(Refusal { retry_after: Some(retry_after), ..Refusal::new(Reason::Undecided, "authority_away") })
            }
            Err(NotRenewed::Unavailable { retry_after, .. }) => {
                Err(Refusal { retry_after, ..Refusal::new(Reason::Undecided, "authority_unavailable") })
            }
        }
    }
}

impl Auth {
    /// Lets `token`, which has just opened a door, go on being good if it is time for that. Nobody waits for it.
    pub(super) fn slide_beside(&self, token: Candidate<'_>, verdict: &Verdict, now: UnixTime) {
        let Some(slides) = verdict.slides.as_ref().filter(|slides| slides.begins(now)) else { return };
        let Some((own, opaque)) = self.own_opaque(token) else { return };
        let (own, metrics, slides) = (own.clone(), self.metrics.clone(), slides.clone());
        let background = own.sessions.background().clone();
        background.spawn(spans::carried(async move {
            match own.prolong(opaque, &metrics).await {
                Ok(Some(prolonged)) => drop(slides.slid.set(prolonged)),
                // The next one who comes tries again.
                Err(refusal) if refusal.reason == Reason::Undecided => slides.begun.store(false, Ordering::Relaxed),
                Ok(None) | Err(_) => {}
            }
        }));
    }

    /// The verdict on a token that was `refused` as over and may yet slide: the request waits for that.
    pub(super) async fn slide_late(
        &self,
        token: Candidate<'_>,
        policy: &Policy,
        cx: &Context,
        refused: Refusal,
    ) -> Result<Arc<Verdict>, Refusal> {
        let found = self.own_opaque(token).filter(|_| policy.issuers.contains(&LOCAL_ISSUER));
        let Some((own, opaque)) = found else { return Err(refused) };
        let refresh = own.settings.refresh;
        if refresh.accept_expired_for.is_zero() {
            return Err(refused);
        }
        let (beside, metrics) = (own.clone(), self.metrics.clone());
        let flight = async move { beside.prolong(opaque, &metrics).await };
        let flight = own.sessions.background().spawn(spans::carried(flight));
        match tokio::time::timeout(refresh.wait, flight).await {
            Ok(Ok(Ok(Some(_)))) => self.judge(token, policy, cx).await,
            Ok(Ok(Ok(None))) => Err(refused),
            Ok(Ok(Err(refusal))) => Err(refusal),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(Reason::Undecided, "renewal_too_slow")),
        }
    }

    pub(super) fn own_opaque(&self, token: Candidate<'_>) -> Option<(&Own, Opaque)> {
        let own = self.own.as_ref()?;
        let opaque = own.sessions.ring().read_access(token.check().ok()?)?;
        Some((own, opaque))
    }
}
