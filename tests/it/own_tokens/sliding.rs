//! Access tokens that go on being good because they are used.

use std::time::Duration;

use serde_json::json;

use crate::{
    oauth::{
        audited::events,
        house::{PASSWORD, SECRET, client, form, sessions, text, token, user},
    },
    support::{Sidegate, Upstream, get, log::written, look::assert_invalid_token, send},
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60;

/// A client whose tokens slide for 30 days in all, each time for an hour.
const SLIDES: &str = "access_token: { renewal: sliding, lifetime: 1h }, refresh_token: { absolute: 30d, idle: 1d }";

struct House {
    upstream: Upstream,
    sidegate: Sidegate,
}

impl House {
    /// `legacy` slides and never refreshes; `modern` does neither.
    async fn new(more: &str) -> House {
        House::with(&[], more, "policy: { audiences: [orders-api] }").await
    }

    async fn with(clients: &[String], more: &str, route: &str) -> House {
        let upstream = Upstream::start().await;
        let sidegate = Sidegate::start(&yaml(&upstream, clients, &[user("ana", "")], more, route)).await;
        House { upstream, sidegate }
    }

    async fn sign_in(&self, id: &str) -> String {
        let body =
            format!("grant_type=password&username=ana&password={PASSWORD}&client_id={id}&client_secret={SECRET}");
        text(&token(&self.sidegate, &body).await, "access_token")
    }

    async fn status(&self, token: &str) -> http::StatusCode {
        get(self.sidegate.public, "/", token).await.status
    }

    /// Steps that moved an end. What is beside a request is waited for.
    async fn slid(&self, least: u64) -> u64 {
        let mut slid = 0;
        for _ in 0..2000 {
            slid = self.count("renewed", "slid").await;
            if slid >= least {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slid
    }

    async fn count(&self, result: &str, reason: &str) -> u64 {
        let labels = format!("{{kind=\"access_token\",reason=\"{reason}\",result=\"{result}\"}}");
        self.sidegate.metric(&format!("sidegate_renewals_total{labels}")).await
    }

    async fn finds(&self) -> u64 {
        self.sidegate.metric("sidegate_session_operations_total{op=\"find\",result=\"ok\",store=\"memory\"}").await
    }
}

fn yaml(upstream: &Upstream, clients: &[String], users: &[String], more: &str, route: &str) -> String {
    let of =
        |id: &str, more: &str| client(id, &format!("grants: [password, client_credentials], scopes: [orders], {more}"));
    let mut all = vec![of("legacy", SLIDES), of("modern", "access_token: { lifetime: 1h }")];
    all.extend(clients.iter().cloned());
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients: [{}]\n  users: [{}]\n\
         store: {{ memory: {{}} }}\n{more}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ none: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, {route} }}]\n",
        all.join(", "),
        users.join(", "),
        upstream.address
    )
}

#[tokio::test]
async fn a_client_that_never_refreshes_is_served_for_thirty_days_and_then_no_more() {
    let house = House::new("").await;
    let token = house.sign_in("legacy").await;
    let mut slid = 0;
    // Once in 25 minutes, at odd times: never so late that no request falls into the second half of a life.
    for step in 1..=(30 * DAY - 1) / (25 * MINUTE) {
        house.sidegate.time.advance(25 * MINUTE);
        assert_eq!(house.status(&token).await, 200, "request {step}");
        let due = (step as u64) / 2;
        slid = house.slid(due).await;
        assert_eq!(slid, due, "request {step}");
    }
    assert!(slid > 800, "{slid}");
    house.sidegate.time.advance(25 * MINUTE);
    for _ in 0..3 {
        assert_invalid_token(&get(house.sidegate.public, "/", &token).await);
    }
    assert_eq!(house.slid(slid).await, slid);
}

