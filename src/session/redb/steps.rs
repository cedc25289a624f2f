//! What the methods of the store do inside the transaction. A step reads everything first: once it has written, only
//! the file itself may fail, and then nothing of the transaction is kept.

use redb::{ReadableTable, Table};

use super::{
    Failure,
    record::{self, Kept, KeptCode},
    tables::Tables,
};
use crate::{
    model::UnixTime,
    session::{
        family::{Outcome, Refused, Rotate},
        record::{Code, RevocationReason, Session, SessionId},
        ring::KeyRing,
        sealed,
        slide::{Slid, Slide},
        store::{Created, Spent},
        succeed::{Succeed, Succeeded},
    },
};

pub(super) fn create(
    tables: &mut Tables<'_>,
    session: &Session,
    most: u32,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Created, Failure> {
    let new = Kept::new(session, ring)?;
    let owners: Vec<[u8; 16]> = sealed::owners(&session.granted, ring).collect();
    let old = match tables.find(session.id) {
        Ok(None) => None,
        Ok(Some(old)) if is_same(&old, session, ring)? => Some(old),
        // What cannot be read is somebody's as well.
        Ok(Some(_)) | Err(Failure::Unreadable(_)) => return Ok(Created::Taken),
        Err(error) => return Err(error),
    };
    // The same step once more does not count itself.
    let again = old.is_some_and(|old| old.state.revoked.is_none() && owners.contains(&old.owner));
    let mut live = 0;
    for owner in &owners {
        live += tables.live_of(*owner)?;
    }
    let superfluous = (live - u64::from(again).min(live) + 1).saturating_sub(most.max(1).into());
    let superfluous = usize::try_from(superfluous).unwrap_or(usize::MAX);
    let mut others = Vec::new();
    for owner in owners {
        // Of many sessions only the oldest are looked at, one more than go since one may be this session.
        let oldest = tables.live.range((owner, 0, [0; 16])..=(owner, u64::MAX, [u8::MAX; 16]))?;
        for entry in oldest.take(superfluous.saturating_add(1)) {
            let (_, created, id) = entry?.0.value();
            others.push((created, SessionId(id)));
        }
    }
    others.retain(|(_, id)| *id != session.id);
    others.sort_unstable();
    others.truncate(superfluous);
    let mut superseded = Vec::new();
    for (_, id) in others {
        match tables.find(id) {
            Ok(Some(mut other)) => {
                let alive = other.state.is_alive(now);
                other.state.revoke(RevocationReason::Superseded, now);
                superseded.push((id, other, alive));
            }
            Ok(None) => {}
            // One that cannot be read must not keep its owner from signing in.
            Err(Failure::Unreadable(error)) => tracing::warn!(%id, error, "a session could not be superseded"),
            Err(error) => return Err(error),
        }
    }
    for (id, other, _) in &superseded {
        tables.update(*id, other)?;
    }
    tables.insert(session.id, &new)?;
    if let Some(held) = &session.held {
        tables.held.insert(session.id.0, record::held(session.id, held, ring)?.as_slice())?;
    }
    Ok(Created::Now(superseded.into_iter().filter(|(_, _, alive)| *alive).map(|(id, ..)| id).collect()))
}

fn is_same(old: &Kept, session: &Session, ring: &KeyRing) -> Result<bool, Failure> {
    match old.clone().open(session.id, ring) {
        Ok(old) => Ok(old.is_same(session)),
        Err(Failure::Unreadable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn rotate(tables: &mut Tables<'_>, id: SessionId, step: &Rotate, now: UnixTime) -> Result<Outcome, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(Outcome::Refused(Refused::Unknown)) };
    let outcome = kept.state.rotate(step, now);
    if !matches!(outcome, Outcome::Refused(_) | Outcome::RetriesExhausted) {
        tables.update(id, &kept)?;
    }
    Ok(outcome)
}

pub(super) fn slide(tables: &mut Tables<'_>, id: SessionId, step: &Slide, now: UnixTime) -> Result<Slid, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(Slid::Gone) };
    let slid = kept.state.slide(step, now);
    if matches!(slid, Slid::Moved(_)) {
        tables.update(id, &kept)?;
    }
    Ok(slid)
}

pub(super) fn succeed(
    tables: &mut Tables<'_>,
    id: SessionId,
    step: &Succeed,
    now: UnixTime,
) -> Result<Succeeded, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(Succeeded::Gone) };
    let succeeded = kept.state.succeed(step, now);
    if succeeded == Succeeded::Kept {
        tables.update(id, &kept)?;
    }
    Ok(succeeded)
}

pub(super) fn revoke(
    tables: &mut Tables<'_>,
    id: SessionId,
    reason: RevocationReason,
    now: UnixTime,
) -> Result<bool, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(false) };
    if !kept.state.is_alive(now) || !kept.state.revoke(reason, now) {
        return Ok(false);
    }
    tables.update(id, &kept)?;
    Ok(true)
}

