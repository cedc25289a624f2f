//! Who is shown the token, and who is not.

use futures_util::future::join_all;

use super::house::{By, House, yaml};
use crate::support::{
    Issuer, Sidegate, Upstream,
    authority::{Authority, Speech},
    get,
};

#[tokio::test]
async fn the_upstream_sees_the_service_token_and_who_it_is_for_and_never_the_client_s() {
    let house = House::new(By::ClientCredentials).await;
    let token = house.token();
    assert_eq!(get(house.sidegate.public, "/", &token).await.status, 200);
    let seen = house.upstream.last();
    assert_eq!(seen.header("authorization"), Some(&*house.newest()));
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    assert_eq!(seen.header("x-user"), Some("ana"));
    assert!(!format!("{seen:?}").contains(&token));
}

#[tokio::test]
async fn a_thousand_requests_cause_one_token_to_be_got() {
    let house = House::new(By::ClientCredentials).await;
    let token = house.token();
    for _ in 0..10 {
        let replies = join_all((0..100).map(|_| get(house.sidegate.public, "/", &token))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
    }
    assert_eq!((house.upstream.count(), house.authority.asked().len()), (1000, 1));
    let newest = house.newest();
    assert!(house.upstream.seen().iter().all(|seen| seen.header("authorization") == Some(&newest)));
}

#[tokio::test]
async fn nothing_of_sidegate_s_goes_out_for_somebody_whom_nobody_vouched_for() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    let token = house.token();
    assert_eq!(get(house.sidegate.public, "/public", &token).await.status, 200);
    assert_eq!(house.upstream.last().header("authorization"), None);
    assert_eq!(get(house.sidegate.public, "/", "nonsense").await.status, 401);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn a_public_route_is_served_also_while_there_is_no_token() {
    let house = House::with(By::ClientCredentials, super::house::IMPATIENT, super::house::dead).await;
    assert_eq!(get(house.sidegate.public, "/public", "").await.status, 200);
    assert_eq!(house.get("/").await.status, 503);
}

#[tokio::test]
async fn each_upstream_has_a_token_of_its_own() {
    let (one, other) = (Authority::start(Speech::OAuth2).await, Authority::start(Speech::OAuth2).await);
    other.script(|script| script.lifetime = 100);
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let second = format!(
        "  - {{ name: second, paths: [/second], upstream: second, policy: {{ audiences: [orders-api] }} }}\n\
         upstreams:\n  - {{ name: second, url: \"http://{}\", credential: {{ service: {{ {} }} }} }}\n",
        upstream.address,
        By::ClientCredentials.yaml(&other),
    );
    let written = yaml(&issuer, &upstream, &By::ClientCredentials.yaml(&one), &second);
    // Both upstreams stand in one list.
    let (before, after) = written.split_once("upstreams:\n").unwrap();
    let (list, last) = after.rsplit_once("upstreams:\n").unwrap();
    let sidegate = Sidegate::start(&format!("{before}upstreams:\n{last}{list}")).await;
    for path in ["/", "/second"] {
        assert_eq!(get(sidegate.public, path, &issuer.token()).await.status, 200, "{path}");
    }
    assert_eq!((one.asked().len(), other.asked().len()), (1, 1));
    let ends = async |name: &str| {
        sidegate.series(&format!("sidegate_service_token_expires_timestamp_seconds{{upstream=\"{name}\"}}")).await
    };
    assert!(ends("vendor").await > ends("second").await + 3000.0);
}
