//! Access tokens of the authority outside that clients have: their session is all that tells who presents one.

use tokio::sync::MutexGuard;

use super::Grants;
use crate::{
    model::TokenError,
    session::{Access, Granted, Session},
};

impl Grants {
    /// That `access`, if it is the authority's own token, is nobody's but that of `granted` and `client`. What is given
    /// here is to be held until the token is kept: two must not find each other absent.
    ///
    /// # Errors
    /// If somebody else has it: one of them would be taken for the other.
    pub(super) async fn to_them_alone(
        &self,
        access: &Access,
        client: &str,
        granted: &Granted,
    ) -> Result<Option<MutexGuard<'_, ()>>, TokenError> {
        if !access.foreign {
            return Ok(None);
        }
        let one_at_a_time = self.sessions.one_at_a_time().await;
        let holder = match self.sessions.store().find_foreign(access.digest).await? {
            Some(id) => self.sessions.find(id).await?,
            None => None,
        };
        if holder.is_some_and(|holder| !is_of(&holder, client, granted)) {
            tracing::error!(
                "the authority outside gives one access token to several, and with tokens: pass_through one would be taken \
                 for the other: write tokens: own"
            );
            return Err(TokenError::unavailable().because("token_of_somebody_else"));
        }
        Ok(Some(one_at_a_time))
    }
}

fn is_of(holder: &Session, client: &str, granted: &Granted) -> bool {
    let other = &holder.granted;
    holder.state.client == client
        && (&other.subject, other.username.is_some()) == (&granted.subject, granted.username.is_some())
        && ["intentid", "itype"].iter().all(|claim| other.claims.get(*claim) == granted.claims.get(*claim))
}
