use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    model::UnixTime,
    session::{
        record::{Granted, State},
        testing::{granted, ring, session},
    },
};

/// The session `id`, as the store's record says: of `app`, with full refresh tokens.
fn kept(id: [u8; 16]) -> Session {
    Session { id: SessionId(id), ..session("ada", UnixTime(1000)) }
}

/// One whose refresh tokens are compact.
fn short(family: [u8; 8]) -> Session {
    let session = session("ada", UnixTime(1000));
    let state = State { form: RefreshForm::Compact, ..session.state };
    Session { id: SessionId::compact(family), state, ..session }
}

fn of_client(client: &str, session: Session) -> Session {
    Session { state: State { client: client.to_owned(), ..session.state }, ..session }
}

fn token_of(ring: &KeyRing, session: &Session, generation: u64) -> String {
    ring.refresh_token(session, generation).unwrap().expose().clone()
}

fn refresh(ring: &KeyRing, id: [u8; 16], generation: u64) -> String {
    token_of(ring, &kept(id), generation)
}

/// Whether `token` is good for `session`.
fn fits(ring: &KeyRing, token: &str, session: &Session) -> bool {
    read_refresh(token).is_some_and(|presented| ring.is_refresh_token(&presented, session))
}

/// Whether `token` is good for the session that it names, if that is of `client`.
fn is_good(ring: &KeyRing, token: &str, client: &str) -> bool {
    read_refresh(token).is_some_and(|presented| {
        let session = of_client(client, Session { id: presented.session, ..kept([0; 16]) });
        ring.is_refresh_token(&presented, &session)
    })
}

fn rings() -> (Arc<KeyRing>, Arc<KeyRing>) {
    (ring(&[1]), ring(&[2]))
}

#[test]
fn the_refresh_token_of_a_generation_is_always_the_same_and_no_other_generations() {
    let (ring, _) = rings();
    assert_eq!(refresh(&ring, [7; 16], 3), refresh(&ring, [7; 16], 3));
    assert_ne!(refresh(&ring, [7; 16], 3), refresh(&ring, [7; 16], 4));
    let salted = Session { granted: Granted { salt: [4; 16], ..granted("ada") }, ..kept([7; 16]) };
    assert_ne!(refresh(&ring, [7; 16], 3), token_of(&ring, &salted, 3));
    let salted = Session { granted: salted.granted, ..short([7; 8]) };
    assert_ne!(token_of(&ring, &short([7; 8]), 3), token_of(&ring, &salted, 3));
}

#[test]
fn a_ring_that_lost_a_key_knows_none_of_its_tokens_and_one_that_keeps_it_all() {
    let (old, new) = rings();
    let rotated = ring(&[2, 1]);
    let token = refresh(&old, [7; 16], 3);
    let opaque = old.make_access(SessionId([7; 16])).unwrap();
    assert!(is_good(&rotated, &token, "app"));
    assert!(rotated.read_access(opaque.token.expose()).is_some());
    assert!(!is_good(&new, &token, "app"));
    assert!(new.read_access(opaque.token.expose()).is_none());
    assert!(new.refresh_token(&kept([7; 16]), 3).is_none());
    let compact = token_of(&old, &short([7; 8]), 3);
    assert!(fits(&rotated, &compact, &short([7; 8])) && !fits(&new, &compact, &short([7; 8])));
}

#[test]
fn a_code_is_no_access_token_and_the_reverse() {
    let (ring, _) = rings();
    let (access, code) = (ring.make_access(SessionId([1; 16])).unwrap(), ring.make_code(SessionId([1; 16])).unwrap());
    let bare = |token: &Secret<String>| token.expose().split_once('_').unwrap().1.to_owned();
    assert!(ring.read_code(&format!("sgc1_{}", bare(&access.token))).is_none());
    assert!(ring.read_access(&format!("sga1_{}", bare(&code.token))).is_none());
    assert_eq!(ring.read_code(code.token.expose()).map(|code| code.digest), Some(code.digest));
}

