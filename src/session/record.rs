//! The record of one session.

use std::{fmt, str::FromStr};

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lease::Intent;
use crate::model::{GrantType, RefreshForm, Scope, Secret, UnixTime};

/// The name of a session and of its family of refresh tokens: 128 random bits, or 64 where its refresh tokens must be
/// short. Not a secret by itself: no token can be made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// # Errors
    /// If there is no randomness.
    pub fn random() -> Result<SessionId, aws_lc_rs::error::Unspecified> {
        let mut id = [0; 16];
        rand::fill(&mut id)?;
        Ok(SessionId(id))
    }

    /// An id for a session whose refresh tokens are of `form`. A compact one may be another session's: whoever keeps it
    /// must find that out.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn draw(form: RefreshForm) -> Result<SessionId, aws_lc_rs::error::Unspecified> {
        match form {
            RefreshForm::Full => SessionId::random(),
            RefreshForm::Compact => {
                let mut family = [0; 8];
                rand::fill(&mut family)?;
                Ok(SessionId::compact(family))
            }
        }
    }

    /// The id that a compact refresh token stands for. Under no key, which may leave the ring before the session ends; and
    /// reversible, since the next token is made from the id.
    pub fn compact(family: [u8; 8]) -> SessionId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&family);
        SessionId(id)
    }

    /// The part of a compact id that a refresh token carries.
    pub(super) fn family(self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

/// base64url, 22 characters.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0))
    }
}

impl FromStr for SessionId {
    type Err = NotASessionId;

    fn from_str(text: &str) -> Result<SessionId, NotASessionId> {
        let bytes = BASE64URL.decode(text).map_err(|_| NotASessionId)?;
        bytes.try_into().map(SessionId).map_err(|_| NotASessionId)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a session")]
pub struct NotASessionId;

/// A session as its store gives it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub id: SessionId,
    pub state: State,
    pub granted: Granted,
    /// What the authority outside gave for it; `None`: nobody outside vouches.
    pub held: Option<Held>,
}

/// The tokens of an authority outside, as they are now. They change with each renewal; stores seal them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    #[serde(with = "exposed")]
    pub access_token: Secret<String>,
    /// When it was asked for: its life counts from there.
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// Whose they are: what one authority gave is nobody else's to see.
    pub authority: String,
    /// `None`: when the access token is over, only a new sign-in helps.
    #[serde(with = "exposed_if_any", default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret<String>>,
}

/// What steps compare and change. Stores keep it readable; it holds nothing that a thief could use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub client: String,
    pub created: UnixTime,
    /// Nothing of the session is good from here on; never moved.
    pub absolute: UnixTime,
    /// Moved by each rotation, never beyond `absolute`.
    pub idle_until: UnixTime,
    /// The generation of the current refresh token; the first is 1, and 0 stands for "there is none".
    pub generation: u64,
    /// The form of its refresh tokens, whichever dialect it goes on in.
    #[serde(default, skip_serializing_if = "RefreshForm::is_full")]
    pub form: RefreshForm,
    pub rotated_at: UnixTime,
    /// The newest generation that is known to have reached the client.
    pub acknowledged: u64,
    /// Retries that this generation has answered.
    pub retries: u32,
    pub revoked: Option<Revocation>,
    /// Access tokens that are still good, oldest first; at most [`MOST_ACCESS_TOKENS`] of ours and
    /// [`MOST_FOREIGN_TOKENS`] of the authority's own.
    pub access: Vec<Access>,
    /// What is compared before the authority's tokens are replaced; `None`: nobody outside vouches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<Vouched>,
}

/// The state of what an authority outside gave for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Counts the renewals, from 1: whoever renews replaces only what they saw.
    pub generation: u64,
    /// The generation of the client's refresh token that the last renewal was made for; 0: none was.
    pub renewed_for: u64,
    /// The end of the authority's access token.
    pub expires: UnixTime,
    /// Counts the leases on renewing it: an answer of the authority is kept under the one it was asked for under.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// Who is asking the authority, or was and has not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// Its refresh token was sent, and nobody knows what came of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub doubtful: bool,
}

impl Vouched {
    /// What the authority gave when the session began, good until `expires`.
    pub fn first(expires: UnixTime) -> Vouched {
        Vouched { generation: 1, renewed_for: 0, expires, epoch: 0, intent: None, doubtful: false }
    }
}

/// An access token that was handed out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Digest of the random part (opaque), of `jti` (JWT), or of the whole token where it is the authority's own.
    #[serde(with = "base64_digest")]
    pub digest: [u8; 16],
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// Minted together with this generation of the refresh token.
    pub generation: u64,
    /// Where it is narrower than the session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The same for its audiences (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Vec<String>>,
    /// The authority's own token: its session is found by the digest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub foreign: bool,
    /// Seconds after its end in which it may still slide: the session lives so long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub grace: u64,
}

impl Access {
    /// From when on nothing can come of it any more.
    pub fn over_at(&self) -> UnixTime {
        self.expires.plus(self.grace)
    }
}

/// Why and when a session ended before its time. The record stays as a tombstone until `absolute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub reason: RevocationReason,
    pub at: UnixTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// RFC 7009.
    Client,
    /// A refresh token came back after its time.
    Reuse,
    /// An authorization code came twice.
    CodeReuse,
    /// An operator.
    Operator,
    /// The user has too many sessions.
    Superseded,
    /// User or client is disabled or gone, or the password has changed.
    AccountChanged,
    /// The authority outside says that it is over.
    Authority,
    /// Another replica had ended it, and the store has lost that together with the reason.
    Forgotten,
}

