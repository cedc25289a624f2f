//! The token of sidegate's own, which is one for all.

use futures_util::future::join_all;

use super::{refusal, refusing_the_first};
use crate::{
    service::house::{By, House, IMPATIENT, yaml},
    support::{
        Issuer, Sidegate, Upstream,
        authority::{Authority, Mood},
        client::request,
        send,
    },
};

async fn before(upstream: Upstream, by: By, more: &str) -> House {
    let authority = Authority::start(by.speech()).await;
    let issuer = Issuer::new();
    let sidegate = Sidegate::start(&yaml(&issuer, &upstream, &by.yaml(&authority), more)).await;
    House { authority, upstream, issuer, sidegate }
}

async fn forced(house: &House, result: &str) -> f64 {
    let series = format!("sidegate_forced_renewals_total{{credential=\"service\",result=\"{result}\"}}");
    house.sidegate.series(&series).await
}

#[tokio::test]
async fn in_any_dialect_it_is_renewed_once_for_all_who_are_refused_and_all_go_through() {
    for by in [By::ClientCredentials, By::Redex, By::ConsincoXml] {
        let house = before(Upstream::answering(refusing_the_first()).await, by, "").await;
        house.kept(1).await;
        let asked = house.authority.asked().len();
        let body = |token: &str| request("POST", "/", token).map(|_| http_body_util::Full::new("some body".into()));
        let replies = join_all((0..32).map(|_| send(house.sidegate.public, body(&house.token())))).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{by:?}");
        assert_eq!((house.authority.asked().len(), forced(&house, "renewed").await), (asked + 1, 1.0), "{by:?}");
        assert!(house.upstream.seen().iter().all(|seen| seen.body == "some body"));
        assert_eq!(house.shown().await, house.newest());
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_has_it_renewed_once_in_30_seconds() {
    let house = before(Upstream::answering(|_| refusal()).await, By::ClientCredentials, "").await;
    house.kept(1).await;
    let asked = house.authority.asked().len();
    for round in 1..=2 {
        for _ in 0..3 {
            let reply = house.get("/").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (401, "who are you?"));
        }
        // The clock goes on by itself as well.
        house.sidegate.time.advance(15);
        house.get("/").await;
        assert_eq!(house.authority.asked().len(), asked + round);
        house.sidegate.time.advance(15);
    }
    assert_eq!((forced(&house, "renewed").await, forced(&house, "too_soon").await), (2.0, 6.0));
}

#[tokio::test]
async fn while_the_authority_is_away_the_401_goes_to_the_client() {
    let house = before(Upstream::answering(refusing_the_first()).await, By::ClientCredentials, IMPATIENT).await;
    house.kept(1).await;
    house.authority.is(Mood::Status(503));
    assert_eq!(house.get("/").await.text(), "who are you?");
    assert_eq!(forced(&house, "failed").await, 1.0);
    assert_eq!(house.upstream.count(), 1);
}