#[test]
fn a_compact_token_names_65535_generations_and_has_36_characters() {
    let (ring, _) = rings();
    for generation in [1, 255, 256, 65_535] {
        let token = token_of(&ring, &short([0xff; 8]), generation);
        assert_eq!((token.len(), token.contains('.')), (36, false), "{token}");
        let presented = read_refresh(&token).unwrap();
        assert_eq!((presented.session, presented.generation), (SessionId::compact([0xff; 8]), generation));
    }
    assert!(ring.refresh_token(&short([0xff; 8]), 65_536).is_none());
}

#[test]
fn the_forms_are_never_taken_for_each_other() {
    let (ring, _) = rings();
    let (full, compact) = (kept(SessionId::compact([7; 8]).0), short([7; 8]));
    let (of_full, of_compact) = (token_of(&ring, &full, 3), token_of(&ring, &compact, 3));
    assert!(fits(&ring, &of_full, &full) && fits(&ring, &of_compact, &compact));
    assert!(!fits(&ring, &of_full, &compact) && !fits(&ring, &of_compact, &full));
    // Under the same salt, master key and client nothing of one form's MAC stands in the other's.
    let mac = |token: &str| read_refresh(token).unwrap().mac;
    assert_ne!(mac(&of_full)[..16], mac(&of_compact)[..16]);
    for other in [
        of_full,
        ring.make_access(full.id).unwrap().token.expose().clone(),
        ring.make_code(full.id).unwrap().token.expose().clone(),
    ] {
        assert!(read_compact(&other).is_none(), "{other}");
        assert!(read_compact(&other[other.len() - 36..]).is_none_or(|presented| {
            !ring.is_refresh_token(&presented, &Session { id: presented.session, ..short([0; 8]) })
        }));
    }
    assert!(ring.read_access(&of_compact).is_none() && ring.read_code(&of_compact).is_none());
    assert!(!is_access_token(&of_compact) && !is_other_token(&of_compact));
    assert!(may_be_compact(&of_compact) && !may_be_compact("f47ac10b-58cc-4372-a567-0e02b2c3d479"));
}

#[test]
fn a_varint_has_one_form() {
    for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), (1 << 63) - 1] {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, value);
        bytes.push(0xaa);
        assert_eq!(take_varint(&bytes), Some((value, &[0xaa][..])), "{value}");
    }
    for malformed in [&[][..], &[0x80], &[0x80, 0x00], &[0xff, 0x80, 0x00], &[0xff; 9], &[0xff; 12]] {
        assert_eq!(take_varint(malformed), None, "{malformed:?}");
    }
    // More than 63 bits are written, but nobody reads them.
    let mut bytes = Vec::new();
    push_varint(&mut bytes, u64::MAX);
    assert_eq!(take_varint(&bytes), None);
}

