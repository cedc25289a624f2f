//! The same with an authority outside: its tokens, what it is asked with, and what users are sent there and back with.

use std::{fs, net::SocketAddr, time::Duration};

use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Program, Secrets};
use crate::{
    broker::provider::{Provider, SECRET_THERE, sent},
    oauth::{
        browser::answer,
        house::{client, form, public, text},
    },
    service::house::{self as service, By},
    support::{
        Issuer, Reply, Upstream,
        authority::{Authority, CANARY, Mood, Speech},
        client::request,
        issuer::Served,
        send,
    },
};

const SECRET: &str = crate::oauth::house::SECRET;

/// A program with this authority and these dialects, and whatever was ever answered by it to those who are not to know.
struct Talk {
    secrets: Secrets,
    program: Program,
    public: SocketAddr,
}

impl Talk {
    async fn start(mut secrets: Secrets, dialects: &str, authority: &str, upstream: &Upstream) -> Talk {
        secrets.marks.extend([SECRET, SECRET_THERE].map(Into::into));
        fs::write(secrets.directory.join("there"), SECRET_THERE).unwrap();
        let config = format!(
            "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nworkers: 1\nlog: {{ level: debug, access: all, format: json }}\n\
             store: {{ memory: {{}} }}\n{dialects}authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n\
             {authority}upstreams: [{{ name: app, url: \"http://{}\", credential: {{ authority_token: {{}} }} }}]\n\
             routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ issuers: [local], audiences: [orders-api] }} }}]\n",
            upstream.address
        );
        let program = Program::start(&secrets.directory, &config);
        let public = program.address("main").await;
        Talk { secrets, program, public }
    }

    async fn token(&self, body: &str) -> Reply {
        let body = format!("{body}&client_id=app&client_secret={SECRET}");
        send(self.public, form("/oauth20/token", &body, &[])).await
    }

