//! Sessions as hashes. What scripts compare is JSON that can be read; who somebody is and what they may is sealed.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use redis::Value;
use serde::{Deserialize, Serialize};

use crate::{
    model::{RefreshForm, Scope, UnixMillis, UnixTime},
    session::{
        lease::{Candidate, Intent, Renewer},
        moving::Moved,
        record::{Access, Revocation, Session, SessionId, State, Vouched},
        ring::{KeyRing, digest16},
        sealed::{self, FORMAT, Unreadable, damaged},
    },
};

/// [`State`] as scripts read and write it. Nothing is ever `null`: to Lua that would be something.
#[derive(Serialize, Deserialize)]
pub(super) struct Control {
    client: String,
    created: UnixTime,
    absolute: UnixTime,
    idle_until: UnixTime,
    generation: u64,
    #[serde(default, skip_serializing_if = "RefreshForm::is_full")]
    form: RefreshForm,
    rotated_at: UnixTime,
    acknowledged: u64,
    retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revocation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vouched: Option<KeptVouched>,
    /// What came too late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    late: Vec<Late>,
}

#[derive(Serialize, Deserialize)]
struct KeptVouched {
    generation: u64,
    renewed_for: u64,
    expires: UnixTime,
    #[serde(default)]
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<KeptIntent>,
    #[serde(default)]
    doubtful: bool,
}

#[derive(Serialize, Deserialize)]
struct KeptIntent {
    /// A number that Lua has no room for.
    owner: String,
    lapses: UnixMillis,
    #[serde(default)]
    again: bool,
}

#[derive(Serialize, Deserialize)]
struct Late {
    epoch: u64,
    /// The generation that it came too late for.
    since: u64,
}

/// An access token as scripts read and write it.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccess {
    digest: String,
    issued: UnixTime,
    expires: UnixTime,
    generation: u64,
    /// Scope and audiences, where they are narrower: text, since Lua would write an empty list as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    narrowed: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    foreign: bool,
    #[serde(default)]
    grace: u64,
}

#[derive(Serialize, Deserialize)]
struct Narrowed {
    scope: Option<Scope>,
    audiences: Option<Vec<String>>,
}

impl KeptAccess {
    pub(super) fn new(access: &Access) -> Result<KeptAccess, Unreadable> {
        let narrowed = (access.scope.is_some() || access.audiences.is_some())
            .then(|| {
                let narrowed = Narrowed { scope: access.scope.clone(), audiences: access.audiences.clone() };
                serde_json::to_string(&narrowed).map_err(|_| damaged("session"))
            })
            .transpose()?;
        Ok(KeptAccess {
            digest: BASE64URL.encode(access.digest),
            issued: access.issued,
            expires: access.expires,
            generation: access.generation,
            narrowed,
            foreign: access.foreign,
            grace: access.grace,
        })
    }

    fn access(self) -> Option<Access> {
        let narrowed = self.narrowed.map(|narrowed| serde_json::from_str(&narrowed)).transpose().ok()?;
        let Narrowed { scope, audiences } = narrowed.unwrap_or(Narrowed { scope: None, audiences: None });
        Some(Access {
            digest: BASE64URL.decode(self.digest).ok()?.try_into().ok()?,
            issued: self.issued,
            expires: self.expires,
            generation: self.generation,
            scope,
            audiences,
            foreign: self.foreign,
            grace: self.grace,
        })
    }
}

impl Control {
    pub(super) fn new(state: &State) -> Control {
        Control {
            client: state.client.clone(),
            created: state.created,
            absolute: state.absolute,
            idle_until: state.idle_until,
            generation: state.generation,
            form: state.form,
            rotated_at: state.rotated_at,
            acknowledged: state.acknowledged,
            retries: state.retries,
            revoked: state.revoked,
            vouched: state.vouched.as_ref().map(KeptVouched::new),
            late: Vec::new(),
        }
    }

    /// The same with what came too late, newest first. When it came nobody knows: it counts from now.
    pub(super) fn with_late(self, candidates: &[Candidate]) -> Control {
        let since = self.vouched.as_ref().map_or(0, |vouched| vouched.generation);
        let late = candidates.iter().rev().map(|candidate| Late { epoch: candidate.epoch, since }).collect();
        Control { late, ..self }
    }

    fn state(self, access: Vec<Access>) -> Option<State> {
        Some(State {
            client: self.client,
            created: self.created,
            absolute: self.absolute,
            idle_until: self.idle_until,
            generation: self.generation,
            form: self.form,
            rotated_at: self.rotated_at,
            acknowledged: self.acknowledged,
            retries: self.retries,
            revoked: self.revoked,
            access,
            vouched: match self.vouched {
                Some(vouched) => Some(vouched.vouched()?),
                None => None,
            },
        })
    }
}

impl KeptVouched {
    fn new(vouched: &Vouched) -> KeptVouched {
        let Vouched { generation, renewed_for, expires, epoch, intent, doubtful } = *vouched;
        let intent = intent.map(|Intent { owner, lapses, again }| KeptIntent { owner: written(owner), lapses, again });
        KeptVouched { generation, renewed_for, expires, epoch, intent, doubtful }
    }

