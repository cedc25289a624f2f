//! An authority that is away is left alone for a while, whoever wants something of it, and found again when it is back.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::house::{House, Outside, yaml};
use crate::{
    oauth::house::{SECRET, assert_refused, text},
    support::{Reply, Sidegate, Upstream, log::written},
};

const STORE: &str = "store: { memory: {} }\n";
const SIGN_IN: &str = "grant_type=client_credentials";

/// Asks until nothing is asked any more; so many failures in a row it takes.
async fn fallen(house: &House) {
    for failure in 0..5 {
        assert_eq!(house.seen().await["breaker"], "closed", "after {failure} failures");
        assert_ne!(house.token(SIGN_IN).await.status, 200);
    }
    assert_eq!(house.seen().await["breaker"], "open");
}

/// The same, and one probe after the other fails, until the rest is too long for the real clock to matter.
async fn fallen_for_long(house: &House) {
    for _ in 0..20 {
        if next_attempt(house).await >= 15 {
            return;
        }
        house.sidegate.time.advance(next_attempt(house).await);
        assert_ne!(house.token(SIGN_IN).await.status, 200);
    }
    panic!("its rest does not grow: {}", house.seen().await);
}

fn retry_after(reply: &Reply) -> u64 {
    reply.header("retry-after").unwrap_or_else(|| panic!("{}", reply.text())).parse().unwrap()
}

async fn next_attempt(house: &House) -> i64 {
    house.seen().await["next_attempt"].as_i64().unwrap()
}

#[tokio::test]
async fn an_authority_that_is_dead_is_left_alone_until_one_question_finds_it_back() {
    let house = House::new().await;
    let tokens: Vec<String> = join_all((0..8).map(|_| house.access())).await;
    house.sidegate.time.advance(200);
    let (late, refresh) = (house.access().await, text(&house.signed_in().await, "refresh_token"));
    house.sidegate.time.advance(100);

    house.outside.dead(true);
    for token in &tokens[..5] {
        let refused = house.get(token).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "temporarily_unavailable"));
        assert!(refused.header("retry-after").is_some());
    }
    fallen_for_long(&house).await;
    let contacts = house.outside.contacts();
    for _ in 0..3 {
        for token in &tokens[5..] {
            let refused = house.get(token).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "temporarily_unavailable"));
            assert!((1..=30).contains(&retry_after(&refused)));
        }
        for refused in [house.refreshed(&refresh).await, house.token(SIGN_IN).await] {
            assert_refused(&refused, 503, "temporarily_unavailable");
            assert!((1..=30).contains(&retry_after(&refused)));
        }
        assert_eq!(house.get(&late).await.status, 200, "what is valid goes on");
    }
    assert_eq!(house.outside.contacts(), contacts, "nothing is sent");

    // It is back, and slow: while one asks, the others have their answer.
    house.outside.dead(false);
    house.outside.hold(true);
    house.sidegate.time.advance(next_attempt(&house).await + 1);
    let others = &tokens[6..];
    let (first, _) = tokio::join!(house.get(&tokens[5]), async {
        house.until(async || house.outside.contacts().1 == contacts.1 + 1).await;
        assert_eq!(house.seen().await["breaker"], "half_open");
        for token in others {
            let refused = house.get(token).await;
            assert_eq!((refused.status.as_u16(), retry_after(&refused)), (503, 1));
        }
        assert_refused(&house.token(SIGN_IN).await, 503, "temporarily_unavailable");
        assert_eq!(house.outside.contacts().1, contacts.1 + 1, "one question is under way");
        house.outside.hold(false);
    });
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(house.seen().await["breaker"], "closed");
    house.sidegate.time.advance(60);
    for token in &tokens {
        assert_eq!(house.get(token).await.status, 200);
    }
    assert_eq!(house.refreshed(&refresh).await.status, 200);
}

