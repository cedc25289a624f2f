//! Streams that outlive their token: who closes them, when, and how the client sees it.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use sidegate::session::{SessionId, record::RevocationReason};

use crate::{
    oauth::house::{as_app, client, password, sessions, text, token, user},
    support::{Issuer, Scripted, Sidegate, Wire, client::h2, issuer::Key, must},
};

struct Setup {
    upstream: Scripted,
    issuer: Issuer,
    sidegate: Sidegate,
}

impl Setup {
    async fn new(route: &str) -> Setup {
        let (upstream, issuer) = (Scripted::start().await, Issuer::new());
        let sidegate = Sidegate::start(&yaml(&upstream, &issuer, route)).await;
        Setup { upstream, issuer, sidegate }
    }

    /// A token of a session that goes on after it, and how many seconds it is good for.
    async fn signed_in(&self) -> (SessionId, String, i64) {
        let reply = password(&self.sidegate).await;
        let all = sessions(&self.sidegate).list(Default::default(), None, 10).await.unwrap();
        (all[0].id, text(&reply, "access_token"), reply.json()["expires_in"].as_i64().unwrap())
    }

    async fn revoke(&self, id: SessionId) {
        sessions(&self.sidegate).revoke(id, RevocationReason::Operator).await.unwrap();
    }

    /// Events under way: the client's end and the upstream's.
    async fn events(&self, token: &str) -> (Wire, Wire) {
        let mut wire = Wire::connect(self.sidegate.public).await;
        wire.say(head("GET /events", token) + "\r\n").await;
        let mut answering = self.upstream.next().await;
        answering.head().await;
        answering.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
        wire.head().await;
        still_going((wire, answering)).await
    }

    async fn closed(&self, reason: &str) -> f64 {
        self.sidegate.series(&format!("sidegate_streams_closed_total{{reason=\"{reason}\",route=\"all\"}}")).await
    }
}

/// One more event goes through.
async fn still_going((mut wire, mut answering): (Wire, Wire)) -> (Wire, Wire) {
    answering.say("d\r\ndata: event\n\n\r\n").await;
    wire.until("data: event\n\n").await;
    (wire, answering)
}

fn yaml(upstream: &Scripted, issuer: &Issuer, route: &str) -> String {
    format!(
        "{}authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n    - {}\n  users:\n    - {}\n\
         store: {{ memory: {{}} }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ none: {{}} }} }}]\n\
         routes:\n  - name: all\n    paths: [/, \"/*\"]\n    upstream: app\n    policy: {{ audiences: [orders-api] }}\n{route}",
        issuer.yaml(),
        client("app", "grants: [password, client_credentials, refresh_token]"),
        user("ana", ""),
        upstream.address,
    )
}