#[tokio::test]
async fn a_token_that_slides_costs_one_step_for_half_a_life_and_no_look_at_the_store_between() {
    let house = House::new("").await;
    let token = house.sign_in("legacy").await;
    assert_eq!(house.status(&token).await, 200);
    let looked = house.finds().await;
    for _ in 0..20 {
        assert_eq!(house.status(&token).await, 200);
    }
    house.sidegate.time.advance(29 * MINUTE);
    assert_eq!(house.status(&token).await, 200);
    assert_eq!((house.finds().await, house.slid(0).await), (looked, 0), "it is fresh");
    house.sidegate.time.advance(MINUTE);
    let many = (0..32).map(|_| house.status(&token));
    assert!(futures_util::future::join_all(many).await.into_iter().all(|status| status == 200));
    assert_eq!(house.slid(1).await, 1);
    let looked = house.finds().await;
    house.sidegate.time.advance(29 * MINUTE);
    for _ in 0..20 {
        assert_eq!(house.status(&token).await, 200);
    }
    assert_eq!((house.finds().await, house.slid(0).await), (looked, 1));
}

#[tokio::test]
async fn a_token_that_is_not_used_in_time_is_over() {
    let house = House::new("").await;
    let token = house.sign_in("legacy").await;
    assert_eq!(house.status(&token).await, 200);
    house.sidegate.time.advance(HOUR);
    assert_invalid_token(&get(house.sidegate.public, "/", &token).await);
    assert_eq!(house.slid(0).await, 0);
}

#[tokio::test]
async fn a_token_that_was_not_used_in_time_slides_as_long_as_that_is_accepted() {
    let house = House::new("refresh: { accept_expired_for: 8h }").await;
    let token = house.sign_in("legacy").await;
    for _ in 0..3 {
        house.sidegate.time.advance(9 * HOUR - MINUTE);
        // Several at once, each of which waits.
        let many = (0..8).map(|_| house.status(&token));
        assert!(futures_util::future::join_all(many).await.into_iter().all(|status| status == 200));
    }
    assert_eq!(house.slid(3).await, 3);
    house.sidegate.time.advance(9 * HOUR);
    assert_invalid_token(&get(house.sidegate.public, "/", &token).await);
}

#[tokio::test]
async fn what_does_not_slide_ends_when_it_says_so_whatever_is_accepted() {
    let house = House::new("refresh: { accept_expired_for: 8h }").await;
    let own = format!("grant_type=client_credentials&client_id=legacy&client_secret={SECRET}");
    let tokens = [house.sign_in("modern").await, text(&token(&house.sidegate, &own).await, "access_token")];
    for _ in 0..2 {
        for token in &tokens {
            assert_eq!(house.status(token).await, 200);
        }
        house.sidegate.time.advance(30 * MINUTE);
    }
    for token in &tokens {
        assert_invalid_token(&get(house.sidegate.public, "/", token).await);
    }
    assert_eq!((house.slid(0).await, house.upstream.count() > 0), (0, true));
}

#[tokio::test]
async fn a_revoked_token_never_slides_also_not_when_it_is_over() {
    let house = House::new("refresh: { accept_expired_for: 8h }").await;
    for late in [40 * MINUTE, 2 * HOUR] {
        let token = house.sign_in("legacy").await;
        assert_eq!(house.status(&token).await, 200);
        house.sidegate.time.advance(late);
        let revoke = format!("token={token}&client_id=legacy&client_secret={SECRET}");
        assert_eq!(send(house.sidegate.public, form("/oauth20/revoke", &revoke, &[])).await.status, 200);
        assert_invalid_token(&get(house.sidegate.public, "/", &token).await);
    }
    assert_eq!(house.slid(0).await, 0);
}

