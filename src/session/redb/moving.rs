//! Sessions that go to another store, and those that come from one.

use super::{
    Failure,
    record::{self, Kept},
    tables::{Tables, View},
};
use crate::{
    model::UnixTime,
    session::{
        Candidate, SessionId,
        moving::{Moved, Records, Restored},
        ring::KeyRing,
    },
};

pub(super) fn records(
    view: &View,
    after: Option<SessionId>,
    most: usize,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Records, Failure> {
    let mut records = Records::default();
    let mut seen = 0;
    view.ids(None, after, |id| {
        seen += 1;
        let read = view.find(id, ring).and_then(|session| Ok(session.zip(Some(view.candidates(id, ring)?))));
        match read {
            Ok(Some((session, candidates))) if now < session.state.over_at() => {
                records.moved.push(Moved { session, candidates });
            }
            Ok(_) => {}
            Err(Failure::Unreadable(error)) => records.unreadable.push((id, error)),
            Err(error) => return Err(error),
        }
        records.last = (seen == most).then_some(id);
        Ok(seen < most)
    })?;
    Ok(records)
}

pub(super) fn restore(
    tables: &mut Tables<'_>,
    moved: &Moved,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Restored, Failure> {
    let id = moved.session.id;
    let there = match there(tables, id, ring) {
        Ok(there) => there,
        // What cannot be read is somebody's as well.
        Err(Failure::Unreadable(_)) => return Ok(Restored::Taken),
        Err(error) => return Err(error),
    };
    let joined = match &there {
        Some(there) if !there.session.is_same(&moved.session) => return Ok(Restored::Taken),
        Some(there) => there.joined(moved, now),
        None => Some(moved.clone()),
    };
    let Some(Moved { session, candidates }) = joined else { return Ok(Restored::There) };
    let kept = Kept::new(&session, ring)?;
    let held = session.held.as_ref().map(|held| record::held(id, held, ring)).transpose()?;
    let since = session.state.vouched.map_or(0, |vouched| vouched.generation);
    let sealed = candidates.iter().map(|late| Ok((late.epoch, record::candidate(id, since, late, ring)?)));
    let sealed: Vec<(u64, Vec<u8>)> = sealed.collect::<Result<_, Failure>>()?;
    tables.insert(id, &kept)?;
    if let Some(held) = held {
        tables.held.insert(id.0, held.as_slice())?;
    }
    for (epoch, sealed) in sealed {
        tables.candidates.insert((id.0, epoch), sealed.as_slice())?;
    }
    tables.index_renewal(id, &kept)?;
    Ok(Restored::Kept)
}

fn there(tables: &Tables<'_>, id: SessionId, ring: &KeyRing) -> Result<Option<Moved>, Failure> {
    use redb::ReadableTable;
    let Some(kept) = tables.find(id)? else { return Ok(None) };
    let mut session = kept.open(id, ring)?;
    if session.state.vouched.is_some() {
        session.held = tables.held.get(id.0)?.map(|bytes| record::read_held(id, bytes.value(), ring)).transpose()?;
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for entry in tables.candidates.range((id.0, 0)..=(id.0, u64::MAX))?.rev() {
        let (key, bytes) = entry?;
        candidates.push(record::read_candidate(id, key.value().1, bytes.value(), ring)?);
    }
    Ok(Some(Moved { session, candidates }))
}