/// Without its empty line.
fn head(line: &str, token: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn events_go_on_beyond_their_token_and_are_cut_when_the_session_is_ended() {
    let setup = Setup::new("").await;
    let (id, token, life) = setup.signed_in().await;
    let events = setup.events(&token).await;
    setup.sidegate.time.advance(life + 60);
    let (mut wire, mut answering) = still_going(events).await;
    setup.revoke(id).await;
    assert!(!wire.rest().await.contains("0\r\n\r\n"), "ended as if it were whole");
    answering.rest().await;
    assert_eq!(setup.closed("session_ended").await, 1.0);
}

#[tokio::test]
async fn a_session_that_comes_to_its_own_end_takes_its_streams_with_it() {
    let setup = Setup::new("").await;
    let reply = token(&setup.sidegate, &as_app("grant_type=client_credentials")).await;
    let (mut wire, mut answering) = setup.events(&text(&reply, "access_token")).await;
    setup.sidegate.time.advance(reply.json()["expires_in"].as_i64().unwrap() + 1);
    assert!(!wire.rest().await.contains("0\r\n\r\n"));
    answering.rest().await;
    assert_eq!(setup.closed("session_ended").await, 1.0);
}

#[tokio::test]
async fn a_route_may_close_its_streams_with_the_token_that_began_them() {
    let setup = Setup::new("    on_expiry: close_at_expiry\n").await;
    let (_, token, life) = setup.signed_in().await;
    let (mut wire, mut answering) = setup.events(&token).await;
    let (mut of_others, mut answering_others) = setup.events(&setup.issuer.token()).await;
    setup.sidegate.time.advance(life.max(600) + 60);
    for wire in [&mut wire, &mut of_others, &mut answering, &mut answering_others] {
        assert!(!wire.rest().await.contains("0\r\n\r\n"));
    }
    assert_eq!(setup.closed("token_expired").await, 2.0);
}

#[tokio::test]
async fn a_route_may_keep_its_streams_whatever_becomes_of_the_session() {
    let setup = Setup::new("    on_expiry: keep\n").await;
    let (id, token, life) = setup.signed_in().await;
    let events = setup.events(&token).await;
    setup.sidegate.time.advance(life + 60);
    setup.revoke(id).await;
    let (mut wire, mut answering) = still_going(still_going(events).await).await;
    answering.say("0\r\n\r\n").await;
    wire.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_tunnel_is_shut_down_both_ways_when_its_session_is_ended() {
    let setup = Setup::new("").await;
    let (id, token, life) = setup.signed_in().await;
    let mut wire = Wire::connect(setup.sidegate.public).await;
    wire.say(head("GET /chat", &token) + "connection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let mut answering = setup.upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101"));
    setup.sidegate.time.advance(life + 60);
    wire.say("ping").await;
    answering.until("ping").await;
    answering.say("pong").await;
    wire.until("pong").await;
    setup.revoke(id).await;
    assert_eq!((wire.rest().await, answering.rest().await), (String::new(), String::new()));
    assert_eq!(setup.closed("session_ended").await, 1.0);
}

#[tokio::test]
async fn a_stream_over_http2_is_reset_with_cancel() {
    let setup = Setup::new("").await;
    let (id, token, _) = setup.signed_in().await;
    let mut sender = h2::<Empty<Bytes>>(setup.sidegate.public).await;
    let asked = Request::post("http://api.test/orders.Orders/Watch")
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::new())
        .unwrap();
    let response = tokio::spawn(async move { sender.send_request(asked).await.unwrap() });
    let mut answering = setup.upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let mut body = must(response).await.unwrap().into_body();
    answering.say("3\r\none\r\n").await;
    assert_eq!(must(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    setup.revoke(id).await;
    let error = must(body.frame()).await.unwrap().unwrap_err();
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<::h2::Error>()).unwrap();
    assert_eq!(cause.reason(), Some(::h2::Reason::CANCEL));
    answering.rest().await;
}

#[tokio::test]
async fn a_stream_of_somebody_else_s_token_ends_with_the_key_that_signed_it() {
    let setup = Setup::new("").await;
    let events = setup.events(&setup.issuer.token()).await;
    setup.sidegate.time.advance(3600);
    let (mut wire, mut answering) = still_going(events).await;
    setup.issuer.publish(&[Key::es256("k2").jwk]);
    setup.sidegate.time.advance(3600);
    assert!(!wire.rest().await.contains("0\r\n\r\n"));
    answering.rest().await;
    assert_eq!(setup.closed("key_gone").await, 1.0);
}

#[tokio::test]
async fn what_is_answered_in_one_piece_comes_whole_also_if_the_session_ends_meanwhile() {
    let setup = Setup::new("    on_expiry: close_at_expiry\n").await;
    let (id, token, _) = setup.signed_in().await;
    let mut wire = Wire::connect(setup.sidegate.public).await;
    wire.say(head("GET /", &token) + "\r\n").await;
    let mut answering = setup.upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
    wire.until("first").await;
    setup.revoke(id).await;
    assert!(wire.is_silent().await);
    answering.say("-last").await;
    wire.until("-last").await;
}
