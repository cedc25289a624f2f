//! A JWK Set from an issuer: one bad key spoils no other, and what was read is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate::jose::KeySet;

fuzz_target!(|data: &[u8]| {
    let Ok((set, skipped)) = KeySet::parse(data) else { return };
    let starts = data.iter().filter(|byte| **byte == b'{').count();
    assert!(starts > set.keys().len(), "a key is an object in an object");
    assert!(skipped.iter().all(|reason| !reason.reason.is_empty()));
    assert!(set.keys().iter().all(|key| key.liveness().is_alive()));

    let (again, _) = KeySet::parse(data).expect("the same bytes");
    let replaced = again.replace(&set);
    assert_eq!(replaced.keys().len(), set.keys().len());
    assert!(replaced.keys().iter().all(|key| key.liveness().is_alive()), "the same keys have not left");
});
