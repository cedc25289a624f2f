//! A process whose clock is not its store's.

use std::{sync::atomic::Ordering, time::Duration};

use sidegate::telemetry::reason::Reason;

use super::late::{House, SUCCEEDS};

/// The clocks of two of them may be 90 seconds apart.
const AHEAD: [i64; 4] = [90, 45, -45, -90];
const PLAIN: &str = "grants: [client_credentials, password]";
/// Of a token of the house.
const LIFE: i64 = 600;

#[tokio::test]
async fn a_token_is_good_to_its_last_second_and_no_longer_whatever_the_clock_says() {
    for ahead in AHEAD {
        let house = House::apart(PLAIN, ahead);
        let tokens = [house.open().await.1, house.open_jwt().await];
        for token in &tokens {
            house.judge(token).await.unwrap_or_else(|refusal| panic!("{ahead}: {refusal:?}"));
        }
        house.time.advance(LIFE - 2);
        for token in tokens.iter().chain(&[house.open().await.1]) {
            house.judge(token).await.unwrap_or_else(|refusal| panic!("{ahead}: {refusal:?}"));
        }
        // What is cached, and what is not.
        house.time.advance(2);
        for token in tokens {
            assert_eq!(house.judge(&token).await.unwrap_err().reason, Reason::TokenExpired, "{ahead}");
        }
    }
}

#[tokio::test]
async fn a_successor_is_given_at_its_time_and_taken_until_its_end_whatever_the_clock_says() {
    for ahead in AHEAD {
        let house = House::apart(SUCCEEDS, ahead);
        let token = house.open_jwt().await;
        assert_eq!(house.successor(&token).await.unwrap(), None, "{ahead}");
        house.time.advance(LIFE / 2 - 2);
        assert_eq!(house.successor(&token).await.unwrap(), None, "{ahead}");
        house.time.advance(2);
        let next = house.successor(&token).await.unwrap().unwrap_or_else(|| panic!("{ahead}: none"));
        let next = next.to_str().unwrap();
        assert_eq!(house.successor(next).await.unwrap(), None, "{ahead}");
        house.time.advance(LIFE - 2);
        house.judge(next).await.unwrap_or_else(|refusal| panic!("{ahead}: {refusal:?}"));
        house.time.advance(2);
        assert_eq!(house.judge(next).await.unwrap_err().reason, Reason::TokenExpired, "{ahead}");
    }
}

/// Its clock is set, and set back: nobody knows what its ends were told by.
#[tokio::test(start_paused = true)]
async fn what_is_doubted_is_found_anew_and_nobody_is_refused_for_the_doubt() {
    let house = House::apart(PLAIN, 0);
    let (_, token) = house.open().await;
    let verdict = house.judge(&token).await.unwrap();
    house.judge(&token).await.unwrap();
    assert_eq!(*house.store.read.borrow(), 1);
    for ahead in [0, 90, 0] {
        house.store.ahead.store(ahead, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert!(verdict.is_alive());
    house.store.away.store(true, Ordering::SeqCst);
    let refusal = house.judge(&token).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.code), (Reason::Undecided, "store_unavailable"));
    house.store.away.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        house.judge(&token).await.unwrap();
        assert_eq!(*house.store.read.borrow(), 2, "one look settles it");
    }
    let (_, other) = house.open().await;
    house.judge(&other).await.unwrap();
}
