//! The steps around a question to the authority outside, inside the transaction.

use std::time::Duration;

use super::{ALONE, Failure, record, tables::Tables};
use crate::{
    model::{UnixMillis, UnixTime},
    session::{
        Answer, Exchanged, Intend, Intended, Left, Renewed, SessionId,
        lease::{Candidate, MOST_CANDIDATES},
        ring::KeyRing,
    },
};

pub(super) fn intend(
    tables: &mut Tables<'_>,
    id: SessionId,
    step: &Intend,
    now: UnixTime,
    at: UnixMillis,
) -> Result<Intended, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(Intended::Gone) };
    let intended = kept.state.intend(step, ALONE, now, at);
    if matches!(intended, Intended::Go { .. }) {
        tables.update(id, &kept)?;
    }
    Ok(intended)
}

pub(super) fn extend(
    tables: &mut Tables<'_>,
    id: SessionId,
    epoch: u64,
    lease: Duration,
    at: UnixMillis,
) -> Result<bool, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(false) };
    let extended = kept.state.extend(epoch, lease, at);
    if extended {
        tables.update(id, &kept)?;
    }
    Ok(extended)
}

pub(super) fn leave(
    tables: &mut Tables<'_>,
    id: SessionId,
    epoch: u64,
    left: Left,
    at: UnixMillis,
) -> Result<(), Failure> {
    if let Some(mut kept) = tables.find(id)?
        && kept.state.leave(epoch, left, at)
    {
        tables.update(id, &kept)?;
    }
    Ok(())
}

pub(super) fn renew(
    tables: &mut Tables<'_>,
    id: SessionId,
    renewed: &Renewed,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Exchanged, Failure> {
    let Some(mut kept) = tables.find(id)? else { return Ok(Exchanged::Gone) };
    if renewed.answer.leaves(tables.candidates_of(id)?.into_iter().map(|(epoch, _)| epoch)) {
        return Ok(Exchanged::Untried);
    }
    let exchanged = kept.state.exchange(renewed, now);
    match (exchanged, &renewed.answer) {
        (Exchanged::Kept { generation }, Answer::Given { held, .. }) => {
            let sealed = record::held(id, held, ring)?;
            let over = tables.candidates_of(id)?.into_iter().filter(|(_, since)| since.saturating_add(1) < generation);
            let over: Vec<u64> = over.map(|(epoch, _)| epoch).collect();
            tables.update(id, &kept)?;
            tables.held.insert(id.0, sealed.as_slice())?;
            tables.drop_candidates(id, over)?;
        }
        (Exchanged::Aside, Answer::Given { held, .. }) => {
            let since = kept.state.vouched.map_or(0, |vouched| vouched.generation);
            let candidate = Candidate { epoch: renewed.epoch, held: held.clone() };
            let sealed = record::candidate(id, since, &candidate, ring)?;
            let known = tables.candidates_of(id)?;
            let others = known.iter().filter(|(epoch, _)| *epoch != renewed.epoch);
            let over: Vec<u64> = others.clone().map(|(epoch, _)| *epoch).collect();
            let superfluous = (over.len() + 1).saturating_sub(MOST_CANDIDATES);
            tables.drop_candidates(id, over.into_iter().take(superfluous))?;
            tables.changed = true;
            tables.candidates.insert((id.0, renewed.epoch), sealed.as_slice())?;
        }
        (Exchanged::Ended, _) => tables.update(id, &kept)?,
        _ => {}
    }
    Ok(exchanged)
}
