//! The one token of sidegate's own that an upstream is shown for everybody.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{Auth, Refusal, another::NoOther};
use crate::{
    model::UnixTime,
    refresh::service::{Keeper, NoToken, Shown},
    telemetry::{
        metrics::{Forced, Renewable},
        reason::Reason,
    },
};

impl Auth {
    /// With who keeps the tokens of upstreams, in their order.
    #[must_use]
    pub fn with_services(self, services: Vec<Option<Arc<Keeper>>>) -> Auth {
        Auth { services, ..self }
    }

    /// Who keeps the token of `upstream`; `None`: it is shown something else.
    pub fn service(&self, upstream: usize) -> Option<&Arc<Keeper>> {
        self.services.get(upstream)?.as_ref()
    }

    /// Has the keepers of tokens that `next` does not go on with rest, and so the renewals of sessions: what lives on with the
    /// old configuration must not go on asking by itself with settings that may be wrong.
    pub fn retire(&self, next: &Auth) {
        let goes_on = |keeper: &Arc<Keeper>| next.services().any(|next| Arc::ptr_eq(next, keeper));
        self.services().filter(|keeper| !goes_on(keeper)).for_each(|keeper| keeper.retire());
        if let Some(renewals) = self.own.as_ref().and_then(|own| own.renewals.as_ref()) {
            renewals.retire();
        }
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Keeper>> {
        self.services.iter().flatten()
    }

    /// The token of `keeper`. Only while there is none that is good for `need` a request waits.
    ///
    /// # Errors
    /// If none can be had now.
    pub async fn service_token(&self, keeper: &Keeper, need: Duration, now: UnixTime) -> Result<Shown, Refusal> {
        if let Some(shown) = keeper.ready(need, now) {
            return Ok(shown);
        }
        // Apart, so that requests which need not wait do not carry what waiting takes.
        Box::pin(keeper.wait(need)).await.map_err(|none| match none {
            NoToken::Unavailable { retry_after } => {
                Refusal { retry_after, ..Refusal::new(Reason::Undecided, "service_token_unavailable") }
            }
            NoToken::TooShort | NoToken::TooSoon => Refusal::new(Reason::Undecided, "service_token_too_short"),
        })
    }

    /// One that is newer than `seen`, which the upstream has refused.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn another_service_token(
        &self,
        upstream: usize,
        seen: &Shown,
        need: Duration,
    ) -> Result<HeaderValue, NoOther> {
        let Some(keeper) = self.service(upstream) else { return Err(NoOther::None) };
        let newer = keeper.renew_forced(seen.generation, need).await.map_err(|none| self.note_none(none))?;
        // An authority may give the same one again.
        if newer.authorization == seen.authorization { Err(NoOther::None) } else { Ok(newer.authorization) }
    }

    /// The same for those who come next: nobody waits for it.
    pub(super) fn another_service_token_beside(&self, upstream: usize, seen: &Shown, need: Duration, now: UnixTime) {
        if let Some(keeper) = self.service(upstream)
            && let Err(none) = keeper.renew_forced_beside(seen.generation, need, now)
        {
            self.note_none(none);
        }
    }

    /// What comes of an attempt is counted with it.
    fn note_none(&self, none: NoToken) -> NoOther {
        if none == NoToken::TooSoon {
            self.metrics.replay.forced(Renewable::Service, Forced::TooSoon);
        }
        NoOther::None
    }
}