#[tokio::test]
async fn an_authority_that_comes_and_goes_costs_nobody_their_session() {
    let house = House::new().await;
    let tokens: Vec<String> = join_all((0..8).map(|_| house.access())).await;
    for round in 0..6 {
        house.sidegate.time.advance(300);
        match round % 3 {
            0 => house.outside.broken(503, Some("2"), json!({})),
            1 => house.outside.broken(429, None, json!({})),
            _ => house.outside.broken(200, None, json!("no token")),
        }
        for _ in 0..3 {
            for refused in join_all(tokens.iter().map(|token| house.get(token))).await {
                assert_eq!(refused.status, 503);
                assert!(retry_after(&refused) >= 1);
            }
            house.sidegate.time.advance(3);
        }
        house.outside.mended();
        house.sidegate.time.advance(60);
        // The first one finds it back.
        assert_eq!(house.get(&tokens[round]).await.status, 200, "round {round}");
        let replies = join_all(tokens.iter().map(|token| house.get(token))).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "round {round}");
        assert_eq!(house.seen().await["breaker"], "closed");
    }
    assert_eq!(house.sidegate.metric("sidegate_sessions{store=\"memory\"}").await, 8);
}

#[tokio::test]
async fn operators_see_that_it_is_away_since_when_and_when_it_is_tried_again() {
    written();
    let house = House::new().await;
    let metric = async |name: &str, more: &str| {
        house.sidegate.metric(&format!("sidegate_authority_breaker_{name}{{authority=\"remote\"{more}}}")).await
    };
    let state = async || {
        let mut values = Vec::new();
        for state in ["closed", "open", "half_open"] {
            values.push(metric("state", &format!(",state=\"{state}\"")).await);
        }
        values
    };
    assert_eq!((state().await, metric("opened_total", "").await), (vec![1, 0, 0], 0));
    house.signed_in().await;
    house.outside.broken(503, Some("30"), json!({}));
    house.token(SIGN_IN).await;
    house.sidegate.time.advance(5);
    for _ in 0..4 {
        house.token(SIGN_IN).await;
    }
    house.token(SIGN_IN).await;
    assert_eq!((state().await, metric("opened_total", "").await), (vec![0, 1, 0], 1));
    assert_eq!(metric("refused_total", "").await, 1);

    let (status, ready) = house.sidegate.ready().await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "what is valid is served");
    let degraded = &ready["degraded"][0];
    let told = ["authority", "reason", "state", "breaker"].map(|name| degraded[name].as_str().unwrap());
    assert_eq!(told, ["remote", "the authority answered 503", "away", "open"]);
    assert!(degraded["state_age"].as_u64() >= Some(5), "since the first failure: {degraded}");
    assert!((25..=30).contains(&degraded["next_attempt"].as_u64().unwrap()), "{degraded}");
    let seen = house.seen().await;
    for member in ["state", "breaker"] {
        assert_eq!(seen[member], degraded[member]);
    }
    let page = house.sidegate.status_page("localhost", "text/html").await;
    for told in ["degraded", "away for", "the authority answered 503", "it is asked nothing, and again in"] {
        assert!(page.text().contains(told), "{told}: {}", page.text());
    }

    house.outside.mended();
    house.sidegate.time.advance(30);
    assert_eq!(house.token(SIGN_IN).await.status, 200);
    assert_eq!((state().await, metric("opened_total", "").await), (vec![1, 0, 0], 1));
    assert_eq!(house.sidegate.ready().await.1["degraded"], json!([]));
    let log = written().text();
    for told in ["is asked nothing for a while", "answers again"] {
        assert!(log.contains(told), "{told}");
    }
}

#[tokio::test]
async fn answers_that_refuse_are_answers() {
    let house = House::new().await;
    let refresh = text(&house.signed_in().await, "refresh_token");
    house.outside.broken(400, None, json!({"error": "invalid_grant"}));
    for _ in 0..8 {
        assert_refused(&house.token(SIGN_IN).await, 400, "invalid_grant");
    }
    assert_eq!((&house.seen().await["breaker"], &house.seen().await["degraded"]), (&json!("closed"), &json!(false)));
    house.outside.broken(401, None, json!({"error": "invalid_client"}));
    for _ in 0..8 {
        assert_refused(&house.refreshed(&refresh).await, 503, "temporarily_unavailable");
    }
    let seen = house.seen().await;
    assert_eq!((&seen["state"], &seen["breaker"]), (&json!("refuses"), &json!("closed")));
    assert_eq!(house.sidegate.ready().await.1["degraded"][0]["state"], "refuses");
    house.outside.mended();
    assert_eq!(house.refreshed(&refresh).await.status, 200);
}

#[tokio::test]
async fn what_it_says_of_coming_back_is_believed_up_to_a_minute() {
    for (said, rest) in [("45", 40..=45), ("86400", 55..=60)] {
        let house = House::new().await;
        house.outside.broken(429, Some(said), json!({}));
        fallen(&house).await;
        assert!(rest.contains(&next_attempt(&house).await));
        assert!(retry_after(&house.token(SIGN_IN).await) <= 60);
    }
}