    fn vouched(self) -> Option<Vouched> {
        let KeptVouched { generation, renewed_for, expires, epoch, intent, doubtful } = self;
        let intent = match intent {
            Some(KeptIntent { owner, lapses, again }) => {
                let owner = Renewer(u64::from_str_radix(&owner, 16).ok()?);
                Some(Intent { owner, lapses, again })
            }
            None => None,
        };
        Some(Vouched { generation, renewed_for, expires, epoch, intent, doubtful })
    }
}

/// As scripts compare it.
pub(super) fn written(Renewer(owner): Renewer) -> String {
    format!("{owner:016x}")
}

/// The access tokens of a session as they are kept.
pub(super) fn written_access(state: &State) -> Result<String, Unreadable> {
    let access: Vec<KeptAccess> = state.access.iter().map(KeptAccess::new).collect::<Result<_, _>>()?;
    json(&access)
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Unreadable> {
    serde_json::to_string(value).map_err(|_| damaged("session"))
}

/// Tells a session from another one of the same id (see [`Session::is_same`]).
pub(super) fn mark(session: &Session) -> String {
    let content = [&session.state.created.0.to_be_bytes()[..], &session.granted.salt].concat();
    BASE64URL.encode(digest16(&content))
}

/// A session as it was read; the sealed parts are still closed.
pub(super) struct Kept {
    pub state: State,
    granted: Option<Vec<u8>>,
    held: Option<Vec<u8>>,
}

/// What is read of a session, in this order.
pub(super) const FIELDS: [&str; 5] = ["v", "s", "a", "g", "h"];

impl Kept {
    /// From the answer to `HMGET` of [`FIELDS`], or of the first three; `None`: there is no such session.
    pub(super) fn read(fields: Value) -> Result<Option<Kept>, Unreadable> {
        let fields: Vec<Option<Vec<u8>>> = redis::from_redis_value(fields).map_err(|_| damaged("session"))?;
        let mut fields = fields.into_iter();
        let mut next = || fields.next().flatten();
        let Some(format) = next() else { return Ok(None) };
        check(&format, "session")?;
        let (control, access, granted, held) = (next(), next(), next(), next());
        let state = || {
            let control: Control = serde_json::from_slice(&control?).ok()?;
            let access: Vec<KeptAccess> = serde_json::from_slice(&access?).ok()?;
            control.state(access.into_iter().map(KeptAccess::access).collect::<Option<_>>()?)
        };
        let state = state().ok_or_else(|| damaged("session"))?;
        Ok(Some(Kept { state, granted, held }))
    }

    pub(super) fn open(self, id: SessionId, ring: &KeyRing) -> Result<Session, Unreadable> {
        let granted = sealed::open_granted(id, &self.granted.ok_or_else(|| damaged("session"))?, ring)?;
        let held = match (self.state.vouched, self.held) {
            (Some(_), Some(held)) => Some(sealed::open_held(id, &held, ring)?),
            _ => None,
        };
        Ok(Session { id, state: self.state, granted, held })
    }
}

/// The candidates of a session, newest first, from the answer to `HGETALL`.
pub(super) fn candidates(id: SessionId, fields: Value, ring: &KeyRing) -> Result<Vec<Candidate>, Unreadable> {
    let fields: HashMap<String, Vec<u8>> = redis::from_redis_value(fields).map_err(|_| damaged("session"))?;
    let Some(format) = fields.get("v") else { return Ok(Vec::new()) };
    check(format, "session")?;
    let control = fields.get("s").and_then(|control| serde_json::from_slice::<Control>(control).ok());
    let control = control.ok_or_else(|| damaged("session"))?;
    let sealed = |late: &Late| {
        let sealed = fields.get(&format!("c:{}", late.epoch)).ok_or_else(|| damaged("candidate"))?;
        sealed::open_candidate(id, late.epoch, sealed, ring)
    };
    control.late.iter().rev().map(sealed).collect()
}

/// A session, and its state and access tokens as they are written.
pub(super) type MovedAsWritten = (Moved, [Vec<u8>; 2]);

/// Everything that is kept of a session, with what changes whenever it does (state and access tokens as they are written),
/// from the answer to `HGETALL`; `None`: there is no such session.
pub(super) fn moved(id: SessionId, fields: Value, ring: &KeyRing) -> Result<Option<MovedAsWritten>, Unreadable> {
    let candidates = candidates(id, fields.clone(), ring)?;
    let fields: HashMap<String, Vec<u8>> = redis::from_redis_value(fields).map_err(|_| damaged("session"))?;
    let field = |name: &str| fields.get(name).cloned();
    let read = FIELDS.map(|name| field(name).map_or(Value::Nil, Value::BulkString));
    let Some(kept) = Kept::read(Value::Array(read.to_vec()))? else { return Ok(None) };
    let session = kept.open(id, ring)?;
    let written = ["s", "a"].map(|name| field(name).unwrap_or_default());
    Ok(Some((Moved { session, candidates }, written)))
}

/// Refuses what a later version has written.
pub(super) fn check(format: &[u8], what: &str) -> Result<(), Unreadable> {
    match std::str::from_utf8(format).ok().and_then(|format| format.parse::<u64>().ok()) {
        Some(format) if format == u64::from(FORMAT) => Ok(()),
        Some(format) if format > u64::from(FORMAT) => Err(sealed::later(what, format)),
        _ => Err(damaged(what)),
    }
}
