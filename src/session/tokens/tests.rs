use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::session::testing::{granted, ring};

fn refresh(ring: &KeyRing, id: [u8; 16], generation: u64) -> String {
    ring.refresh_token(SessionId(id), generation, "app", &granted("ada")).unwrap().expose().clone()
}

/// Whether `token` is good for client `client`, as the store's record says.
fn is_good(ring: &KeyRing, token: &str, client: &str) -> bool {
    read_refresh(token).is_some_and(|presented| ring.is_refresh_token(&presented, client, &granted("ada")))
}

fn rings() -> (Arc<KeyRing>, Arc<KeyRing>) {
    (ring(&[1]), ring(&[2]))
}

#[test]
fn the_refresh_token_of_a_generation_is_always_the_same_and_no_other_generations() {
    let (ring, _) = rings();
    assert_eq!(refresh(&ring, [7; 16], 3), refresh(&ring, [7; 16], 3));
    assert_ne!(refresh(&ring, [7; 16], 3), refresh(&ring, [7; 16], 4));
    let salted = Granted { salt: [4; 16], ..granted("ada") };
    let other = ring.refresh_token(SessionId([7; 16]), 3, "app", &salted).unwrap();
    assert_ne!(&refresh(&ring, [7; 16], 3), other.expose());
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
    assert!(new.refresh_token(SessionId([7; 16]), 3, "app", &granted("ada")).is_none());
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
        for token in [text, format!("sg1.{encoded}"), format!("sga1_{encoded}"), format!("sgc1_{encoded}")] {
            prop_assert!(!is_good(&ring, &token, "app"));
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
