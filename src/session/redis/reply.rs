//! What a script answers: the servers' time, then what came of the step, in words and numbers.

use redis::{Value, from_redis_value};

use crate::{
    model::{UnixMillis, UnixTime},
    session::StoreError,
};

/// The parts of an answer, in their order.
pub(super) struct Reply {
    pub at: UnixMillis,
    parts: std::vec::IntoIter<Value>,
}

impl Reply {
    pub(super) fn read(value: Value) -> Result<Reply, StoreError> {
        let parts: Vec<Value> = from_redis_value(value).map_err(|_| odd())?;
        let mut reply = Reply { at: UnixMillis(0), parts: parts.into_iter() };
        reply.at = UnixMillis(reply.number()?);
        Ok(reply)
    }

    pub(super) fn word(&mut self) -> Result<String, StoreError> {
        from_redis_value(self.next()?).map_err(|_| odd())
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        from_redis_value(self.next()?).map_err(|_| odd())
    }

    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        number(self.next()?)
    }

    pub(super) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.number()? != 0)
    }

    pub(super) fn time(&mut self) -> Result<UnixTime, StoreError> {
        self.number().map(UnixTime)
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.parts.next().ok_or_else(odd)
    }
}

pub(super) fn number(value: Value) -> Result<u64, StoreError> {
    from_redis_value(value).map_err(|_| odd())
}

/// Something between us and the servers speaks otherwise.
pub(super) fn odd() -> StoreError {
    StoreError::Unavailable("an answer that no step gives".to_owned())
}
