//! The audit stream of the real program: one line for each event, in a file of its own, and no secret anywhere.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command},
};

use aws_lc_rs::digest::{SHA256, digest};
use http_body_util::Full;
use serde_json::Value;

use crate::support::{Reply, Upstream, get, issuer::scratch, request, send};

const PASSWORD: &str = "canary-password-of-ana-5b1";
const SECRET: &str = "canary-secret-of-web-77aa01f3c9d2";
const OPERATOR: &str = "canary-token-of-operators-0e4";

struct Program {
    child: Child,
    folder: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(upstream: SocketAddr, level: &str) -> Program {
        let folder = scratch("audit");
        let token = folder.join("operators");
        fs::write(&token, OPERATOR).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o400)).unwrap();
        let hash = |secret: &str| -> String {
            digest(&SHA256, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let yaml = format!(
            "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
             admin: {{ address: \"127.0.0.1:0\", token_file: operators }}\nworkers: 1\n\
             log: {{ level: {level}, audit: {{ file: audit.jsonl }} }}\n\
             authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n    \
             - {{ id: web, secret_hashes: [\"sha256:{}\"], grants: [password, client_credentials, refresh_token], scopes: [orders] }}\n  \
             users: [{{ username: ana, subject: u-1001, password_hash: \"sha256:{}\" }}]\n\
             store: {{ memory: {{}} }}\nupstreams: [{{ name: app, url: \"http://{upstream}\" }}]\n\
             routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
            hash(SECRET),
            hash(PASSWORD),
        );
        fs::write(folder.join("sidegate.yaml"), yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
        command.args(["run", "-c", "sidegate.yaml"]).current_dir(&folder);
        // The addresses are told at the level `info`.
        command.stdout(File::create(folder.join("out")).unwrap()).stderr(File::create(folder.join("log")).unwrap());
        Program { child: command.spawn().unwrap(), folder }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    async fn address(&self, listener: &str) -> SocketAddr {
        for _ in 0..4000 {
            let log = self.read("log");
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.find(|line| line["listener"] == listener && !line["address"].is_null()) {
                return line["address"].as_str().unwrap().parse().unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("no address of {listener}: {}", self.read("log"));
    }

    fn events(&self) -> Vec<Value> {
        self.read("audit.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn post(address: SocketAddr, path: &str, form: &str) -> Reply {
    let form = format!("{form}&client_id=web&client_secret={SECRET}");
    let asked = http::Request::post(path).header("host", "api.test");
    let asked = asked.header("content-type", "application/x-www-form-urlencoded");
    send(address, asked.body(Full::from(form)).unwrap()).await
}

#[tokio::test]
async fn a_circle_writes_one_line_for_each_event_and_no_secret_anywhere() {
    let upstream = Upstream::start().await;
    let program = Program::start(upstream.address, "debug");
    let (public, health, admin) =
        (program.address("main").await, program.address("health").await, program.address("admin").await);
    let mut answers = String::new();
    let token = "/oauth20/token";

    let given = post(public, token, &format!("grant_type=password&username=ana&password={PASSWORD}")).await.json();
    let (access, refresh) = (given["access_token"].as_str().unwrap(), given["refresh_token"].as_str().unwrap());
    let renewed = post(public, token, &format!("grant_type=refresh_token&refresh_token={refresh}")).await.json();
    let successor = renewed["refresh_token"].as_str().unwrap();
    post(public, token, &format!("grant_type=refresh_token&refresh_token={refresh}")).await;
    let refused = post(public, token, "grant_type=password&username=ana&password=canary-wrong-9c2").await;
    answers += refused.text();
    answers += post(public, "/oauth20/introspect", &format!("token={access}x")).await.text();
    assert_eq!(get(public, "/orders", access).await.status, 200);
    post(public, "/oauth20/revoke", &format!("token={successor}")).await;
    answers += get(public, "/orders", access).await.text();
    answers += post(public, token, &format!("grant_type=refresh_token&refresh_token={successor}")).await.text();
    let second = post(public, token, "grant_type=client_credentials").await.json();
    let mut ended = request("DELETE", "/sessions?client=web", OPERATOR);
    ended.headers_mut().insert("host", "localhost".parse().unwrap());
    answers += send(admin, ended).await.text();
    for (address, path) in [(health, "/metrics"), (health, "/readyz"), (admin, "/status")] {
        let mut asked = request("GET", path, "");
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        answers += send(address, asked).await.text();
    }

    let events = program.events();
    let named: Vec<&str> = events.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let of_tokens: Vec<&str> =
        named.iter().copied().filter(|name| !matches!(*name, "signed_in" | "sign_in_failed")).collect();
    assert_eq!(
        of_tokens,
        [
            "granted",
            "refreshed",
            "refresh_retried",
            "grant_refused",
            "revoked",
            "refresh_refused",
            "granted",
            "revoked"
        ],
        "{events:#?}"
    );
    for line in &events {
        assert_eq!(line["target"], "sidegate::audit");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let last = events.last().unwrap();
    assert_eq!((&last["reason"], &last["client"]), (&"operator".into(), &"web".into()));
    let mode = fs::metadata(program.folder.join("audit.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let log = program.read("log");
    assert!(!log.contains("sidegate::audit"), "the lines stand in two places");
    let tail = |token: &str| token[token.len() - 24..].to_owned();
    let mut secrets = vec!["canary-".to_owned(), tail(access), tail(refresh), tail(successor)];
    secrets.push(tail(renewed["access_token"].as_str().unwrap()));
    secrets.push(tail(second["access_token"].as_str().unwrap()));
    for (place, text) in
        [("the log", &log), ("the audit stream", &program.read("audit.jsonl")), ("an answer", &answers)]
    {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} shows {secret}: {text}");
        }
    }
}
