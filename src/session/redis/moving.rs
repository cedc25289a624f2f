//! Sessions that go to another store, and those that come from one.

use redis::{Cmd, cmd};

use super::{
    Shared, StoreError,
    keys::{Bucket, Named},
    lists::read_ids,
    opening::{counted, named_in, one},
    record::{self, Control, json, mark, written_access},
    reply::odd,
};
use crate::session::{
    moving::{Moved, Records, Restored},
    record::SessionId,
    ring::digest16,
    sealed,
};

impl Shared {
    /// Buckets lie in the order of ids.
    pub(super) async fn records(&self, after: Option<SessionId>, most: usize) -> Result<Records, StoreError> {
        let (mut records, mut left) = (Records::default(), most);
        for bucket in Bucket::from(after) {
            let mut ids = read_ids(self.link.ask(cmd("ZRANGE").arg(self.keys.ends(bucket)).arg(0).arg(-1)).await?)?;
            ids.retain(|id| after.is_none_or(|after| *id > after));
            ids.sort_unstable();
            ids.truncate(left);
            for page in ids.chunks(PAGE) {
                self.read_into(&mut records, page).await?;
            }
            left -= ids.len();
            if left == 0 {
                records.last = ids.last().copied();
                break;
            }
        }
        Ok(records)
    }

    async fn read_into(&self, records: &mut Records, ids: &[SessionId]) -> Result<(), StoreError> {
        let asked: Vec<Cmd> = ids.iter().map(|id| one(cmd("HGETALL").arg(self.keys.session(*id)))).collect();
        for (id, fields) in ids.iter().zip(self.link.ask_all(&asked).await?) {
            match record::moved(*id, fields, &self.ring) {
                Ok(Some((moved, _))) if self.now() < moved.session.state.over_at() => records.moved.push(moved),
                Ok(_) => {}
                Err(error) => records.unreadable.push((*id, error.0)),
            }
        }
        Ok(())
    }

    /// What is there is read, joined here, and written if it is still as it was read: how two states of a session become one
    /// is said in one place.
    pub(super) async fn restore(&self, moved: &Moved) -> Result<Restored, StoreError> {
        let id = moved.session.id;
        for _ in 0..ATTEMPTS {
            let fields = self.link.ask(cmd("HGETALL").arg(self.keys.session(id))).await?;
            let there = match record::moved(id, fields, &self.ring) {
                Ok(there) => there,
                // What cannot be read is somebody's as well.
                Err(_) => return Ok(Restored::Taken),
            };
            let (joined, expected) = match there {
                Some((there, _)) if !there.session.is_same(&moved.session) => return Ok(Restored::Taken),
                Some((there, expected)) => match there.joined(moved, self.now()) {
                    Some(joined) => (joined, expected),
                    None => return Ok(Restored::There),
                },
                None => (moved.clone(), [Vec::new(), Vec::new()]),
            };
            if self.write(&joined, &expected).await? {
                return Ok(Restored::Kept);
            }
            // Somebody has taken a step on it meanwhile.
        }
        Err(StoreError::Unavailable("a session changes faster than another state of it can be joined".to_owned()))
    }

    /// False if the session is not as it is `expected` any more.
    async fn write(&self, joined: &Moved, expected: &[Vec<u8>; 2]) -> Result<bool, StoreError> {
        let Moved { session, candidates } = joined;
        let (id, state, ring) = (session.id, &session.state, &self.ring);
        let owner = sealed::owners(&session.granted, ring).next().unwrap_or_default();
        let users = sealed::users_of(&session.granted, ring);
        let client = digest16(state.client.as_bytes());
        let held = session.held.as_ref().map(|held| sealed::held(id, held, ring)).transpose()?.unwrap_or_default();
        let (mark, control) = (mark(session), json(&Control::new(state).with_late(candidates))?);
        let (access, granted) = (written_access(state)?, sealed::granted(id, &session.granted, ring)?);
        let mut late = Vec::new();
        for candidate in candidates {
            late.push(candidate.epoch.to_string().into_bytes());
            late.push(sealed::candidate(id, candidate, ring)?);
        }
        // First what points to it: a session that nobody finds could not be ended.
        let named = Named { id, created: state.created };
        let mut pointing: Vec<Cmd> = users.iter().map(|user| named_in(&self.keys.user(user), named)).collect();
        pointing.push(named_in(&self.keys.client(&client), named));
        if state.revoked.is_none() {
            pointing.push(counted(&self.keys.live_of(&owner), state.created, id));
        }
        self.link.ask_all(&pointing).await?;
        for access in state.access.iter().filter(|access| access.foreign) {
            self.point_at(id, access).await?;
        }
        let mut arguments: Vec<&[u8]> =
            vec![mark.as_bytes(), control.as_bytes(), access.as_bytes(), &granted, &held, &owner];
        let users = users.concat();
        arguments.extend([&users[..], &client, &expected[0], &expected[1]]);
        arguments.extend(late.iter().map(Vec::as_slice));
        let kept = match self.step(&self.scripts.restore, id, &arguments).await?.word()?.as_str() {
            "kept" => true,
            "moved" => false,
            _ => return Err(odd()),
        };
        if kept && state.revoked.is_some() {
            self.forget(&[(self.keys.live_of(&owner), id.to_string())]).await;
        }
        Ok(kept)
    }
}

/// Records that are read together.
const PAGE: usize = 64;
const ATTEMPTS: usize = 16;