pub(super) fn acknowledge(
    tables: &mut Tables<'_>,
    id: SessionId,
    generation: u64,
    now: UnixTime,
) -> Result<(), Failure> {
    if let Some(mut kept) = tables.find(id)?
        && kept.state.acknowledge(generation, now)
    {
        tables.update(id, &kept)?;
    }
    Ok(())
}

pub(super) fn put_code(tables: &mut Tables<'_>, id: SessionId, code: &Code, ring: &KeyRing) -> Result<(), Failure> {
    let kept = KeptCode::new(id, code, ring)?;
    tables.changed = true;
    tables.codes.insert(id.0, kept.bytes().as_slice())?;
    tables.code_ends.insert((code.expires.0, id.0), ())?;
    Ok(())
}

pub(super) fn spend_code(
    tables: &mut Tables<'_>,
    session: &Session,
    most: u32,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Spent, Failure> {
    let kept = tables.codes.get(session.id.0)?.map(|bytes| KeptCode::read(bytes.value())).transpose()?;
    let Some(mut code) = kept.filter(|code| now < code.expires) else { return Ok(Spent::Unknown) };
    if code.spent {
        return Ok(Spent::Before);
    }
    code.spent = true;
    let created = create(tables, session, most, ring, now)?;
    tables.codes.insert(session.id.0, code.bytes().as_slice())?;
    Ok(created.into())
}

pub(super) fn use_once(
    tables: &mut Tables<'_>,
    key: [u8; 32],
    until: UnixTime,
    now: UnixTime,
) -> Result<bool, Failure> {
    let known = tables.used.get(key)?.map(|until| until.value());
    if known.is_some_and(|until| now.0 < until) {
        return Ok(false);
    }
    tables.changed = true;
    tables.used.insert(key, until.0)?;
    tables.used_ends.insert((until.0, key), ())?;
    Ok(true)
}

pub(super) fn save(
    tables: &mut Tables<'_>,
    name: &str,
    expected: u64,
    content: &[u8],
    ring: &KeyRing,
) -> Result<bool, Failure> {
    let version = tables.documents.get(name)?.map(|bytes| record::document_version(bytes.value())).transpose()?;
    if version.unwrap_or(0) != expected {
        return Ok(false);
    }
    let bytes = record::document(name, expected.saturating_add(1), content, ring)?;
    tables.changed = true;
    tables.documents.insert(name, bytes.as_slice())?;
    Ok(true)
}

/// What one slice of a purge did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Purged {
    pub sessions: u64,
    /// Whether there may be more to do.
    pub more: bool,
}

/// Removes what is over, at most [`SLICE`] of each kind: steps that wait must not wait long.
pub(super) fn purge(tables: &mut Tables<'_>, now: UnixTime) -> Result<Purged, Failure> {
    let mut purged = Purged::default();
    let due = due(&mut tables.ends, now, [0xff; 16])?;
    purged.more |= due.len() == SLICE;
    tables.changed |= !due.is_empty();
    for id in due {
        let id = SessionId(id);
        match tables.find(id) {
            Ok(Some(kept)) if kept.state.over_at() <= now => {
                tables.remove(id, &kept)?;
                purged.sessions += 1;
            }
            Ok(Some(kept)) => {
                tables.ends.insert((kept.state.over_at().0, id.0), ())?;
            }
            Ok(None) => {}
            Err(Failure::Unreadable(error)) => {
                // Never removed unread: a later version may have written it.
                tracing::warn!(%id, error, "a session cannot be judged; it is kept");
                tables.ends.insert((now.plus(UNREADABLE_AGAIN).0, id.0), ())?;
            }
            Err(error) => return Err(error),
        }
    }
    let due = self::due(&mut tables.code_ends, now, [0xff; 16])?;
    purged.more |= due.len() == SLICE;
    tables.changed |= !due.is_empty();
    for id in due {
        tables.codes.remove(id)?;
    }
    let due = self::due(&mut tables.used_ends, now, [0xff; 32])?;
    purged.more |= due.len() == SLICE;
    tables.changed |= !due.is_empty();
    for key in due {
        // It may have been used anew since, with another end.
        if tables.used.get(key)?.is_some_and(|until| until.value() <= now.0) {
            tables.used.remove(key)?;
        }
    }
    Ok(purged)
}

/// Takes what is due out of an index by time.
fn due<const N: usize>(
    ends: &mut Table<'_, (u64, [u8; N]), ()>,
    now: UnixTime,
    last: [u8; N],
) -> Result<Vec<[u8; N]>, Failure> {
    let mut due = Vec::new();
    for entry in ends.range(..=(now.0, last))?.take(SLICE) {
        due.push(entry?.0.value());
    }
    for key in &due {
        ends.remove(*key)?;
    }
    Ok(due.into_iter().map(|(_, id)| id).collect())
}

/// Records of each kind that one transaction removes.
pub(super) const SLICE: usize = 256;
/// Seconds.
const UNREADABLE_AGAIN: u64 = 3600;
