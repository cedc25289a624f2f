//! The real program, talkative, with a mark in every secret: nothing that it writes or answers shows a mark.

mod outside;
mod successor;

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use serde_json::json;

use crate::support::{
    Issuer, Pair, Upstream,
    client::request,
    issuer::{Served, now, scratch},
    raw, send,
};

const SIDEGATE: &str = env!("CARGO_BIN_EXE_sidegate");

/// The program under test; it ends with the test.
pub struct Program {
    child: Child,
    directory: PathBuf,
}

impl Program {
    pub fn start(directory: &Path, config: &str) -> Program {
        fs::write(directory.join("sidegate.yaml"), config).unwrap();
        let child = command("run", directory, "sidegate.yaml", "out").spawn().unwrap();
        Program { child, directory: directory.into() }
    }

    pub fn written(&self) -> String {
        let read = |name| String::from_utf8_lossy(&fs::read(self.directory.join(name)).unwrap()).into_owned();
        read("out.stdout") + &read("out.stderr")
    }

    /// The address that the log names for `listener`.
    pub async fn address(&self, listener: &str) -> SocketAddr {
        for _ in 0..2000 {
            for line in self.written().lines() {
                if let Ok(line) = serde_json::from_str::<serde_json::Value>(line)
                    && line["listener"] == listener
                    && let Some(address) = line["address"].as_str()
                {
                    return address.parse().unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no address of {listener}: {}", self.written());
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..2000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it does not end: {}", self.written());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(name: &str, directory: &Path, config: &str, output: &str) -> Command {
    let mut command = Command::new(SIDEGATE);
    command.args([name, "-c", config]).current_dir(directory).env("CANARY", "canary-environment-5f1");
    command.env_remove("RUST_BACKTRACE");
    command.stdout(File::create(directory.join(format!("{output}.stdout"))).unwrap());
    command.stderr(File::create(directory.join(format!("{output}.stderr"))).unwrap());
    command
}

/// Secrets in files, and what of them must be seen nowhere.
struct Secrets {
    directory: PathBuf,
    marks: Vec<String>,
}

impl Secrets {
    fn new() -> Secrets {
        let directory = scratch("secrets");
        let basic = BASE64_STANDARD.encode("svc:canary-password-81c");
        let client = BASE64_STANDARD.encode("sidegate:canary-introspection-77e");
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        fs::write(directory.join("introspection"), "canary-introspection-77e").unwrap();
        fs::write(directory.join("password"), "canary-password-81c").unwrap();
        fs::write(directory.join("hs"), "canary-shared-secret-of-the-legacy-issuer-3d9").unwrap();
        fs::write(directory.join("internal.pem"), &key).unwrap();
        let mut marks: Vec<String> =
            ["canary-introspection-77e", "canary-password-81c", "canary-shared-secret", "canary-environment-5f1"]
                .map(Into::into)
                .to_vec();
        marks.push("canary-probe-a5".into());
        marks.extend([basic, client]);
        marks.extend(key.lines().filter(|line| !line.starts_with("-----")).map(Into::into));
        Secrets { directory, marks }
    }

    /// Something with a mark of its own.
    fn marked(&mut self, text: impl Into<String>) -> String {
        let text = text.into();
        self.marks.push(text.clone());
        text
    }

    /// A token, of which neither the whole nor the payload nor the signature may be seen.
    fn token(&mut self, token: String) -> String {
        self.marks.extend(token.split('.').skip(1).filter(|part| part.len() > 16).map(Into::into));
        token
    }

    #[track_caller]
    fn assert_absent(&self, place: &str, text: &str) {
        for mark in &self.marks {
            if let Some(at) = text.find(mark.as_str()) {
                let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
                let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
                panic!("{place} shows {mark:?}: {}", &text[start..end]);
            }
        }
    }
}

fn config(issuer: &Issuer, upstream: &Upstream, idp: &Served, broken: &Served) -> String {
    format!(
        r#"
listeners: [{{ name: main, address: "127.0.0.1:0" }}]
health: {{ address: "127.0.0.1:0" }}
admin: {{ address: "127.0.0.1:0" }}
workers: 1
log: {{ level: debug, access: all, format: json }}
issuers:
  - {{ name: corp, issuer: "{name}", algorithms: [ES256], jwks_file: "{jwks}" }}
  - name: opaque
    issuer: http://opaque.test
    algorithms: []
    introspection: {{ endpoint: "{idp}/introspect", client_id: sidegate, client_secret_file: introspection, negative_ttl: 1s }}
  - name: probed
    issuer: http://probed.test
    algorithms: []
    probe: {{ url: "{idp}/me", audiences: [orders-api], require: {{ /active: [true] }}, headers: {{ X-App: canary-probe-a5 }}, negative_ttl: 1s }}
  - {{ name: legacy, issuer: "http://old.test", hs_secret_file: hs, algorithms: [HS256] }}
  - {{ name: broken, issuer: "http://broken.test", jwks_uri: "{broken}" }}
internal_jwt: {{ issuer: "http://sidegate.test", key_file: internal.pem }}
upstreams:
  - {{ name: app, url: "http://{upstream}", credential: {{ internal_jwt: {{ audience: app }} }} }}
  - {{ name: old, url: "http://{upstream}", credential: {{ basic: {{ username: svc, password_file: password }} }} }}
  - {{ name: away, url: "http://127.0.0.1:1", credential: {{ original: {{}} }} }}
routes:
  - {{ name: app, paths: ["/app/*"], upstream: app, policy: {{ audiences: [orders-api] }} }}
  - {{ name: probed, paths: ["/probed/*"], upstream: app, policy: {{ issuers: [probed], audiences: [orders-api] }} }}
  - {{ name: old, paths: ["/old/*"], upstream: old, policy: {{ audiences: [orders-api] }}, token: {{ query_parameter: access_token }} }}
  - {{ name: key, paths: ["/key/*"], upstream: app, policy: {{ audiences: [orders-api] }}, token: {{ header: X-Api-Token }} }}
  - {{ name: away, paths: ["/away/*"], upstream: away, policy: {{ audiences: [orders-api] }} }}
  - {{ name: watch, paths: ["/watch/*"], upstream: app, mode: observe, policy: {{ audiences: [orders-api] }} }}
"#,
        name = crate::support::issuer::NAME,
        jwks = issuer.jwks_file().display(),
        idp = idp.url,
        broken = broken.url,
        upstream = upstream.address,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_written_or_answered() {
    let mut secrets = Secrets::new();
    let cookie = secrets.marked("canary-cookie-9a2");
    let set_cookie = secrets.marked("canary-set-cookie-4e0");
    let issuer = Issuer::new();
    let upstream = Upstream::answering(move |_| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
        response.headers_mut().insert("set-cookie", HeaderValue::from_str(&format!("s={set_cookie}")).unwrap());
        response
    })
    .await;
    let idp = Served::start(200, json!({"active": true, "aud": "orders-api", "sub": "ana"}).to_string()).await;
    let answer = secrets.marked("canary-jwks-answer-0c4");
    let skipped = json!({"keys": [{"kty": "oct", "kid": "x", "k": answer}, {"kty": answer}]});
    let broken = Served::start(200, skipped.to_string()).await;
    let program = Program::start(&secrets.directory, &config(&issuer, &upstream, &idp, &broken));
    let (public, health, admin) =
        (program.address("main").await, program.address("health").await, program.address("admin").await);

    let hidden = secrets.marked("canary-claim-6b7");
    let shared = Pair::secret(b"canary-shared-secret-of-the-legacy-issuer-3d9");
    let good = secrets.token(issuer.token_with(json!({"hidden": hidden})));
    let expired = secrets.token(issuer.token_with(json!({"exp": now() - 100})));
    let unknown = secrets.token(issuer.token_with(json!({"iss": hidden})));
    let legacy =
        secrets.token(shared.token(&json!({"iss": "http://old.test", "aud": "orders-api", "exp": now() + 60})));
    let foreign =
        secrets.token(shared.token(&json!({"iss": "http://broken.test", "aud": "orders-api", "exp": now() + 60})));
    let forged = secrets.token(Pair::new("ES256", "k1").token(&issuer.claims()));
    let opaque = secrets.marked("canary-opaque-token-2f8");
    let tokens = [&good, &expired, &unknown, &legacy, &foreign, &forged, &opaque];

    let (mut answered, mut raw_answers) = (String::new(), String::new());
    let mut note = |reply: crate::support::Reply| {
        for (name, value) in &reply.headers {
            // The upstream's own, for the client.
            if name != "set-cookie" {
                let _ = writeln!(answered, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
            }
        }
        let _ = writeln!(answered, "{}", String::from_utf8_lossy(&reply.body));
        reply.status.as_u16()
    };
    let with_cookie = |mut request: Request<Full<Bytes>>| {
        let value = HeaderValue::from_str(&format!("session={cookie}")).unwrap();
        request.headers_mut().insert("cookie", value);
        request
    };
    let mut statuses = Vec::new();
    for token in tokens {
        for path in ["/app/x", "/probed/x", "/old/x", "/away/x", "/watch/x", "/nowhere"] {
            statuses.push(note(send(public, with_cookie(request("GET", path, token))).await));
        }
        let mut by_header = request("POST", "/key/x", "");
        by_header.headers_mut().insert("x-api-token", HeaderValue::from_str(token).unwrap());
        note(send(public, with_cookie(by_header)).await);
        for path in [
            "/old/x?access_token=",
            "/app/x?access_token=",
            "/nowhere?access_token=",
            "/app/%00",
            "/nowhere/",
            "/app/..%2f",
        ] {
            note(send(public, with_cookie(request("GET", &format!("{path}{token}"), ""))).await);
        }
        for authorization in
            [format!("Basic {token}"), format!("Bearer {token}, x"), token.clone(), format!("Bearer\t{token}")]
        {
            for path in ["/app/x", "/watch/x"] {
                let mut request = request("GET", path, "");
                request.headers_mut().append("authorization", HeaderValue::from_str(&authorization).unwrap());
                request.headers_mut().append("authorization", HeaderValue::from_str(&authorization).unwrap());
                note(send(public, request).await);
            }
        }
        // Not even HTTP.
        raw_answers +=
            &raw(public, format!("GET /app {token} HTTP/1.1\r\nAuthorization {token}\r\n\r\n").as_bytes()).await;
        raw_answers += &long_header(public, token).await;
    }
    assert!(statuses.contains(&200) && statuses.contains(&401) && statuses.contains(&503), "{statuses:?}");

    for (status, body) in [
        (401, format!("{{\"error\":\"{answer}\"}}")),
        (200, format!("<html>{answer}")),
        (200, "{\"active\":false}".into()),
    ] {
        idp.set(status, body);
        let token = secrets.marked(format!("canary-opaque-{status}-{}", idp.asked()));
        note(send(public, request("GET", "/app/x", &token)).await);
        note(send(public, request("GET", "/probed/x", &token)).await);
    }

    reload_with_mistakes(&mut secrets, &program, admin, &mut note, &config(&issuer, &upstream, &idp, &broken)).await;

    for (address, path) in
        [(health, "/metrics"), (health, "/readyz"), (health, "/x"), (admin, "/status"), (admin, "/x")]
    {
        for accept in ["application/json", "text/html"] {
            let asked = Request::builder().uri(path).header("host", "localhost").header("accept", accept);
            note(send(address, asked.body(Full::default()).unwrap()).await);
        }
    }

    let mut program = program;
    program.signal("-TERM");
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.written());
    let written = program.written();
    assert!(written.contains("\"token_expired\"") && written.lines().count() > 100, "it was not talkative: {written}");
    secrets.assert_absent("the log", &written);
    secrets.assert_absent("an answer", &answered);
    secrets.assert_absent("an answer", &raw_answers);

    // The upstream: what was judged good came without the client's token.
    for seen in upstream.seen().iter().filter(|seen| !seen.target.starts_with("/watch/")) {
        let seen = format!("{seen:?}");
        for token in tokens {
            assert!(!seen.contains(token.as_str()), "the upstream received a client's token: {seen}");
        }
    }
}

/// More than a head may have: refused before anything is looked at.
async fn long_header(public: SocketAddr, token: &str) -> String {
    let padding = "x".repeat(40_000);
    let head = format!(
        "GET /app/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nX: {padding}\r\n\r\n"
    );
    raw(public, head.as_bytes()).await
}

/// Configurations in which a secret stands where something else belongs, each reloaded and each checked.
async fn reload_with_mistakes(
    secrets: &mut Secrets,
    program: &Program,
    admin: SocketAddr,
    note: &mut impl FnMut(crate::support::Reply) -> u16,
    good: &str,
) {
    let mark = secrets.marked("canary-misplaced-e51");
    let mistakes = [
        good.replace("client_secret_file: introspection", &format!("client_secret: {mark}")),
        good.replace("client_secret_file: introspection", &format!("client_secret: [{mark}")),
        good.replace("hs_secret_file: hs", &format!("hs_secret: \"{mark}\"")),
        good.replace("hs_secret_file: hs", &format!("secret: {{ value: {mark} }}")),
        good.replace("password_file: password", &format!("password: {mark}")),
        good.replace("password_file: password", &format!("password: {mark}\n\t bad")),
        good.replace("key_file: internal.pem", &format!("key: \"-----BEGIN PRIVATE KEY-----{mark}\"")),
        good.replace("internal_jwt: {", &format!("internal_jwt: {{ signing_key: \"{mark}\",")),
        good.replace("127.0.0.1:1\"", &format!("user:{mark}@127.0.0.1:1\"")),
        good.replace("workers: 1", "workers: ${CANARY}"),
        good.replace("level: debug", "level: ${CANARY}"),
        good.replace("client_id: sidegate", "client_id: sidegate, cache_ttl: \"${CANARY}\""),
    ];
    for (index, mistake) in mistakes.iter().enumerate() {
        assert_ne!(mistake, good, "mistake {index} is none");
        fs::write(secrets.directory.join("sidegate.yaml"), mistake).unwrap();
        program.signal("-HUP");
        let mut failed = 0;
        for _ in 0..2000 {
            let asked = Request::builder().uri("/status").header("host", "localhost").body(Full::default()).unwrap();
            let reply = send(admin, asked).await;
            failed = reply.json()["reloads"]["failed"].as_u64().unwrap();
            if failed == index as u64 + 1 {
                note(reply);
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(failed, index as u64 + 1, "mistake {index} was taken over: {}", program.written());
        let status = command("check", &secrets.directory, "sidegate.yaml", "check").status().unwrap();
        assert_eq!(status.code(), Some(64), "mistake {index}");
        for output in ["check.stdout", "check.stderr"] {
            let text = fs::read_to_string(secrets.directory.join(output)).unwrap();
            secrets.assert_absent(&format!("check of mistake {index}"), &text);
        }
    }
}
