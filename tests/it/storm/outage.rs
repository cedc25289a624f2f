//! An authority that is away for longer than its tokens live.

use futures_util::future::join_all;

use super::house::{House, Kept, LIFETIME};
use crate::{oauth::house::text, pairs::spoken::Behind, support::authority::Mood};

const SESSIONS: usize = 24;

async fn endure(behind: Behind, kept: Kept) {
    let house = House::new(behind, kept).await;
    let clients = house.sign_in_all(SESSIONS).await;
    let status =
        async || -> Vec<u16> { house.storm(&clients, 2).await.iter().map(|reply| reply.status.as_u16()).collect() };
    house.authority.is(Mood::Away);
    for _ in 0..3 {
        house.advance(LIFETIME as i64 / 3 - 1);
        assert_eq!(status().await, [200; 2 * SESSIONS], "what is valid goes on");
    }
    let shown = house.upstream.count();
    // Several lives of a token long.
    for _ in 0..5 {
        house.advance(LIFETIME as i64);
        for reply in house.storm(&clients, 2).await {
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "temporarily_unavailable"));
            assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
            assert_eq!(reply.header("www-authenticate"), None, "it would make clients throw a good token away");
        }
        // Nor does a client's own refresh token rotate.
        let refused = house.refresh(&clients[0]).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(house.upstream.count(), shown, "nothing that is over goes on");
    house.authority.is(Mood::Good);
    house.advance(120);
    house.until_all_are_served(&clients).await;
    assert_eq!(house.authority.redeemed(), SESSIONS);
    let replies = join_all(clients.iter().map(|client| house.refresh(client))).await;
    for (reply, client) in replies.iter().zip(&clients) {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_ne!(text(reply, "refresh_token"), client.refresh);
    }
    house.assert_nothing_wrong_was_shown();
}

macro_rules! outages {
    ($($test:ident: $behind:ident, $kept:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            endure(Behind::$behind, Kept::$kept).await;
        }
    )*};
}

outages! {
    all_sessions_go_on_when_an_authority_that_speaks_oauth2_is_back: OAuth2, InMemory;
    all_sessions_on_disk_go_on_when_an_authority_that_speaks_oauth2_is_back: OAuth2, OnDisk;
    all_sessions_go_on_when_an_authority_that_speaks_redex_is_back: Redex, InMemory;
    all_sessions_go_on_when_an_authority_that_speaks_consinco_in_json_is_back: ConsincoJson, InMemory;
    all_sessions_go_on_when_an_authority_that_speaks_consinco_in_xml_is_back: ConsincoXml, OnDisk;
}
