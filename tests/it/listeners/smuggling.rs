//! What hyper makes of requests whose end two parsers could see in different places: never two requests.

use super::harness::{SOON, Server, listener_with};

/// Sends `bytes` and returns what comes back until the server closes, and how many requests it saw.
async fn sent(bytes: &str) -> (String, usize) {
    let server = Server::start(listener_with(|listener| {
        listener.limits.header_read_timeout = SOON;
        listener.limits.idle_timeout = SOON;
    }));
    let mut client = server.connect().await;
    client.send(bytes).await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    (answer, server.requests())
}

async fn refused(bytes: &str) {
    let (answer, requests) = sent(bytes).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    assert_eq!(requests, 0, "{bytes:?}");
}

#[tokio::test]
async fn content_length_beside_transfer_encoding_never_makes_two_requests() {
    for lengths in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let bytes = format!(
            "POST /echo HTTP/1.1\r\nhost: test\r\n{lengths}\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: test\r\n\r\n"
        );
        let (answer, requests) = sent(&bytes).await;
        assert!(requests <= 1, "{bytes:?}: {answer}");
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused() {
    for lengths in [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: +4",
        "content-length: -1",
        "content-length: 0x4",
        "content-length: ",
        "content-length: 99999999999999999999",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
    ] {
        refused(&format!("POST /echo HTTP/1.1\r\nhost: test\r\n{lengths}\r\n\r\nabcd")).await;
    }
}

#[tokio::test]
async fn folded_lines_and_blanks_before_the_colon_are_refused() {
    for header in
        ["x: a\r\n b", "transfer-encoding:\r\n chunked", "transfer-encoding : chunked", "x y: z", ": z", "x\0: y"]
    {
        refused(&format!("POST /echo HTTP/1.1\r\nhost: test\r\n{header}\r\n\r\n0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn a_bad_request_line_is_refused() {
    for line in ["GET  / HTTP/1.1", "GET / HTTP/1.2", "GET / HTTP/11", "GET /\t HTTP/1.1", "G@T / HTTP/1.1", "GET /"] {
        refused(&format!("{line}\r\nhost: test\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn after_a_bad_chunk_nothing_is_read() {
    for chunk in
        ["zz\r\nabc", "-1\r\nabc", "3 3\r\nabc", "3\nabc", "3\r\nabcd\r\n", "ffffffffffffffff1\r\nabc", "0x3\r\nabc"]
    {
        let bytes = format!(
            "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n{chunk}\r\n0\r\n\r\n\
             GET /admin HTTP/1.1\r\nhost: test\r\n\r\n"
        );
        let (answer, requests) = sent(&bytes).await;
        assert!(requests <= 1, "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn an_unread_body_is_never_taken_for_a_request() {
    let hidden = "GET /admin HTTP/1.1\r\nhost: test\r\n\r\n";
    let bytes = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len());
    let (answer, requests) = sent(&bytes).await;
    assert_eq!(requests, 1, "{answer}");
}
