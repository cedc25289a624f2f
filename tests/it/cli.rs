//! The real binary: what `explain` and `check` print, and how they exit.

mod check;
mod explain;
mod explain_dialect;
mod hash;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    Issuer,
    issuer::{Key, NAME, Served, now, scratch, sign_with},
};

/// A configuration in a file, and the issuer that it trusts.
struct Setup {
    issuer: Issuer,
    folder: PathBuf,
}

impl Setup {
    fn new() -> Setup {
        let setup = Setup { issuer: Issuer::new(), folder: scratch("cli") };
        setup.write(&format!("{}{REST}", setup.issuer.yaml()));
        let password = setup.folder.join("password");
        fs::write(&password, "hunter2hunter2").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o400)).unwrap();
        setup
    }

    fn write(&self, yaml: &str) {
        fs::write(self.config(), yaml).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.folder.join("sidegate.yaml")
    }

    /// Asks for an explanation with `token` (none if empty) in a file.
    fn explain(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = binary();
        command.arg("explain").arg("-c").arg(self.config()).args(arguments);
        if !token.is_empty() {
            let file = self.folder.join("token");
            fs::write(&file, format!("{token}\n")).unwrap();
            command.arg("--token-file").arg(file);
        }
        let output = command.output().unwrap();
        if !token.is_empty() {
            assert_hidden(&output, token);
        }
        output
    }

    fn json(&self, token: &str, arguments: &[&str]) -> (i32, Value) {
        let output = self.explain(token, &[arguments, &["--json"]].concat());
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
        (output.status.code().unwrap(), report)
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.stdin(Stdio::null()).env_clear();
    command
}

/// Neither the token nor any of its three parts.
fn assert_hidden(output: &Output, token: &str) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!text.contains(part), "the token shows: {text}");
        }
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.code().is_some_and(|code| code != 64), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut steps = report["steps"].as_array().unwrap().iter();
    steps.find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {report:#}"))
}

fn details(step: &Value) -> String {
    let details = step["details"].as_array().unwrap().iter();
    details.map(|detail| detail["says"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

const REST: &str = r#"
listeners: [{ name: main, address: "127.0.0.1:0" }]
internal_jwt: { issuer: "https://sidegate.internal", algorithm: ES256 }
upstreams:
  - name: app
    url: http://127.0.0.1:1
    credential: { internal_jwt: { audience: app } }
    identity_headers: { X-Forwarded-User: sub, X-Forwarded-Email: email }
  - name: legacy
    url: http://127.0.0.1:1
    credential: { basic: { username: u, password_file: password } }
  - name: same
    url: http://127.0.0.1:1
    credential: { original: {} }
routes:
  - { name: health, paths: [/healthz], methods: [GET], upstream: app, public: true }
  - { name: open, paths: ["/open/*"], upstream: app, public: true }
  - name: orders
    paths: [/orders, "/orders/*"]
    upstream: app
    policy: { audiences: [orders-api], scopes_all: [orders], claims: { email: ["ana@example.com"] } }
    rate_limit: { per_address: { requests: 10, per: 1s, burst: 20 } }
    max_body_bytes: 100B
    cors: { preflight: answer, origins: ["https://app.example.com"], methods: [GET], headers: [authorization] }
  - name: watched
    paths: ["/watched/*"]
    upstream: same
    mode: observe
    policy: { audiences: [orders-api], scopes_all: [orders] }
  - name: legacy
    paths: ["/legacy/*"]
    upstream: legacy
    token: { header: X-Token }
    strip_prefix: /legacy
    add_prefix: /v1
    policy: { audiences: [orders-api] }
  - name: tenant
    hosts: [tenant.example.com]
    paths: ["/tenant/*"]
    upstream: app
    policy: { audiences: [orders-api] }
"#;

#[test]
fn a_good_token_is_forwarded_with_everything_that_the_upstream_would_see() {
    let setup = Setup::new();
    let (code, report) = setup.json(&setup.issuer.token(), &["-H", "Cookie: a=secret", "http://api.test/orders/7?a=b"]);
    assert_eq!((code, &report["verdict"]["outcome"]), (0, &json!("forwarded")), "{report:#}");
    assert_eq!(report["verdict"]["would_be"], Value::Null);
    let sight = &report["upstream"];
    assert_eq!((&sight["method"], &sight["target"]), (&json!("GET"), &json!("/orders/7?a=b")));
    let headers = sight["headers"].as_array().unwrap();
    for header in [
        ["host", "api.test"],
        ["authorization", "Bearer …"],
        ["cookie", "…"],
        ["x-forwarded-user", "ana"],
        ["x-forwarded-email", "ana@example.com"],
        ["x-forwarded-for", "127.0.0.1"],
        ["x-forwarded-proto", "http"],
    ] {
        assert!(headers.contains(&json!(header)), "{header:?} in {sight:#}");
    }
    let claims = &sight["internal_jwt"];
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!("app"), &json!("ana")));
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!("https://sidegate.internal"), &json!("orders profile")));
    assert!(details(step(&report, "validation")).contains("a JWT of issuer `corp`, kid `k1`, ES256"));
    assert!(details(step(&report, "rates")).contains("one every 100ms, 20 at once"));
}