#[tokio::test]
async fn a_question_that_finds_out_does_so_though_its_client_has_hung_up() {
    let house = House::new().await;
    house.outside.broken(500, None, json!({}));
    fallen(&house).await;
    house.outside.mended();
    house.outside.hold(true);
    house.sidegate.time.advance(next_attempt(&house).await);
    let asked = house.outside.contacts().1;
    let body = format!("{SIGN_IN}&client_id=app&client_secret={SECRET}");
    let mut stream = TcpStream::connect(house.sidegate.public).await.unwrap();
    let head = "POST /oauth20/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    house.until(async || house.outside.contacts().1 == asked + 1).await;
    assert_eq!(house.seen().await["breaker"], "half_open");
    drop(stream);
    house.outside.hold(false);
    house.until(async || house.seen().await["breaker"] == "closed").await;
    assert_eq!(house.token(SIGN_IN).await.status, 200);
}

#[tokio::test]
async fn a_reload_leaves_the_same_authority_alone_and_asks_another_one() {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let sidegate = Sidegate::start(&yaml(&outside, &upstream, "", STORE)).await;
    let house = House { sidegate, outside, upstream };
    house.outside.broken(429, Some("60"), json!({}));
    fallen(&house).await;
    let contacts = house.outside.contacts();
    house.sidegate.reload(&yaml(&house.outside, &house.upstream, ", timeout: 4s", STORE)).await;
    assert_eq!(house.seen().await["breaker"], "open");
    assert_refused(&house.token(SIGN_IN).await, 503, "temporarily_unavailable");
    assert_eq!(house.outside.contacts(), contacts);
    let another = Outside::start().await;
    house.sidegate.reload(&yaml(&another, &house.upstream, "", STORE)).await;
    assert_eq!((&house.seen().await["breaker"], &house.seen().await["last_error"]), (&json!("closed"), &Value::Null));
    assert_eq!(house.token(SIGN_IN).await.status, 200);
}

#[tokio::test]
async fn a_session_that_fails_again_and_again_is_tried_less_and_less_often() {
    let house = House::new().await;
    let (token, refresh) = {
        let reply = house.signed_in().await;
        (text(&reply, "access_token"), text(&reply, "refresh_token"))
    };
    // Of one session only: another one has good answers in between.
    house.sidegate.time.advance(300);
    let (mut tries, mut longest) = (Vec::new(), 0);
    for second in 0..100_i64 {
        let asked = house.outside.refreshes();
        house.outside.broken(500, None, json!({}));
        let refused = house.get(&token).await;
        assert_eq!(refused.status, 503);
        longest = longest.max(retry_after(&refused));
        house.outside.mended();
        assert_eq!(house.token(SIGN_IN).await.status, 200);
        if house.outside.refreshes() > asked {
            tries.push(second);
        }
        house.sidegate.time.advance(1);
    }
    // 1, 2, 4, 8, 16, 32 and 60 seconds, or down to half of each.
    assert!((6..=9).contains(&tries.len()), "{tries:?}");
    assert!((15..=60).contains(&longest), "clients are told of the rest: {longest}");
    assert_eq!(house.refreshed(&refresh).await.status, 200, "whoever refreshes is told what is so now");
    assert_eq!(house.get(&token).await.status, 200, "and so all others");
}

#[tokio::test]
async fn one_whose_questions_the_authority_cannot_answer_shuts_nobody_else_out() {
    let house = House::new().await;
    let (token, refresh) = {
        let reply = house.signed_in().await;
        (text(&reply, "access_token"), text(&reply, "refresh_token"))
    };
    house.sidegate.time.advance(300);
    for (status, retry_after) in [(500, None), (429, Some("60"))] {
        house.outside.broken(status, retry_after, json!({}));
        for _ in 0..8 {
            let typed = "grant_type=password&username=%00&password=x";
            assert_ne!(house.token(typed).await.status, 200);
            assert_ne!(house.refreshed(&refresh).await.status, 200);
        }
        assert_eq!(house.seen().await["breaker"], "closed", "{status}");
    }
    house.outside.mended();
    assert_eq!(house.get(&token).await.status, 503, "its own rest goes on");
    assert_eq!(house.refreshed(&refresh).await.status, 200);
    assert_eq!(house.signed_in().await.status, 200);
}
