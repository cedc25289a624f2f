use proptest::prelude::*;

use super::*;
use crate::{
    model::{Secret, UnixTime},
    session::testing::ring,
};

fn key(number: u8) -> Key {
    Key { session: SessionId([number; 16]), epoch: u64::from(number) }
}

fn record() -> impl Strategy<Value = Record> {
    let sealed = proptest::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        (any::<u8>(), sealed).prop_map(|(number, sealed)| Record::Given { key: key(number), sealed }),
        any::<u8>().prop_map(|number| Record::Settled { key: key(number) }),
    ]
}

fn bytes(record: &Record) -> Vec<u8> {
    match record {
        Record::Given { key, sealed } => Record::given(*key, sealed),
        Record::Settled { key } => Record::settled(*key),
    }
}

fn file(records: &[Record]) -> Vec<u8> {
    [HEADER.to_vec(), records.iter().flat_map(bytes).collect()].concat()
}

fn given(number: u8) -> Record {
    Record::Given { key: key(number), sealed: vec![number; 40] }
}

proptest! {
    #[test]
    fn whatever_part_of_a_file_has_reached_the_disk_is_read_as_the_first_of_its_entries(
        records in proptest::collection::vec(record(), 0..8),
        cut: prop::sample::Index,
    ) {
        let whole = file(&records);
        let part = &whole[..cut.index(whole.len() + 1)];
        let read = read(part).unwrap();
        prop_assert_eq!(read.unreadable, 0);
        prop_assert!(read.whole <= part.len());
        prop_assert_eq!(&records[..read.records.len()], &read.records[..]);
        let length: usize = read.records.iter().map(|record| bytes(record).len()).sum();
        prop_assert!(part.len() < HEADER.len() || read.whole == HEADER.len() + length, "no whole one is left out");
    }

    #[test]
    fn no_bytes_at_all_are_the_end_of_the_reader(
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        as_file: bool,
        records in proptest::collection::vec(record(), 0..3),
        at: prop::sample::Index,
    ) {
        let mut bytes = if as_file { file(&records) } else { Vec::new() };
        let at = if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
        bytes.splice(at..at, noise);
        if let Ok(read) = read(&bytes) {
            prop_assert!(read.whole <= bytes.len());
        }
    }

    #[test]
    fn a_bit_that_is_not_as_it_was_costs_one_entry_and_is_noticed(
        records in proptest::collection::vec(record(), 1..6),
        bit: prop::sample::Index,
    ) {
        let mut bytes = file(&records);
        let bit = bit.index((bytes.len() - HEADER.len()) * 8);
        bytes[HEADER.len() + bit / 8] ^= 1 << (bit % 8);
        let read = read(&bytes).unwrap();
        prop_assert_eq!((read.unreadable, read.records.len()), (1, records.len() - 1));
        prop_assert!(read.records.iter().all(|record| records.contains(record)));
        prop_assert_eq!(read.whole, bytes.len(), "nothing of it is cut away");
    }
}

#[test]
fn a_tail_that_the_disk_gave_back_as_zeros_is_cut() {
    let records = [given(1), given(2)];
    let mut bytes = file(&records);
    let whole = bytes.len();
    bytes.extend([0; 5000]);
    let read = read(&bytes).unwrap();
    assert_eq!((read.records.len(), read.unreadable, read.whole), (2, 0, whole));
}

#[test]
fn a_file_of_a_later_sidegate_is_refused_by_its_format_and_one_of_nobody_as_well() {
    let later = [&NAME[..], &[FORMAT + 1], b"whatever"].concat();
    assert_eq!(read(&later), Err(Foreign::Later(FORMAT + 1)));
    assert!(Foreign::Later(2).to_string().contains("by a later sidegate"));
    assert_eq!(read(b"#!/bin/sh\necho not a journal\n"), Err(Foreign::NotOurs));
    assert_eq!(read(b"#"), Err(Foreign::NotOurs));
    assert_eq!(read(b"").unwrap(), Content::default());
}

#[test]
fn a_record_of_a_kind_that_is_not_known_is_unreadable_and_those_behind_it_are_read() {
    let bytes = [HEADER.to_vec(), framed(&[&[9][..], &[0; 40]].concat()), bytes(&given(3))].concat();
    let read = read(&bytes).unwrap();
    assert_eq!((read.unreadable, read.records), (1, vec![given(3)]));
}

/// As it was written first: files of that time must be read for ever.
#[test]
fn an_entry_of_the_first_format_is_read() {
    let byte = |at: usize| u8::from_str_radix(&FIRST[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..FIRST.len()).step_by(2).map(byte).collect();
    let records = [Record::Given { key: key(7), sealed: b"sealed".to_vec() }, Record::Settled { key: key(7) }];
    assert_eq!(bytes, file(&records), "nor is it written in another way");
    assert_eq!(read(&bytes).unwrap().records, records);
}

#[test]
fn what_was_given_is_opened_for_its_own_session_and_lease_with_its_own_key_alone() {
    let held = Held {
        access_token: Secret::new("an access token".to_owned()),
        issued: UnixTime(1000),
        expires: UnixTime(1300),
        authority: "an authority".to_owned(),
        refresh_token: Some(Secret::new("a refresh token".to_owned())),
    };
    let given = Given { held, renewed_for: Some(3) };
    let sealed = given.seal(key(1), &ring(&[1])).unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"token"));
    assert_eq!(Given::open(key(1), &sealed, &ring(&[2, 1])).unwrap(), given);
    assert_eq!(Given::open(key(1), &sealed, &ring(&[2])), Err(SealError::UnknownKey(1)));
    for other in [Key { epoch: 2, ..key(1) }, Key { session: SessionId([9; 16]), ..key(1) }] {
        assert_eq!(Given::open(other, &sealed, &ring(&[1])), Err(SealError::Crypto));
    }
}

/// Header, entry and what says that it is settled.
const FIRST: &str = "\
    7369646567617465206a6f75726e616c01\
    f553674a0000001f8f977be4010707070707070707070707070707070700000000000000077365616c6564c71924ad24ba8f39\
    f553674a00000019d4c651780207070707070707070707070707070707000000000000000791c6cfcc7f167245";