#[test]
fn each_refusal_is_told_at_its_step() {
    let setup = Setup::new();
    let issuer = &setup.issuer;
    let good = issuer.token();
    let stranger = sign_with(&Key::es256("k1"), &issuer.claims());
    let unknown_key = sign_with(&Key::es256("k9"), &issuer.claims());
    let expired = issuer.token_with(json!({"iat": now() - 7200, "exp": now() - 3600}));
    for (token, arguments, at, status, code, detail) in [
        ("", &["/orders"][..], "token", 401, "token_missing", "no bearer token"),
        ("no token", &["/orders"], "token", 400, "invalid_request", "malformed credentials"),
        ("an-opaque-token-of-nobody", &["/orders"], "validation", 401, "invalid_token", "no issuer of this route"),
        (&expired, &["/orders"], "validation", 401, "invalid_token", "expired 1h"),
        (&stranger, &["/orders"], "validation", 401, "invalid_token", "the signature is wrong"),
        (&unknown_key, &["/orders"], "validation", 401, "invalid_token", "a key that is not in the issuer's set"),
        (
            &issuer.token_with(json!({"iss": "http://issuer.test/"})),
            &["/orders"],
            "validation",
            401,
            "invalid_token",
            "`corp` differs by the slash",
        ),
        (
            &issuer.token_with(json!({"aud": "other"})),
            &["/orders"],
            "policy",
            401,
            "invalid_token",
            "audience: `orders-api`; the token has `other`",
        ),
        (
            &issuer.token_with(json!({"scope": "profile"})),
            &["/orders"],
            "policy",
            403,
            "insufficient_scope",
            "all of `orders`; the token has `profile`",
        ),
        (
            &issuer.token_with(json!({"email": "eve@example.com"})),
            &["/orders"],
            "policy",
            403,
            "forbidden",
            "the token has `eve@example.com`",
        ),
        (&good, &["/nowhere"], "route", 404, "no_route", ""),
        (&good, &["/Orders"], "route", 404, "no_route", "`orders` covers /orders, but only in other letter case"),
        (&good, &["/watched"], "route", 404, "no_route", "`watched` covers /watched/*, but only with a slash"),
        (&good, &["/tenant/x"], "route", 404, "no_route", "but only of tenant.example.com"),
        (&good, &["-X", "POST", "/healthz"], "route", 405, "method_not_allowed", "but only with GET"),
        (&good, &["/open/..;/orders"], "route", 400, "ambiguous_path", "/orders, which `orders` answers"),
        (&good, &["/a%2e%2e/../%2e%2e/x"], "path", 400, "encoded_dot_segment", ""),
        (&good, &["-H", "Host: a b", "/orders"], "host", 400, "malformed_host", ""),
        (&good, &["-X", "POST", "-H", "Content-Length: 101", "/orders"], "body", 413, "body_too_large", ""),
    ] {
        let (exit, report) = setup.json(token, arguments);
        let steps = report["steps"].as_array().unwrap();
        let last = steps.last().unwrap();
        assert_eq!((exit, &last["step"], &last["mark"]), (2, &json!(at), &json!("refused")), "{report:#}");
        let verdict = &report["verdict"];
        assert_eq!((&verdict["status"], &verdict["code"]), (&json!(status), &json!(code)), "{report:#}");
        assert!(details(last).contains(detail), "{detail:?} in {report:#}");
        assert_eq!(report["upstream"], Value::Null);
    }
}

