//! Sessions: what a grant gave, for how long, and the one live generation of its refresh token.
//!
//! [`Sessions`] is what the floors above talk to; below it a [`SessionStore`] keeps the records, and every change of a
//! session is one atomic step on its one key, in the store's own time. No token and no digest of a refresh token is
//! ever stored (see [`tokens`]).

pub mod about;
mod absence;
#[cfg(test)]
mod conformance;
mod denied;
pub mod elsewhere;
pub mod family;
mod following;
pub mod journal;
pub mod lease;
pub mod measured;
pub mod memory;
#[cfg(test)]
mod model_test;
pub mod moving;
pub mod record;
pub mod redb;
pub mod redis;
pub mod ring;
pub mod ring_file;
mod sealed;
mod sessions;
mod slide;
pub mod store;
mod succeed;
#[cfg(test)]
pub mod testing;
pub mod tokens;
mod vouched;
mod watched;

pub use self::{
    family::{Outcome, Rotate},
    following::{Ear, Heard},
    lease::{Candidate, Intend, Intended, Intent, Left, Renewer},
    record::{Access, Code, Granted, Held, Revocation, Session, SessionId, State, Vouched},
    sessions::{Opening, Refreshed, Sessions, Tokens},
    slide::{Slid, Slide},
    store::{Created, Filter, News, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Answer, Exchanged, Renewed},
    watched::{Showing, Watched},
};
