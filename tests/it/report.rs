//! What routes that only observe would refuse: on the admin listener, by the command, and in the metrics.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{
    Issuer, Reply, Sidegate, Upstream, get,
    issuer::{now, scratch},
    request, send,
};

const TOKEN: &str = "operators-token-4f1d2c7e9b";

fn yaml(upstream: &Upstream, issuer: &Issuer, audience: &str, token_file: &Path) -> String {
    std::fs::write(token_file, TOKEN).unwrap();
    std::fs::set_permissions(token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "{}admin: {{ address: \"127.0.0.1:0\", token_file: {} }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ none: {{}} }} }}]\n\
         routes:\n  \
         - {{ name: orders, paths: [\"/orders/*\"], upstream: app, mode: observe, policy: {{ audiences: [{audience}], clients: [billing, app] }} }}\n  \
         - {{ name: quiet, paths: [/quiet], upstream: app, mode: observe, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: strict, paths: [/strict], upstream: app, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
        token_file.display(),
        upstream.address
    )
}

async fn ask(sidegate: &Sidegate, method: &str, path: &str, token: &str) -> Reply {
    let mut asked = request(method, path, token);
    asked.headers_mut().insert("host", "localhost".parse().unwrap());
    send(sidegate.admin, asked).await
}

async fn route(sidegate: &Sidegate, name: &str) -> Value {
    let report = ask(sidegate, "GET", "/report", "").await.json();
    let routes = report["routes"].as_array().unwrap();
    routes.iter().find(|route| route["route"] == name).unwrap_or_else(|| panic!("{report}")).clone()
}

async fn run(sidegate: &Sidegate, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.arg("report").args(arguments).args(["--admin", &sidegate.admin.to_string()]).env_clear();
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_would_be_refused_is_told_by_route_reason_and_client_and_without_a_word_of_the_request() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "other-api", &scratch("report").join("token"))).await;
    let secret_client = issuer.token_with(json!({"client_id": "canary-client", "sub": "canary-user"}));
    let billing = issuer.token_with(json!({"client_id": "billing", "sub": "canary-user"}));
    let expired = issuer.token_with(json!({"exp": now() - 100, "client_id": "billing"}));
    let good = issuer.token_with(json!({"aud": "other-api", "client_id": "app"}));
    for token in ["", "", &billing, &billing, &secret_client, &expired, &good] {
        let reply = get(sidegate.public, "/orders/canary-path?canary=query", token).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(get(sidegate.public, "/strict", "").await.status, 401);

    let orders = route(&sidegate, "orders").await;
    assert_eq!(
        (&orders["requests"], &orders["would_allow"], &orders["would_refuse"]),
        (&7.into(), &1.into(), &6.into())
    );
    assert_eq!(orders["verdict"], "mend");
    let reasons: Vec<_> = orders["reasons"].as_array().unwrap().iter().map(|r| (&r["reason"], &r["refused"])).collect();
    assert_eq!(reasons[0], (&"audience_refused".into(), &3.into()));
    let audience = &orders["reasons"][0];
    assert_eq!(
        audience["known"],
        json!([
            {"issuer": "corp", "client": "billing", "refused": 2},
            {"issuer": "corp", "client": null, "refused": 1},
        ])
    );
    assert!(audience["remedy"].as_str().unwrap().contains("policy.audiences"));
    let example = &audience["examples"][0];
    assert_eq!(example["request_id"].as_str().unwrap().len(), 32);
    assert_eq!(example["code"], "audience_refused");
    for (reason, count) in [("token_missing", 2.0), ("audience_refused", 3.0), ("token_expired", 1.0), ("allowed", 0.0)]
    {
        let series = format!("sidegate_observed_refusals_total{{reason=\"{reason}\",route=\"orders\"}}");
        assert_eq!(sidegate.series(&series).await, count, "{reason}");
    }

    let quiet = route(&sidegate, "quiet").await;
    assert_eq!((&quiet["verdict"], &quiet["requests"]), (&"unused".into(), &0.into()));
    let report = ask(&sidegate, "GET", "/report", "").await;
    assert!(!report.text().contains("canary"), "{}", report.text());
    assert!(!report.text().contains("strict"), "a route that enforces has nothing to report");
    assert_eq!(ask(&sidegate, "GET", "/status", "").await.json()["observed"], report.json()["routes"]);
}

#[tokio::test]
async fn a_reload_keeps_the_counts_and_shows_what_came_after_it() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let token_file = scratch("report").join("token");
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "other-api", &token_file)).await;
    let token = issuer.token_with(json!({"client_id": "billing"}));
    get(sidegate.public, "/orders/1", &token).await;
    assert_eq!(route(&sidegate, "orders").await["since_reload"], json!(null));
    sidegate.reload(&yaml(&upstream, &issuer, "orders-api", &token_file)).await;
    for _ in 0..100 {
        get(sidegate.public, "/orders/1", &token).await;
    }
    sidegate.time.advance(24 * 3600);
    let orders = route(&sidegate, "orders").await;
    assert_eq!((&orders["requests"], &orders["would_refuse"]), (&101.into(), &1.into()));
    assert_eq!(
        (&orders["since_reload"]["requests"], &orders["since_reload"]["would_refuse"]),
        (&100.into(), &0.into())
    );
    let sentence =
        "route orders: 0 of 100 requests since the reload 1 day ago (1 before it) would have been refused: enforce it.";
    assert_eq!((&orders["verdict"], &orders["sentence"]), (&"enforce".into(), &sentence.into()));

    for (target, token, status) in [
        ("/report", "", 401),
        ("/report", "wrong-token-wrong-token", 401),
        ("/report?route=strict", TOKEN, 404),
        ("/report?rute=orders", TOKEN, 400),
        ("/report?route=orders", TOKEN, 200),
    ] {
        assert_eq!(ask(&sidegate, "DELETE", target, token).await.status, status, "{target}");
        let left = if status == 200 { 0 } else { 101 };
        assert_eq!(route(&sidegate, "orders").await["requests"], left, "{target}");
    }
    assert_eq!(ask(&sidegate, "POST", "/report", TOKEN).await.status, 405);
}

#[tokio::test]
async fn the_command_prints_lines_for_programs_and_says_when_there_is_no_such_route() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let token_file = scratch("report").join("token");
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "orders-api", &token_file)).await;
    get(sidegate.public, "/orders/1", "").await;
    let output = run(&sidegate, &[]).await;
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0][..2], ["orders", "mend"]);
    assert_eq!(lines[0][3..8], ["1", "1", "token_missing", "1", "-"]);
    assert_eq!((lines[1][..2].to_vec(), lines[1][5]), (vec!["quiet", "unused"], "-"));

    let output = run(&sidegate, &["--json", "--route", "orders"]).await;
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json[0]["route"], json.as_array().unwrap().len()), (&"orders".into(), 1));
    assert_eq!(run(&sidegate, &["--route", "strict"]).await.status.code(), Some(2));
    assert_eq!(run(&sidegate, &["--reset"]).await.status.code(), Some(64), "without a token nothing is reset");
    let output = run(&sidegate, &["--reset", "--token-file", token_file.to_str().unwrap()]).await;
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"2 route(s) counted anew\n"[..]));
    assert_eq!(route(&sidegate, "orders").await["requests"], 0);
}
