//! The steps, each a script on the session's one key.

use std::time::Duration;

use super::{
    Shared, StoreError,
    keys::text,
    random,
    record::{KeptAccess, json, written},
    reply::odd,
};
use crate::{
    model::RefreshForm,
    session::{
        family::{CONCURRENT, LOST_ANSWER, MOST_RETRIES, Outcome, Refused, Rotate, last_generation},
        lease::{Candidate, Intend, Intended, Left, MOST_CANDIDATES},
        record::{Access, MOST_ACCESS_TOKENS, MOST_FOREIGN_TOKENS, RevocationReason, SessionId},
        sealed,
        slide::{Slid, Slide},
        succeed::{Succeed, Succeeded},
        vouched::{Answer, Exchanged, Renewed},
    },
};

impl Shared {
    pub(super) async fn rotate(&self, id: SessionId, step: &Rotate) -> Result<Outcome, StoreError> {
        if step.access.foreign {
            // Before the token is known: what points to a session is verified when it is followed.
            self.point_at(id, &step.access).await?;
        }
        let mut reply = self
            .step(
                &self.scripts.rotate,
                id,
                &[
                    step.client.as_bytes(),
                    step.presented.min(LARGEST).to_string().as_bytes(),
                    if step.stable { b"1" } else { b"0" },
                    step.idle.to_string().as_bytes(),
                    json(&KeptAccess::new(&step.access)?)?.as_bytes(),
                    most_like(&step.access).to_string().as_bytes(),
                    last_generation(RefreshForm::Full).min(LARGEST - 1).to_string().as_bytes(),
                    last_generation(RefreshForm::Compact).to_string().as_bytes(),
                    CONCURRENT.to_string().as_bytes(),
                    LOST_ANSWER.to_string().as_bytes(),
                    MOST_RETRIES.to_string().as_bytes(),
                ],
            )
            .await?;
        Ok(match reply.word()?.as_str() {
            "rotated" => Outcome::Rotated { generation: reply.number()? },
            "retried" => Outcome::Retried { generation: reply.number()? },
            "healed" => Outcome::Healed { generation: reply.number()? },
            "reused" => {
                let (current, age) = (reply.number()?, reply.number()?);
                self.uncount(id, &mut reply).await;
                Outcome::Reused { current, age }
            }
            "retries_exhausted" => Outcome::RetriesExhausted,
            "unknown" => Outcome::Refused(Refused::Unknown),
            "expired" => Outcome::Refused(Refused::Expired),
            "other_client" => Outcome::Refused(Refused::OtherClient),
            "revoked" => Outcome::Refused(Refused::Revoked),
            "last_generation" => Outcome::Refused(Refused::LastGeneration),
            _ => return Err(odd()),
        })
    }

    pub(super) async fn revoke(&self, id: SessionId, reason: RevocationReason) -> Result<bool, StoreError> {
        let mut reply = self.step(&self.scripts.revoke, id, &[reason.as_str().as_bytes()]).await?;
        let revoked = reply.flag()?;
        if revoked {
            self.uncount(id, &mut reply).await;
        }
        Ok(revoked)
    }

    pub(super) async fn acknowledge(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        let arguments = [generation.min(LARGEST).to_string(), LOST_ANSWER.to_string()];
        self.step(&self.scripts.acknowledge, id, &arguments.each_ref().map(String::as_bytes)).await.map(drop)
    }

    pub(super) async fn intend(&self, id: SessionId, step: Intend) -> Result<Intended, StoreError> {
        let arguments = [
            step.seen.to_string(),
            written(step.owner),
            step.lease.as_millis().to_string(),
            (random()? % EPOCHS).to_string(),
            EPOCHS.to_string(),
        ];
        let mut reply = self.step(&self.scripts.intend, id, &arguments.each_ref().map(String::as_bytes)).await?;
        Ok(match reply.word()?.as_str() {
            "go" => Intended::Go { epoch: reply.number()?, doubtful: reply.flag()?, again: reply.flag()? },
            "held" => Intended::Held { still: Duration::from_millis(reply.number()?) },
            "moved" => Intended::Moved,
            "gone" => Intended::Gone,
            _ => return Err(odd()),
        })
    }

