//! Reloads and restarts.

use super::house::{By, House, yaml};
use crate::support::{
    Issuer, Sidegate, Upstream,
    authority::{Authority, Mood, Speech},
    get,
};

#[tokio::test]
async fn a_reload_keeps_the_token_where_its_settings_are_the_same() {
    let (authority, upstream, issuer) =
        (Authority::start(Speech::OAuth2).await, Upstream::start().await, Issuer::new());
    let service = By::ClientCredentials.yaml(&authority);
    let written = |more: &str| yaml(&issuer, &upstream, &service, more);
    let sidegate = Sidegate::start(&written("")).await;
    let asked = async || {
        assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
        authority.asked().len()
    };
    assert_eq!(asked().await, 1);
    sidegate.reload(&written("log: { level: warn }\n")).await;
    assert_eq!(asked().await, 1);
    // Also where it is renewed at another time from now on.
    sidegate.reload(&written("refresh: { ahead: 20s }\n")).await;
    assert_eq!(asked().await, 1);
    authority.is(Mood::Dead);
    assert_eq!(asked().await, 1, "so an outage does not begin with a reload");
    authority.is(Mood::Good);
    sidegate.time.advance(3545);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(authority.asked().len(), 1);
    sidegate.time.advance(36);
    let house = House { authority, upstream, issuer, sidegate };
    house.asked(2).await;
}

#[tokio::test]
async fn a_reload_with_other_settings_gets_another_token_and_lets_go_of_the_first() {
    let house = House::new(By::ClientCredentials).await;
    let first = house.shown().await;
    let another = Authority::start(Speech::OAuth2).await;
    another.script(|script| script.lifetime = 7200);
    let service = By::Form.yaml(&another);
    house.sidegate.reload(&yaml(&house.issuer, &house.upstream, &service, "")).await;
    house.kept(1).await;
    assert_eq!(house.shown().await, first, "the same text, from another authority");
    assert_eq!((house.authority.asked().len(), another.asked().len()), (1, 1));
    house.sidegate.time.advance(4000);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!((house.authority.asked().len(), another.asked().len()), (1, 1), "nobody keeps the first one good");
}

#[tokio::test]
async fn nobody_keeps_the_first_token_good_either_while_something_of_the_old_generation_goes_on() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    // As a long poll has it.
    let old = house.sidegate.app.gate();
    let another = Authority::start(Speech::OAuth2).await;
    another.script(|script| script.lifetime = 7200);
    house.sidegate.reload(&yaml(&house.issuer, &house.upstream, &By::Form.yaml(&another), "")).await;
    house.kept(1).await;
    house.sidegate.time.advance(3700);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(house.authority.asked().len(), 1);
    // But whoever began with it has what it needs.
    let shown = old.proxy().auth().service(0).unwrap().wait(std::time::Duration::ZERO).await.unwrap();
    assert_eq!((shown.generation, house.authority.asked().len()), (2, 2));
}

#[tokio::test]
async fn after_a_restart_the_token_is_got_anew() {
    let house = House::new(By::Password).await;
    house.kept(1).await;
    let written = yaml(&house.issuer, &house.upstream, &By::Password.yaml(&house.authority), "");
    let House { authority, upstream, issuer, sidegate } = house;
    drop(sidegate);
    let house = House { sidegate: Sidegate::start(&written).await, authority, upstream, issuer };
    assert_eq!(house.shown().await, "Bearer at-canary-2.~+/_==");
    assert_eq!(house.authority.redeemed(), 0);
}
