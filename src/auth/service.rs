//! The one token of sidegate's own that an upstream is shown for everybody.

use std::{sync::Arc, time::Duration};

use super::{Auth, Refusal};
use crate::{
    model::UnixTime,
    refresh::service::{Keeper, NoToken, Shown},
    telemetry::reason::Reason,
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
}
