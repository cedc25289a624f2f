//! Connections that are to leave HTTP.

use super::{REFUSAL, Wired};

#[tokio::test]
async fn an_upgrade_that_was_refused_once_becomes_a_tunnel_with_the_new_token() {
    let mut wired = Wired::new("", "").await;
    wired.say("GET /ws", "connection: upgrade\r\nupgrade: echo\r\n", "").await;
    let mut first = wired.upstream.next().await;
    first.head().await;
    first.say(REFUSAL).await;
    let mut second = wired.upstream.next().await;
    let head = second.head().await;
    assert!(head.contains("upgrade: echo\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    second.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nwelcome").await;
    let answer = wired.client.until("welcome").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    wired.client.say("ping").await;
    assert_eq!(second.until("ping").await, "ping");
    second.say("pong").await;
    assert_eq!(wired.client.until("pong").await, "pong");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_twice_is_answered_like_any_request() {
    let mut wired = Wired::new("", "").await;
    wired.say("GET /ws", "connection: upgrade\r\nupgrade: echo\r\n", "").await;
    for _ in 0..2 {
        let mut upstream = wired.upstream.next().await;
        upstream.head().await;
        upstream.say(REFUSAL).await;
    }
    assert!(wired.client.until("no").await.starts_with("HTTP/1.1 401"));
}
