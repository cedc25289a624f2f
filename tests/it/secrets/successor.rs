//! The same with access tokens that answers carry: only their client sees them.

use std::time::Duration;

use http::Request;
use http_body_util::Full;

use super::{Program, Secrets};
use crate::{
    oauth::house::{PASSWORD, SECRET, client, form, text, user},
    support::{Upstream, client::request, send},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_token_is_in_the_answer_and_nowhere_else() {
    let (mut secrets, upstream) = (Secrets::new(), Upstream::start().await);
    let app = client("app", "grants: [password], access_token: { renewal: successor, format: jwt, lifetime: 2s }");
    let program = Program::start(
        &secrets.directory,
        &format!(
            "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nworkers: 1\nlog: {{ level: debug, access: all, format: json }}\n\
             store: {{ memory: {{}} }}\nrefresh: {{ accept_expired_for: 1h }}\nauthority:\n  issuer: http://127.0.0.1:8080\n  \
             audiences: [orders-api]\n  clients: [{app}]\n  users: [{}]\n\
             upstreams: [{{ name: app, url: \"http://{}\", credential: {{ original: {{}} }} }}]\n\
             routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
            user("ana", ""),
            upstream.address
        ),
    );
    let public = program.address("main").await;
    let body = format!("grant_type=password&username=ana&password={PASSWORD}&client_id=app&client_secret={SECRET}");
    let token = text(&send(public, form("/oauth20/token", &body, &[])).await, "access_token");
    secrets.token(token.clone());
    // The program has a clock of its own: the second half of a life begins after a second.
    let mut next = None;
    for _ in 0..2000 {
        let reply = send(public, request("GET", "/", &token)).await;
        assert_eq!(reply.status, 200);
        next = reply.header("x-access-token").map(str::to_owned);
        if next.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = secrets.token(next.expect("no token came"));
    assert_eq!(upstream.last().header("authorization"), Some(&*format!("Bearer {next}")));
    assert_eq!(send(public, request("GET", "/", &next)).await.status, 200);
    for (listener, path) in [("health", "/metrics"), ("health", "/readyz"), ("admin", "/status")] {
        let address = program.address(listener).await;
        let asked = Request::builder().uri(path).header("host", "localhost").body(Full::default()).unwrap();
        secrets.assert_absent("an answer", send(address, asked).await.text());
    }
    let mut program = program;
    program.signal("-TERM");
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.written());
    let written = program.written();
    assert!(written.contains("access_token_succeeded"), "it was not talkative: {written}");
    secrets.assert_absent("the log", &written);
}