#[test]
fn a_refusal_shows_the_challenge_and_what_is_allowed() {
    let setup = Setup::new();
    let text = stdout(&setup.explain(&setup.issuer.token_with(json!({"scope": "x"})), &["/orders"]));
    assert!(text.contains("policy      REFUSED  scope_missing"), "{text}");
    assert!(text.contains("- scope: all of `orders`; the token has `x`"), "{text}");
    assert!(text.contains("Refused: 403 insufficient_scope (scope_missing)"), "{text}");
    assert!(text.contains("error=\"insufficient_scope\", scope=\"orders\""), "{text}");
    assert!(!text.contains('\x1b'), "colour is for terminals");
    assert!(stdout(&setup.explain("", &["-X", "PUT", "/healthz"])).contains("allow: GET"));
}

#[test]
fn observing_says_both() {
    let setup = Setup::new();
    let (code, report) = setup.json(&setup.issuer.token_with(json!({"scope": "x"})), &["/watched/a"]);
    assert_eq!((code, &report["verdict"]["outcome"]), (0, &json!("forwarded")));
    assert_eq!(report["verdict"]["would_be"]["code"], "insufficient_scope");
    assert_eq!(step(&report, "policy")["mark"], "observed");
    assert!(report["upstream"]["headers"].as_array().unwrap().contains(&json!(["authorization", "Bearer …"])));
    assert_eq!(report["upstream"]["internal_jwt"], Value::Null);

    let text = stdout(&setup.explain("", &["/watched/a"]));
    assert!(text.contains("only observes. If it enforced:\nRefused: 401 token_missing"), "{text}");
}

#[test]
fn a_preflight_a_document_and_a_public_route_need_no_token() {
    let setup = Setup::new();
    let origin = ["-H", "Origin: https://app.example.com", "-H", "Access-Control-Request-Method: GET"];
    let (code, report) = setup.json("", &[&["-X", "OPTIONS"][..], &origin, &["/orders"]].concat());
    assert_eq!((code, &report["verdict"]["outcome"]), (0, &json!("answered")), "{report:#}");
    assert!(details(step(&report, "cors")).contains("access-control-allow-origin: https://app.example.com"));

    let (code, report) = setup.json("", &["/.well-known/sidegate/jwks.json"]);
    assert_eq!((code, &report["verdict"]["outcome"]), (0, &json!("answered")));

    let (code, report) = setup.json(&setup.issuer.token(), &["/healthz"]);
    assert_eq!((code, &step(&report, "token")["mark"]), (0, &json!("skipped")));
    let headers = report["upstream"]["headers"].as_array().unwrap();
    assert!(headers.iter().all(|header| header[0] != "authorization"), "{report:#}");
}

