//! What tests of sessions share.

pub mod processes;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    family::Rotate,
    record::{Access, Code, Granted, Session, SessionId, State},
    ring::KeyRing,
};
use crate::{
    config::MasterRing,
    model::{GrantType, RefreshForm, Scope, Secret, UnixTime},
};

/// A folder of one test, removed with its content at the end.
pub struct Scratch(PathBuf);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    pub fn new() -> Scratch {
        let folder = env::temp_dir().join(format!("sidegate-{}", SessionId::random().unwrap()));
        fs::create_dir(&folder).unwrap();
        Scratch(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.0).join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A ring whose keys are made of their ids.
pub fn ring(ids: &[u32]) -> Arc<KeyRing> {
    let key = |id: &u32| (*id, Secret::new([*id as u8; 32]));
    Arc::new(KeyRing::new(&MasterRing(ids.iter().map(key).collect())))
}

/// What user `name` granted.
pub fn granted(name: &str) -> Granted {
    Granted {
        subject: format!("subject of {name}"),
        username: Some(name.to_owned()),
        grant: GrantType::Password,
        scope: Scope::parse("orders").unwrap(),
        audiences: vec!["orders-api".to_owned()],
        claims: serde_json::Map::new(),
        auth_time: UnixTime(1),
        credential: None,
        salt: [3; 16],
        master_key: 1,
        outside: false,
    }
}

/// A session of `name` with a refresh token, made now: an hour idle, a day in all.
pub fn session(name: &str, now: UnixTime) -> Session {
    Session {
        id: SessionId::random().unwrap(),
        state: State {
            client: CLIENT.to_owned(),
            created: now,
            absolute: now.plus(DAY),
            idle_until: now.plus(HOUR),
            generation: 1,
            form: RefreshForm::Full,
            rotated_at: now,
            acknowledged: 0,
            retries: 0,
            revoked: None,
            access: Vec::new(),
            vouched: None,
        },
        granted: granted(name),
        held: None,
    }
}

pub fn code(name: &str, expires: UnixTime) -> Code {
    Code {
        client: CLIENT.to_owned(),
        digest: [5; 16],
        expires,
        redirect_uri: Some("https://app.example/back".to_owned()),
        challenge: Some("a challenge".to_owned()),
        nonce: None,
        granted: granted(name),
        held: None,
    }
}

/// The step that the refresh token of `generation` takes; its access token lives for five minutes.
pub fn rotate(generation: u64, now: UnixTime) -> Rotate {
    Rotate { client: CLIENT.to_owned(), presented: generation, stable: false, idle: HOUR, access: access(now) }
}

/// An access token of five minutes.
pub fn access(now: UnixTime) -> Access {
    Access {
        digest: SessionId::random().unwrap().0,
        issued: now,
        expires: now.plus(300),
        generation: 0,
        scope: None,
        audiences: None,
        foreign: false,
        grace: 0,
    }
}

pub const CLIENT: &str = "app";
pub const HOUR: u64 = 3600;
pub const DAY: u64 = 24 * HOUR;
