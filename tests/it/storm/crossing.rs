//! 200 sessions with 1,000 requests at once, when all of the authority's tokens have just ended. Its refresh tokens are
//! good for one use, so a second redemption would lose the session.

use std::time::Duration;

use super::house::{House, Kept, LIFETIME, Setup};
use crate::{
    pairs::spoken::Behind,
    support::{authority::Mood, must},
};

const SESSIONS: usize = 200;
const EACH: usize = 5;

async fn cross(behind: Behind, kept: Kept, mood: Mood) {
    // Who is slow is so within the time that requests wait; who is held waits for a thousand requests to come.
    let more = if mood == Mood::Held { "refresh: { wait: 20s }\n" } else { "" };
    let house = House::with(Setup { more, ..Setup::of(behind, kept) }).await;
    let clients = house.sign_in_all(SESSIONS).await;
    for crossing in 1..=2 {
        house.advance(LIFETIME as i64);
        house.authority.is(mood.clone());
        let begun = house.upstream.count();
        let release = async {
            if mood == Mood::Held {
                must(async { while house.in_flight().await < (SESSIONS * EACH) as u64 {} }).await;
                assert_eq!(house.upstream.count(), begun, "nobody is served before");
                house.authority.is(Mood::Good);
            }
        };
        let (replies, ()) = tokio::join!(house.storm(&clients, EACH), release);
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        assert_eq!(replies.len(), SESSIONS * EACH);
        assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0].text());
        let redeemed = (house.authority.presented(), house.authority.redeemed());
        assert_eq!(redeemed, (crossing * SESSIONS, crossing * SESSIONS));
        assert_eq!(house.upstream.count() - begun, SESSIONS * EACH);
        house.assert_nothing_wrong_was_shown();
    }
}

macro_rules! crossings {
    ($($test:ident: $behind:ident, $kept:ident, $mood:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            cross(Behind::$behind, Kept::$kept, $mood).await;
        }
    )*};
}

crossings! {
    a_quick_authority_redeems_once_for_each_session_and_nobody_is_refused: OAuth2, InMemory, Mood::Good;
    a_slow_authority_does_too: OAuth2, InMemory, Mood::Slow(Duration::from_millis(200));
    a_thousand_requests_wait_for_an_authority_that_takes_its_time: OAuth2, InMemory, Mood::Held;
    a_quick_authority_does_too_before_a_store_on_disk: OAuth2, OnDisk, Mood::Good;
    a_slow_authority_does_too_before_a_store_on_disk: OAuth2, OnDisk, Mood::Slow(Duration::from_millis(200));
    redex_does_too: Redex, InMemory, Mood::Good;
    consinco_in_json_does_too: ConsincoJson, InMemory, Mood::Good;
    consinco_in_xml_does_too: ConsincoXml, OnDisk, Mood::Held;
}