#[test]
fn the_token_goes_where_the_route_looks_for_it_and_no_password_shows() {
    let setup = Setup::new();
    let output = setup.explain(&setup.issuer.token(), &["/legacy/x"]);
    let text = stdout(&output);
    assert!(text.contains("in the header x-token"), "{text}");
    assert!(text.contains("GET /v1/x") && text.contains("authorization: Basic …"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("dTpodW50ZXIy"), "{text}");
    assert!(text.contains("Forwarded: by route `legacy`."), "{text}");
}

#[test]
fn a_token_may_come_by_standard_input() {
    let setup = Setup::new();
    let mut command = binary();
    command.arg("explain").arg("-c").arg(setup.config()).args(["--token-file", "-", "/orders"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let token = setup.issuer.token();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_hidden(&output, &token);
}

#[test]
fn a_trusted_peer_is_believed() {
    let setup = Setup::new();
    setup.write(&format!("trusted_proxies: [10.0.0.0/8]\n{}{REST}", setup.issuer.yaml()));
    let said = ["-H", "X-Forwarded-For: 198.51.100.1", "/healthz"];
    let text = stdout(&setup.explain("", &[&["--peer", "10.0.0.9"][..], &said].concat()));
    assert!(text.contains("x-forwarded-for: 198.51.100.1, 10.0.0.9"), "{text}");
    let text = stdout(&setup.explain("", &said));
    assert!(text.contains("x-forwarded-for: 127.0.0.1\n"), "{text}");
}

#[test]
fn keys_that_cannot_be_had_are_told_as_such() {
    let setup = Setup::new();
    let token = setup.issuer.token();
    let issuer = setup.issuer.yaml();
    let (before, _) = issuer.split_once("jwks_file").unwrap();
    // Nobody listens on the port of tcpmux.
    setup.write(&format!("{before}jwks_uri: http://127.0.0.1:1/jwks\n{REST}"));
    let (code, report) = setup.json(&token, &["/orders"]);
    assert_eq!((code, &report["verdict"]["status"]), (2, &json!(503)), "{report:#}");
    assert!(details(step(&report, "validation")).contains("its keys could not be fetched"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_token_is_really_introspected() {
    let setup = Setup::new();
    let answer = json!({"active": true, "aud": "orders-api", "scope": "orders", "email": "ana@example.com"});
    let served = Served::start(200, answer.to_string()).await;
    let issuer = format!(
        "issuers:\n  - name: corp\n    issuer: {NAME}\n    algorithms: []\n    introspection: {{ endpoint: \"{}\", \
         client_id: me, client_secret_file: password }}\n",
        served.url
    );
    setup.write(&format!("{issuer}{REST}"));
    let token = "an-opaque-token-that-only-its-issuer-knows";

    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, served.asked()), (0, 1), "{report:#}");
    assert!(details(step(&report, "validation")).contains("introspection was asked of `corp`"));

    served.set(200, json!({"active": false}).to_string());
    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, &report["verdict"]["cause"]), (2, &json!("inactive")), "{report:#}");

    served.set(500, "");
    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, &report["verdict"]["status"]), (2, &json!(503)), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_really_probed() {
    let setup = Setup::new();
    let served = Served::start(200, json!({"mail": "ana@example.com"}).to_string()).await;
    let issuer = format!(
        "issuers:\n  - name: corp\n    issuer: {NAME}\n    algorithms: []\n    probe: {{ url: \"{}\", \
         audiences: [orders-api], scopes: [orders], claims: {{ email: /mail }} }}\n",
        served.url
    );
    setup.write(&format!("{issuer}{REST}"));
    let token = "an-opaque-token-that-only-its-server-knows";

    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, served.asked()), (0, 1), "{report:#}");
    assert!(details(step(&report, "validation")).contains("a probe asked `corp`"));

    served.set(401, "");
    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, &report["verdict"]["cause"]), (2, &json!("inactive")), "{report:#}");

    served.set(302, "");
    let (code, report) = setup.json(token, &["/orders"]);
    assert_eq!((code, &report["verdict"]["cause"]), (2, &json!("probe_unavailable")), "{report:#}");
}

#[test]
fn what_cannot_be_asked_is_64_and_repeats_no_secret() {
    let setup = Setup::new();
    let secret = "Authorization: Bearer eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl";
    for arguments in [
        &["-H", secret, "/orders"][..],
        &["-H", "no header", "/orders"],
        &["-X", "CONNECT", "/orders"],
        &["--peer", "nobody", "/orders"],
        &["--token-file", "/does/not/exist", "/orders"],
        &["not a path"],
        &[],
    ] {
        let output = setup.explain("", arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
        assert_hidden(&output, "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl");
    }
    setup.write("nonsense: true\n");
    assert_eq!(setup.explain("", &["/orders"]).status.code(), Some(64));
}

#[test]
fn explain_leaves_the_sessions_to_the_process_that_serves() {
    let setup = Setup::new();
    let own = "
authority:
  issuer: http://127.0.0.1:8080
  audiences: [orders-api]
  clients: [{ id: app, public: true, grants: [password], scopes: [orders] }]
store: { redb: { path: sessions.redb } }
keys: { master_file: master.keys, generate: true }
";
    setup.write(&format!("{}{REST}{own}", setup.issuer.yaml()));
    assert!(stdout(&setup.explain(&setup.issuer.token(), &["/orders"])).contains("orders"));
    let made = |name: &str| setup.folder.join(name).exists();
    assert!(!made("sessions.redb") && !made("master.keys"), "an explanation makes nothing");

    let ring = sidegate::config::MasterRing::generate().unwrap();
    fs::write(setup.folder.join("master.keys"), ring.text().expose()).unwrap();
    fs::set_permissions(setup.folder.join("master.keys"), fs::Permissions::from_mode(0o400)).unwrap();
    let id = sidegate::session::SessionId::random().unwrap();
    let token = sidegate::session::ring::KeyRing::new(&ring).make_access(id).unwrap();
    let text = stdout(&setup.explain(token.token.expose(), &["/orders"]));
    assert!(text.contains(&id.to_string()) && text.contains("`sidegate sessions` asks that one"), "{text}");
    assert!(!made("sessions.redb"));
}
