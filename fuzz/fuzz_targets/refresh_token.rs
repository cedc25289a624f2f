//! Tokens of our own: each has one spelling, and what we did not make is nobody's.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sidegate::{
    config::MasterRing,
    model::{RefreshForm, Secret},
    session::{Session, SessionId, ring::KeyRing, tokens},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(ring().read_access(text).is_none() && ring().read_code(text).is_none(), "nobody knows the keys");
    if let Some(presented) = tokens::read_refresh(text) {
        let session = session(presented.session, presented.form);
        assert!(!ring().is_refresh_token(&presented, &session));
        check(&session, presented.generation, data);
    }
    if let Some((id, rest)) = data.split_first_chunk::<16>() {
        let generation = rest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)) >> 1;
        check(&session(SessionId(*id), RefreshForm::Full), generation, rest);
        if let Some(family) = id.first_chunk() {
            check(&session(SessionId::compact(*family), RefreshForm::Compact), generation & 0xffff, rest);
        }
    }
});

/// A token that we make is read as what it is; with one character changed it is another one or none.
fn check(session: &Session, generation: u64, data: &[u8]) {
    let token = ring().refresh_token(session, generation).expect("the key is there");
    let read = tokens::read_refresh(token.expose()).expect("it is one of ours");
    assert_eq!((read.session, read.generation, read.form), (session.id, generation, session.state.form));
    assert!(ring().is_refresh_token(&read, session));
    let mut other = session.clone();
    other.state.client = "other".into();
    assert!(!ring().is_refresh_token(&read, &other));

    let mut changed = token.expose().clone().into_bytes();
    let at = usize::from(data.first().copied().unwrap_or(0)) % changed.len();
    let with = data.last().copied().unwrap_or(0) & 0x7f;
    if changed[at] != with {
        changed[at] = with;
        let changed = String::from_utf8(changed).expect("ASCII");
        let forged = tokens::read_refresh(&changed);
        assert!(forged.is_none_or(|forged| !ring().is_refresh_token(&forged, session)));
    }
}

fn ring() -> &'static KeyRing {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    RING.get_or_init(|| KeyRing::new(&MasterRing(vec![(1, Secret::new([7; 32]))])))
}

/// As a store has it: from JSON, so that what is added to a record with a default needs no word here.
fn session(id: SessionId, form: RefreshForm) -> Session {
    static PLAIN: OnceLock<Session> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| Session {
        id: SessionId([0; 16]),
        state: serde_json::from_value(json!({
            "client": "app", "created": 0, "absolute": 9, "idle_until": 9, "generation": 1, "rotated_at": 0,
            "acknowledged": 0, "retries": 0, "revoked": null, "access": [],
        }))
        .expect("a state"),
        granted: serde_json::from_value(json!({
            "subject": "u-1", "username": null, "grant": "password", "scope": [], "audiences": [], "claims": {},
            "auth_time": 0, "credential": null, "salt": vec![1; 16], "master_key": 1,
        }))
        .expect("a grant"),
        held: None,
    });
    let mut session = plain.clone();
    (session.id, session.state.form) = (id, form);
    session
}
