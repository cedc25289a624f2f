//! Who signed in at the authority outside, by its ID token.

use super::{Authorization, Away, NotSignedIn, SignedIn};
use crate::{
    authority::remote::{Known, Remote, Unproven},
    grants::{Grants, outside::held},
    model::{TokenGrant, UnixTime},
};

impl Grants {
    /// Who it is, with the tokens that were `given` for them.
    pub(super) async fn vouched_by(
        &self,
        remote: &Remote,
        away: &Away,
        asked: &Authorization,
        given: TokenGrant,
        now: UnixTime,
    ) -> Result<SignedIn, NotSignedIn> {
        let who = remote.who(&given, Some(away.nonce()), now).await.map_err(unproven)?;
        let Known { subject, username, claims, auth_time } =
            who.ok_or(NotSignedIn::broken("id_token_not_asked_for"))?;
        // A client on its own behalf is its own subject: nobody may be taken for one (RFC 9700, section 4.15).
        if self.settings().clients.contains_key(&subject) {
            return Err(NotSignedIn::broken("subject_is_a_client"));
        }
        if let Some(most) = asked.max_age {
            let at = auth_time.ok_or(NotSignedIn::broken("auth_time_missing"))?;
            if at.until(now).as_secs() > most.saturating_add(LEEWAY) {
                return Err(NotSignedIn::broken("signed_in_too_long_ago"));
            }
        }
        let auth_time = auth_time.map_or(now, |at| at.min(now));
        Ok(SignedIn { subject, username, claims, credential: None, auth_time, held: Some(held(given, remote)) })
    }
}

fn unproven(why: Unproven) -> NotSignedIn {
    match why {
        Unproven::Undecided => {
            tracing::warn!("an ID token cannot be judged: the keys of the authority outside are not available");
            NotSignedIn::unavailable("keys_unavailable")
        }
        Unproven::Missing => NotSignedIn::broken("id_token_missing"),
        Unproven::Nonce => NotSignedIn::broken("nonce_differs"),
        Unproven::Token(_) | Unproven::OtherClient | Unproven::OtherSubject | Unproven::AccessToken => {
            tracing::warn!(error = %why, "an ID token of the authority outside is not to be believed");
            NotSignedIn::broken("id_token_refused")
        }
    }
}

/// Seconds between two clocks.
const LEEWAY: u64 = 30;
