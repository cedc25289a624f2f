//! An authority whose clock is 90 seconds ahead of ours, or behind it.

use super::house::{House, Kept, LIFETIME, Setup};
use crate::pairs::spoken::Behind;

const APART: i64 = 90;
const SESSIONS: usize = 10;

/// For two lives of its tokens, in steps that meet each end from both sides. The upstream asks the authority's own clock
/// about every token that it is shown.
async fn walk(behind: Behind, ahead: i64, stamped: bool) {
    let house =
        House::with(Setup { ahead, more: "refresh: { ahead: 20s }\n", ..Setup::of(behind, Kept::InMemory) }).await;
    house.authority.script(|script| script.stamped = stamped);
    let clients = house.sign_in_all(SESSIONS).await;
    for _ in 0..2 * LIFETIME / 6 {
        for reply in house.storm(&clients, 2).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        house.advance(6);
        house.assert_nothing_wrong_was_shown();
    }
    let redeemed = house.authority.redeemed();
    assert_eq!(redeemed, house.authority.presented());
    assert!((SESSIONS..=3 * SESSIONS).contains(&redeemed), "{redeemed}: each token is used for as long as it is good");
}

macro_rules! walks {
    ($($ahead:ident, $behind_us:ident: $behind:ident, $stamped:literal;)*) => {$(
        #[tokio::test]
        async fn $ahead() {
            walk(Behind::$behind, APART, $stamped).await;
        }

        #[tokio::test]
        async fn $behind_us() {
            walk(Behind::$behind, -APART, $stamped).await;
        }
    )*};
}

walks! {
    an_authority_ahead_of_us_that_tells_how_long, an_authority_behind_us_that_tells_how_long: OAuth2, false;
    redex_ahead_of_us_tells_how_long, redex_behind_us_tells_how_long: Redex, false;
    consinco_ahead_of_us_that_tells_when_in_json, consinco_behind_us_that_tells_when_in_json: ConsincoJson, true;
    consinco_ahead_of_us_that_tells_when_in_xml, consinco_behind_us_that_tells_when_in_xml: ConsincoXml, true;
}