#[tokio::test]
async fn what_was_taken_from_the_client_or_the_user_does_not_slide() {
    let route = "policy: { audiences: [orders-api] }";
    let house = House::new("").await;
    let other = client("other", &format!("grants: [password], scopes: [orders], {SLIDES}"));
    let off = client("other", &format!("grants: [password], enabled: false, scopes: [orders], {SLIDES}"));
    let narrower = client("other", &format!("grants: [password], scopes: [], {SLIDES}"));
    let (ana, gone) = (user("ana", ""), user("ana", "enabled: false"));
    for (clients, user, at_once) in [(&off, &ana, true), (&other, &gone, true), (&narrower, &ana, false)] {
        let before = yaml(&house.upstream, std::slice::from_ref(&other), std::slice::from_ref(&ana), "", route);
        house.sidegate.reload(&before).await;
        let token = house.sign_in("other").await;
        assert_eq!(house.status(&token).await, 200);
        let after = yaml(&house.upstream, std::slice::from_ref(clients), std::slice::from_ref(user), "", route);
        house.sidegate.reload(&after).await;
        house.sidegate.time.advance(40 * MINUTE);
        assert_eq!(house.status(&token).await == 401, at_once);
        house.sidegate.time.advance(20 * MINUTE);
        assert_invalid_token(&get(house.sidegate.public, "/", &token).await);
    }
    assert_eq!(house.slid(0).await, 0);
}

#[tokio::test]
async fn the_refresh_token_keeps_its_idle_end_unless_that_is_configured() {
    for (more, moves) in [("", false), ("refresh: { extends_idle: true }", true)] {
        let both = client("both", &format!("grants: [password, refresh_token], scopes: [orders], {SLIDES}"));
        let house = House::with(&[both], more, "policy: { audiences: [orders-api] }").await;
        let token = house.sign_in("both").await;
        let sessions = sessions(&house.sidegate);
        let id = sessions.ring().read_access(&token).unwrap().session;
        let before = sessions.find(id).await.unwrap().unwrap().state;
        house.sidegate.time.advance(40 * MINUTE);
        assert_eq!(house.status(&token).await, 200);
        assert_eq!(house.slid(1).await, 1);
        let after = sessions.find(id).await.unwrap().unwrap().state;
        let by = if moves { 40 * MINUTE as u64 } else { 0 };
        assert_eq!((after.idle_until, after.absolute), (before.idle_until.plus(by), before.absolute));
    }
}

#[tokio::test]
async fn a_token_slides_also_where_its_route_only_observes() {
    let house = House::with(&[], "", "mode: observe, policy: { audiences: [orders-api] }").await;
    let token = house.sign_in("legacy").await;
    house.sidegate.time.advance(40 * MINUTE);
    assert_eq!(house.status(&token).await, 200);
    assert_eq!(house.slid(1).await, 1);
}

#[tokio::test]
async fn each_slide_is_one_line_of_the_audit_stream_without_the_token() {
    written();
    const ID: &str = "slides-audited";
    let audited = client(ID, &format!("grants: [password], scopes: [orders], {SLIDES}"));
    let house = House::with(&[audited], "", "policy: { audiences: [orders-api] }").await;
    let token = house.sign_in(ID).await;
    house.sidegate.time.advance(40 * MINUTE);
    assert_eq!(house.status(&token).await, 200);
    assert_eq!(house.slid(1).await, 1);
    let seen: Vec<_> = events(ID).iter().map(|line| json!([line["event"], line["subject"]])).collect();
    assert_eq!(seen, [json!(["granted", "sub-ana"]), json!(["access_token_renewed", "sub-ana"])]);
    assert!(!written().text().contains(&token));
}

#[tokio::test]
async fn explain_says_when_a_request_lets_the_token_slide() {
    let house = House::new("").await;
    let token = house.sign_in("legacy").await;
    let (text, _) = house.sidegate.explained(&token).await;
    assert!(text.contains("or later lets it slide: it is good for 1h from then on"), "{text}");
    let modern = house.sign_in("modern").await;
    let (text, _) = house.sidegate.explained(&modern).await;
    assert!(!text.contains("slide"), "{text}");
}