    pub(super) async fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> Result<bool, StoreError> {
        let arguments = [epoch.to_string(), lease.as_millis().to_string()];
        self.step(&self.scripts.extend, id, &arguments.each_ref().map(String::as_bytes)).await?.flag()
    }

    pub(super) async fn leave(&self, id: SessionId, epoch: u64, left: Left) -> Result<(), StoreError> {
        let doubtful: &[u8] = match left {
            Left::Untouched => b"0",
            Left::Doubtful => b"1",
        };
        self.step(&self.scripts.leave, id, &[epoch.to_string().as_bytes(), doubtful]).await.map(drop)
    }

    pub(super) async fn renew(&self, id: SessionId, renewed: &Renewed) -> Result<Exchanged, StoreError> {
        let epoch = renewed.epoch.to_string();
        let mut reply = match &renewed.answer {
            Answer::Given { held, renewed_for } => {
                // Where it goes is only known there.
                let aside = Candidate { epoch: renewed.epoch, held: held.clone() };
                let sealed = [sealed::held(id, held, &self.ring)?, sealed::candidate(id, &aside, &self.ring)?];
                let renewed_for = renewed_for.map_or(String::new(), |generation| generation.to_string());
                let (expires, most) = (held.expires.0.to_string(), MOST_CANDIDATES.to_string());
                let arguments: [&[u8]; 7] = [
                    epoch.as_bytes(),
                    b"given",
                    &sealed[0],
                    &sealed[1],
                    renewed_for.as_bytes(),
                    expires.as_bytes(),
                    most.as_bytes(),
                ];
                self.step(&self.scripts.renew, id, &arguments).await?
            }
            Answer::Ended { tried } => {
                let tried = json(tried)?;
                self.step(&self.scripts.renew, id, &[epoch.as_bytes(), b"ended", tried.as_bytes()]).await?
            }
        };
        Ok(match reply.word()?.as_str() {
            "kept" => Exchanged::Kept { generation: reply.number()? },
            "ended" => {
                self.uncount(id, &mut reply).await;
                Exchanged::Ended
            }
            "aside" => Exchanged::Aside,
            "untried" => Exchanged::Untried,
            "moved" => Exchanged::Moved,
            "gone" => Exchanged::Gone,
            _ => return Err(odd()),
        })
    }

    pub(super) async fn slide(&self, id: SessionId, step: &Slide) -> Result<Slid, StoreError> {
        let arguments = [
            text(&step.digest),
            step.seen.0.to_string(),
            step.lifetime.to_string(),
            step.grace.to_string(),
            step.idle.map_or(String::new(), |idle| idle.to_string()),
        ];
        let mut reply = self.step(&self.scripts.slide, id, &arguments.each_ref().map(String::as_bytes)).await?;
        Ok(match reply.word()?.as_str() {
            "moved" => Slid::Moved(reply.time()?),
            "stands" => Slid::Stands(reply.time()?),
            "gone" => Slid::Gone,
            _ => return Err(odd()),
        })
    }

    pub(super) async fn succeed(&self, id: SessionId, step: &Succeed) -> Result<Succeeded, StoreError> {
        let arguments = [
            text(&step.presented),
            json(&KeptAccess::new(&step.access)?)?,
            most_like(&step.access).to_string(),
            step.idle.map_or(String::new(), |idle| idle.to_string()),
        ];
        let mut reply = self.step(&self.scripts.succeed, id, &arguments.each_ref().map(String::as_bytes)).await?;
        Ok(match reply.word()?.as_str() {
            "kept" => Succeeded::Kept,
            "no_longer" => Succeeded::NoLonger,
            "gone" => Succeeded::Gone,
            _ => return Err(odd()),
        })
    }
}

/// How many of its kind a session may have.
fn most_like(access: &Access) -> usize {
    if access.foreign { MOST_FOREIGN_TOKENS } else { MOST_ACCESS_TOKENS }
}

/// Epochs of the same count, a power of two: of two steps that are given one, one in so many pairs is given the same.
pub(super) const EPOCHS: u64 = 1 << 20;

/// Beyond this, cjson writes numbers shorter than they are. No client lives to see such a generation.
const LARGEST: u64 = 99_999_999_999_999;