impl RevocationReason {
    pub fn as_str(self) -> &'static str {
        match self {
            RevocationReason::Client => "client",
            RevocationReason::Reuse => "reuse",
            RevocationReason::CodeReuse => "code_reuse",
            RevocationReason::Operator => "operator",
            RevocationReason::Superseded => "superseded",
            RevocationReason::AccountChanged => "account_changed",
            RevocationReason::Authority => "authority",
            RevocationReason::Forgotten => "forgotten",
        }
    }
}

/// What was granted, as it was at the time. Never changes; stores seal it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    pub subject: String,
    /// What was typed at sign-in; `None` for a client on its own behalf.
    pub username: Option<String>,
    pub grant: GrantType,
    pub scope: Scope,
    pub audiences: Vec<String>,
    /// The user's (or client's) claims, and those of the intent.
    pub claims: Map<String, Value>,
    /// When the user proved who they are.
    pub auth_time: UnixTime,
    /// Tells whether the password is still the one that was checked (a digest of its hash); `None`: verified elsewhere.
    pub credential: Option<[u8; 16]>,
    /// Makes the keys of this family of refresh tokens its own.
    pub salt: [u8; 16],
    /// The master key they are derived from.
    pub master_key: u32,
    /// An authority outside said who it is, and not our own list.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outside: bool,
}

/// An authorization that waits for its code to be redeemed (RFC 6749, section 4.1). Kept under the id that the session
/// will have; sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    pub client: String,
    /// Digest of the random part of the code.
    pub digest: [u8; 16],
    pub expires: UnixTime,
    /// As it stood in the authorization request, if it did.
    pub redirect_uri: Option<String>,
    /// S256.
    pub challenge: Option<String>,
    pub nonce: Option<String>,
    pub granted: Granted,
    /// What the authority outside gave when the user signed in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

impl Session {
    /// Whether `other` was made by the same step, whatever has become of it since.
    pub(super) fn is_same(&self, other: &Session) -> bool {
        self.id == other.id && self.state.created == other.state.created && self.granted.salt == other.granted.salt
    }

    /// Whether anything can still come of the session at `now`.
    pub fn is_alive(&self, now: UnixTime) -> bool {
        self.state.is_alive(now)
    }
}

impl State {
    /// Whether anything can still come of the session at `now`.
    pub fn is_alive(&self, now: UnixTime) -> bool {
        self.revoked.is_none() && now < self.over_at()
    }

    /// From when on nothing can come of the session any more, and stores may forget it: both its refresh token and its
    /// access tokens are over. One that was revoked is remembered until its absolute end.
    pub fn over_at(&self) -> UnixTime {
        let last_access = self.access.iter().map(Access::over_at).max();
        let over = match (self.revoked, self.generation, last_access) {
            (Some(_), ..) | (None, 0, None) => self.absolute,
            (None, 0, Some(last)) => last,
            (None, _, last) => last.map_or(self.idle_until, |last| last.max(self.idle_until)),
        };
        over.min(self.absolute)
    }

    /// All that decides what a step comes to: the list may be long, and tells nothing of the refresh token.
    pub(super) fn without_access(&self) -> State {
        State { client: self.client.clone(), access: Vec::new(), ..*self }
    }

    /// The access token with this digest, if it is still good at `now`.
    pub fn access(&self, digest: &[u8; 16], now: UnixTime) -> Option<&Access> {
        self.access.iter().find(|access| access.digest == *digest && now < access.expires)
    }
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Only into what is sealed.
pub mod exposed {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// As the serializer.
    pub fn serialize<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    /// # Errors
    /// As the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// The same.
mod exposed_if_any {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Option<Secret<String>>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(|secret| secret.expose().as_str()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}

/// A third of what JSON makes of 16 numbers; a session may hold many.
mod base64_digest {
    use super::{BASE64URL, Engine};
    use serde::{Deserialize, Deserializer, Serializer, de::Error, ser::Error as _};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 22];
        let length = BASE64URL.encode_slice(digest, &mut text).map_err(S::Error::custom)?;
        to.serialize_str(std::str::from_utf8(&text[..length]).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let mut digest = [0; 16];
        let length = BASE64URL.decode_slice(&*text, &mut digest).ok();
        length.filter(|length| *length == digest.len()).map(|_| digest).ok_or_else(|| D::Error::custom("not a digest"))
    }
}

/// Access tokens of one session that are good at once; a further one pushes the oldest out. Many workers of one client may
/// refresh at once, and each answer must be good.
pub const MOST_ACCESS_TOKENS: usize = 128;
/// The same for tokens of the authority outside: there is one for each renewal that a client asked for.
pub const MOST_FOREIGN_TOKENS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::session;

    #[test]
    fn a_session_that_was_kept_before_there_were_forms_has_full_refresh_tokens() {
        let full = session("ada", UnixTime(1000)).state;
        let written = serde_json::to_value(&full).unwrap();
        assert_eq!(written.get("form"), None);
        assert_eq!(serde_json::from_value::<State>(written).unwrap(), full);
        let compact = State { form: RefreshForm::Compact, ..full };
        let written = serde_json::to_string(&compact).unwrap();
        assert_eq!(serde_json::from_str::<State>(&written).unwrap(), compact);
    }

    #[test]
    fn a_compact_id_is_its_family_and_no_full_one() {
        let id = SessionId::draw(RefreshForm::Compact).unwrap();
        assert_eq!(SessionId::compact(id.family()), id);
        assert_ne!(id.0[..8], [0; 8]);
        let full = SessionId::draw(RefreshForm::Full).unwrap();
        assert_ne!(SessionId::compact(full.family()), full);
    }
}