proptest! {
    #[test]
    fn no_text_makes_the_codec_panic(text in "\\PC{0,120}", bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let ring = ring(&[1]);
        let encoded = BASE64URL.encode(&bytes);
        for token in [text, encoded.clone(), format!("sg1.{encoded}"), format!("sga1_{encoded}"), format!("sgc1_{encoded}")] {
            prop_assert!(!is_good(&ring, &token, "app"));
            let named = |presented: &Presented| Session { id: presented.session, ..short([0; 8]) };
            let read = read_refresh(&token);
            prop_assert!(!read.is_some_and(|presented| ring.is_refresh_token(&presented, &named(&presented))));
            prop_assert!(ring.read_access(&token).is_none() && ring.read_code(&token).is_none());
        }
    }

    #[test]
    fn a_refresh_token_says_what_it_was_made_of_to_its_client_only(
        id in any::<[u8; 16]>(),
        generation in 1..1_u64 << 63,
    ) {
        let ring = ring(&[1]);
        let token = refresh(&ring, id, generation);
        let presented = read_refresh(&token).unwrap();
        prop_assert_eq!((presented.session.0, presented.generation), (id, generation));
        prop_assert!(is_good(&ring, &token, "app"));
        for other in ["", "ap", "appp", "App"] {
            prop_assert!(!is_good(&ring, &token, other));
        }
    }

    #[test]
    fn a_token_with_any_bit_flipped_is_no_token(id in any::<[u8; 16]>(), generation in 1..1_u64 << 63, at in any::<prop::sample::Index>(), bit in 0..8) {
        let ring = ring(&[1]);
        let tokens = [
            refresh(&ring, id, generation),
            ring.make_access(SessionId(id)).unwrap().token.expose().clone(),
            ring.make_code(SessionId(id)).unwrap().token.expose().clone(),
        ];
        for token in tokens {
            let mut bytes = token.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let Ok(token) = String::from_utf8(bytes) else { continue };
            prop_assert!(!is_good(&ring, &token, "app"), "{}", token);
            prop_assert!(ring.read_access(&token).is_none() && ring.read_code(&token).is_none(), "{}", token);
        }
    }

    #[test]
    fn a_compact_token_says_what_it_was_made_of_to_its_client_only(
        family in any::<[u8; 8]>(),
        other in any::<[u8; 8]>(),
        generation in 1..65_536_u64,
    ) {
        let ring = ring(&[1]);
        let session = short(family);
        let token = token_of(&ring, &session, generation);
        let presented = read_refresh(&token).unwrap();
        prop_assert_eq!((presented.session, presented.generation), (session.id, generation));
        prop_assert!(fits(&ring, &token, &session));
        prop_assert!(family == other || !fits(&ring, &token, &short(other)));
        for client in ["", "ap", "appp", "App"] {
            prop_assert!(!fits(&ring, &token, &of_client(client, session.clone())));
        }
    }

    #[test]
    fn no_single_bit_of_a_compact_token_may_change(family in any::<[u8; 8]>(), generation in 1..65_536_u64) {
        let ring = ring(&[1]);
        let token = token_of(&ring, &short(family), generation);
        let content = BASE64URL.decode(&token).unwrap();
        for bit in 0..content.len() * 8 {
            let mut content = content.clone();
            content[bit / 8] ^= 1 << (bit % 8);
            let presented = read_refresh(&BASE64URL.encode(content)).unwrap();
            let named = Session { id: presented.session, ..short(family) };
            prop_assert!(!ring.is_refresh_token(&presented, &named), "{}", bit);
        }
        for (at, bit) in (0..token.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1_u8 << bit;
            let Ok(other) = String::from_utf8(bytes) else { continue };
            prop_assert!(!fits(&ring, &other, &short(family)), "{}", other);
        }
        for other in [format!("{token}="), format!(" {token}"), token[..35].to_owned(), token.replace('A', "+")] {
            prop_assert!(other == token || !fits(&ring, &other, &short(family)), "{}", other);
        }
    }

    #[test]
    fn a_token_has_one_spelling(id in any::<[u8; 16]>(), generation in 1..1_u64 << 63, junk in "[A-Za-z0-9_=\\-+/ ]{1,4}") {
        let ring = ring(&[1]);
        let (refresh, access) = (refresh(&ring, id, generation), ring.make_access(SessionId(id)).unwrap());
        for token in [&refresh, access.token.expose()] {
            for spelling in [format!("{token}{junk}"), format!("{junk}{token}"), token.replacen(['.', '_'], &junk, 1)] {
                if spelling != *token {
                    prop_assert!(!is_good(&ring, &spelling, "app") && ring.read_access(&spelling).is_none(), "{}", spelling);
                }
            }
        }
        // The last character has bits to spare; only those at zero are read.
        let (head, last) = refresh.split_at(refresh.len() - 1);
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().filter(|other| !last.starts_with(*other)) {
            let spelling = format!("{head}{other}");
            prop_assert!(!is_good(&ring, &spelling, "app"), "{}", spelling);
        }
    }
}