    /// The client's own tokens are for it, and for nobody who reads logs.
    fn granted(&mut self, reply: &Reply) -> (String, String) {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.text().contains("canary"), "{}", reply.text());
        let tokens = (text(reply, "access_token"), text(reply, "refresh_token"));
        self.secrets.marks.extend([tokens.0.clone(), tokens.1.clone()]);
        tokens
    }

    /// What of the authority is shown to nobody: refusals, pages, metrics and lines.
    fn refused(&self, reply: &Reply) -> u16 {
        let told = format!("{:?}\n{}", reply.headers, reply.text());
        self.secrets.assert_absent("an answer", &told);
        reply.status.as_u16()
    }

    async fn end(mut self, lines: &[&str]) {
        for (listener, path) in [("health", "/metrics"), ("health", "/readyz"), ("admin", "/status")] {
            let address = self.program.address(listener).await;
            let asked = Request::builder().uri(path).header("host", "localhost").body(Full::default()).unwrap();
            self.refused(&send(address, asked).await);
        }
        self.program.signal("-TERM");
        assert_eq!(self.program.ended().await.code(), Some(0), "{}", self.program.written());
        let written = self.program.written();
        for line in lines {
            assert!(written.contains(line), "it was not talkative: {written}");
        }
        self.secrets.assert_absent("the log", &written);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_sign_in_at_the_authority_outside_is_ever_written_or_answered() {
    let (provider, upstream) = (Provider::start().await, Upstream::start().await);
    let mut secrets = Secrets::new();
    // Access, refresh and ID tokens of the provider, its codes, and what users type.
    secrets.marks.extend(["canary", "right-", "eyJ"].map(Into::into));
    let authority = format!(
        "  remote: {{ dialect: oauth2, issuer: \"{}\", client: {{ id: sidegate, secret_file: there }} }}\n  clients:\n    - {}\n",
        provider.issuer,
        client(
            "app",
            "grants: [authorization_code, password, refresh_token], redirect_uris: [\"https://app.test/cb\"], \
             consent: skip, scopes: [openid, orders], default_scopes: [orders], pkce: false",
        ),
    );
    let mut talk = Talk::start(secrets, "", &authority, &upstream).await;
    for round in 0..3 {
        let ask = "/oauth20/authorize?client_id=app&response_type=code&state=canary-own-state&nonce=canary-own-nonce";
        let away = send(talk.public, request("GET", ask, "")).await;
        let (_, query) = sent(&away);
        let cookie = away.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        talk.secrets.marks.extend(["state", "nonce", "code_challenge"].map(|name| query[name].clone()));
        talk.secrets.marks.push(cookie.split_once('=').unwrap().1.to_owned());
        {
            let mut state = provider.state();
            state.claims = if round == 1 { json!({"nonce": "canary-other", "sub": "canary-sub"}) } else { json!({}) };
            state.broken = (round == 2).then_some(500);
        }
        let back = format!("/oauth20/callback?{}&extra=canary-extra", provider.sign_in(&query));
        for _ in 0..2 {
            let mut request = request("GET", &back, "");
            request.headers_mut().insert("cookie", HeaderValue::from_str(&cookie).unwrap());
            let told = send(talk.public, request).await;
            if told.status != 302 {
                assert_eq!(talk.refused(&told), 403, "a code that comes twice");
                continue;
            }
            let (_, said) = answer(&told);
            let Some(code) = said.get("code") else {
                assert_eq!(said["error"], "server_error");
                continue;
            };
            talk.secrets.marks.push(code.clone());
            let given = talk.token(&format!("grant_type=authorization_code&code={code}")).await;
            let (access, refresh) = talk.granted(&given);
            assert_eq!(send(talk.public, request_to(&access)).await.status, 200);
            assert!(upstream.last().header("authorization").unwrap().starts_with("Bearer canary-at-there-"));
            let renewed = talk.token(&format!("grant_type=refresh_token&refresh_token={refresh}")).await;
            talk.granted(&renewed);
            assert_eq!(talk.refused(&talk.token("grant_type=password&username=ana&password=right-not").await), 400);
            talk.refused(&talk.token(&format!("grant_type=authorization_code&code={code}")).await);
        }
        for query in
            ["error=canary-error&error_description=canary-%3Cb%3E", "code=canary-code", "state=canary&state=canary"]
        {
            let path = format!("/oauth20/callback?{query}&state=canary-state");
            talk.refused(&send(talk.public, request("GET", &path, "")).await);
        }
    }
    let lines = ["\"signed_in\"", "\"nonce_differs\"", "the authority outside"];
    talk.end(&lines).await;
}

fn request_to(token: &str) -> Request<Full<bytes::Bytes>> {
    request("GET", "/orders?token=canary-query", token)
}

/// An API that has its secrets in URLs, served and spoken.
const IN_URLS: &str = "dialects:
  - name: acme
    endpoints:
      - grant: api_key
        path: /acme/token
        requests: [{ form: query, body: { key: \"{api_key}\", id: \"{client_id}\", pass: \"{client_secret}\" } }]
      - grant: password
        path: /acme/login
        requests: [{ form: query, body: { name: \"{username}\", word: \"{password}\", id: \"{client_id}\", pass: \"{client_secret}\" } }]
      - grant: refresh_token
        path: /acme/renew
        requests: [{ form: query, body: { token: \"{refresh_token}\", id: \"{client_id}\", pass: \"{client_secret}\" } }]
    responses: [{ body: { token: \"{access_token}\", renewal: \"{refresh_token}\", seconds: \"{expires_in}\" } }]
    errors: [{ body: { code: \"{code}\" } }]
";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_in_the_url_of_a_declared_dialect_is_ever_written_or_answered() {
    let given = json!({"token": "canary-at", "renewal": "canary-rt", "seconds": 300, "code": null}).to_string();
    let (there, upstream) = (Served::start(200, given.clone()).await, Upstream::start().await);
    let mut secrets = Secrets::new();
    secrets.marks.push("canary".into());
    let authority = format!(
        "  remote: {{ dialect: acme, url: \"{}\", client: {{ id: sidegate, secret_file: there }} }}\n  endpoints: {{ declared: [{{ dialect: acme }}] }}\n  clients:\n    - {}\n    - {}\n",
        there.url,
        client("app", "grants: [password, api_key, refresh_token]"),
        public("pos", "grants: [api_key, refresh_token]"),
    );
    let mut talk = Talk::start(secrets, IN_URLS, &authority, &upstream).await;
    let by_key = format!("/acme/token?key=canary-key&id=app&pass={SECRET}");
    let obtained = send(talk.public, request("GET", &by_key, "")).await;
    assert_eq!(obtained.status, 200, "{}", obtained.text());
    let (access, renewal) = (text(&obtained, "token"), text(&obtained, "renewal"));
    assert!(!obtained.text().contains("canary"));
    talk.secrets.marks.extend([access.clone(), renewal.clone()]);
    assert_eq!(send(talk.public, request_to(&access)).await.status, 200);
    assert_eq!(upstream.last().header("authorization"), Some("Bearer canary-at"));
    let typed = talk.token("grant_type=password&username=ana&password=canary-password").await;
    talk.granted(&typed);
    let renew = format!("/acme/renew?token={renewal}&id=app&pass={SECRET}");
    let error = |code: &str| json!({"code": code, "text": "canary-text"}).to_string();
    for (status, body) in [
        (500, "canary <html>".to_owned()),
        (302, String::new()),
        (400, error("canary-code")),
        (401, error("invalid_client")),
        (401, Value::String("canary".to_owned()).to_string()),
        (200, "{\"token\": \"canary".to_owned()),
        (200, json!({"token": "canary\r\nX-Injected: canary", "seconds": 60}).to_string()),
    ] {
        there.set(status, body);
        for path in [&by_key, &renew, &"/acme/renew?token=canary&id=app&pass=canary".to_owned()] {
            let reply = send(talk.public, request("GET", path, "")).await;
            if reply.status == 200 {
                assert!(!reply.text().contains("canary"));
                let before = upstream.count();
                send(talk.public, request_to(&text(&reply, "token"))).await;
                // The new one has a line break, and is never shown.
                let shown = upstream.last();
                assert!(upstream.count() == before || shown.header("authorization") == Some("Bearer canary-at"));
                assert_eq!(shown.header("x-injected"), None);
                continue;
            }
            talk.refused(&reply);
        }
        talk.refused(&talk.token("grant_type=password&username=ana&password=canary-password").await);
    }
    for path in ["/acme/token?key=canary&key=canary", "/acme/token?canary=canary", "/acme/token?%00canary"] {
        assert_eq!(talk.refused(&send(talk.public, request("GET", path, "")).await), 400);
        assert_eq!(talk.refused(&send(talk.public, request("POST", path, "")).await), 405);
    }
    talk.end(&["\"route\":\"acme:token\"", "the authority outside"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_a_service_token_is_got_with_and_no_such_token_is_ever_written_or_answered() {
    let (authority, upstream, issuer) =
        (Authority::start(Speech::OAuth2).await, Upstream::start().await, Issuer::new());
    let mut secrets = Secrets::new();
    secrets.marks.push(CANARY.into());
    let config = format!(
        "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nworkers: 1\nlog: {{ level: debug, access: all, format: json }}\n\
         refresh: {{ wait: 200ms }}\n{}",
        service::yaml(&issuer, &upstream, &By::Password.yaml(&authority), ""),
    );
    authority.is(Mood::Garbage);
    let program = Program::start(&secrets.directory, &config);
    let public = program.address("main").await;
    let ask = async || send(public, request("GET", "/", &issuer.token())).await;
    for mood in [Mood::Garbage, Mood::InvalidClient, Mood::Status(500)] {
        authority.is(mood);
        assert_eq!(ask().await.status, 503);
    }
    authority.is(Mood::Good);
    let mut answered = ask().await;
    for _ in 0..200 {
        if answered.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answered = ask().await;
    }
    assert_eq!(answered.status, 200);
    assert!(upstream.last().header("authorization").unwrap().contains(CANARY));
    secrets.marks.push(issuer.token().split('.').nth(1).unwrap().to_owned());
    Talk { secrets, program, public }.end(&["the service token cannot be had", "service_renewed"]).await;
}
