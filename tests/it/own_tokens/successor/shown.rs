//! What the upstream is shown for a token that has a successor, and how long that is good for.

use crate::{
    oauth::house::{client, text},
    own_tokens::successor::house::{HOUR, House, MINUTE, Plan, SUCCEEDS, claims, successor, yaml},
    support::{Scripted, Sidegate, Upstream, Wire, look::INVALID, look::assert_problem},
};

const ORIGINAL: &str = "original: {}";

#[tokio::test]
async fn an_upstream_that_sees_the_client_s_token_sees_the_successor() {
    let house = House::with(Plan { credential: ORIGINAL, ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let seen = || house.upstream.last().header("authorization").map(str::to_owned);
    assert_eq!((house.next(&token).await, seen()), (None, bearer(&token)));
    house.sidegate.time.advance(40 * MINUTE);
    let next = house.next(&token).await.unwrap();
    assert_eq!(seen(), bearer(&next), "also at once");
    assert_eq!(house.next(&token).await.as_ref(), Some(&next));
    assert_eq!(seen(), bearer(&next));
    assert_eq!((house.next(&next).await, seen()), (None, bearer(&next)));
}

#[tokio::test]
async fn an_upstream_never_sees_a_token_that_is_over() {
    let more = "refresh: { accept_expired_for: 8h }";
    let house = House::with(Plan { credential: ORIGINAL, more, ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(2 * HOUR);
    let many = futures_util::future::join_all((0..8).map(|_| house.next(&token))).await;
    let next = many[0].clone().unwrap();
    assert!(many.iter().all(|other| other.as_ref() == Some(&next)));
    let bearer = format!("Bearer {next}");
    assert!(house.upstream.seen().iter().all(|seen| seen.header("authorization") == Some(&*bearer)));
}

#[tokio::test]
async fn it_stands_where_the_token_would_stand() {
    for (place, header) in [("header: X-Api-Token", "x-api-token"), ("query_parameter: key", "authorization")] {
        let route = format!("token: {{ {place} }}");
        let house = House::with(Plan { credential: ORIGINAL, route: &route, ..Plan::default() }).await;
        let token = house.sign_in("next").await;
        house.sidegate.time.advance(40 * MINUTE);
        let reply = match header {
            "authorization" => house.ask(&format!("/?key={token}&a=b"), &[]).await,
            _ => house.ask("/?a=b", &[("x-api-token", &token)]).await,
        };
        let (next, seen) = (successor(&reply).unwrap(), house.upstream.last());
        let expected = if header == "authorization" { format!("Bearer {next}") } else { next };
        assert_eq!((seen.header(header), seen.target.as_str()), (Some(&*expected), "/?a=b"), "{place}");
        assert!(!format!("{seen:?}").contains(&token));
    }
}

#[tokio::test]
async fn the_internal_token_lives_as_long_as_the_successor_lets_it() {
    let more = "refresh: { accept_expired_for: 8h }";
    let credential = "internal_jwt: { audience: app }";
    let house = House::with(Plan { credential, more, ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    let life = || {
        let seen = house.upstream.last();
        let internal = claims(seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap());
        internal["exp"].as_u64().unwrap() - house.sidegate.time.now().0
    };
    house.sidegate.time.advance(59 * MINUTE + 30);
    // The first one may have gone before the successor was there: what it carried ended with the token.
    assert!(house.next(&token).await.is_some());
    assert!(house.next(&token).await.is_some());
    // A second may have begun since it was signed.
    assert!((119..=120).contains(&life()));
    house.sidegate.time.advance(2 * HOUR);
    assert!(house.next(&token).await.is_some());
    assert!((119..=120).contains(&life()), "the token is over, and what follows it is not");
}

#[tokio::test]
async fn a_route_that_needs_more_life_than_is_left_waits_for_a_successor() {
    let plan = |route| Plan { route, credential: ORIGINAL, ..Plan::default() };
    let house = House::with(plan("min_life: 45m")).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(15 * MINUTE);
    assert_eq!(house.next(&token).await, None, "as much as is needed");
    house.sidegate.time.advance(MINUTE);
    let next = house.next(&token).await.unwrap();
    assert_eq!(house.upstream.last().header("authorization"), Some(&*format!("Bearer {next}")));
    house.sidegate.time.advance(16 * MINUTE);
    assert_ne!(house.next(&token).await.unwrap(), next);
    assert_eq!(house.made().await, 2);

    let brief =
        [client("brief", "grants: [password], access_token: { renewal: successor, format: jwt, lifetime: 30m }")];
    let house = House::with(Plan { clients: &brief, ..plan("min_life: 45m") }).await;
    let token = house.sign_in("brief").await;
    for _ in 0..2 {
        assert_problem(&house.get(&token).await, 401, "invalid_token", INVALID);
    }
    assert_eq!((house.upstream.count(), house.made().await), (0, 0), "no successor would have so much");
}

#[tokio::test]
async fn a_stream_that_ends_with_its_token_ends_with_the_successor_that_its_answer_carried() {
    let (upstream, named) = (Scripted::start().await, Upstream::start().await);
    let lasts = client("lasts", &format!("grants: [password, refresh_token], {SUCCEEDS}"));
    let plan = Plan { clients: &[lasts], route: "on_expiry: close_at_expiry", ..Plan::default() };
    let yaml = yaml(&named, &plan).replace(&named.address.to_string(), &upstream.address.to_string());
    let house = House { sidegate: Sidegate::start(&yaml).await, upstream: named };
    let token = text(&house.grant("lasts").await, "access_token");
    house.sidegate.time.advance(50 * MINUTE);
    let mut wire = Wire::connect(house.sidegate.public).await;
    wire.say(format!("GET /events HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n")).await;
    let mut answering = upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(wire.head().await.to_ascii_lowercase().contains("\r\nx-access-token: "));
    for event in ["one", "two"] {
        answering.say(format!("b\r\ndata: {event}\n\n\r\n")).await;
        wire.until(&format!("data: {event}\n\n")).await;
        house.sidegate.time.advance(29 * MINUTE);
    }
    house.sidegate.time.advance(2 * MINUTE);
    assert!(!wire.rest().await.contains("0\r\n\r\n"));
    answering.rest().await;
    let closed = "sidegate_streams_closed_total{reason=\"token_expired\",route=\"all\"}";
    assert_eq!(house.sidegate.metric(closed).await, 1);
}
