//! Tokens of our own: opaque ones by the session store, JWTs by our keys and then the state of their session.

use std::sync::Arc;

use crate::{config, jose::SigningKeys, session::Sessions};

/// What tokens of the local authority are judged by.
#[derive(Clone)]
pub struct Own {
    pub settings: Arc<config::Config>,
    pub sessions: Arc<Sessions>,
    pub signing: Arc<SigningKeys>,
}
