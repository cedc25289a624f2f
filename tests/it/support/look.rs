//! What an operator sees of a running sidegate, and what a refused client may see.

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use super::{Reply, Sidegate, get, send};

/// Refused with exactly this, and nothing that a refusal has no need to say.
#[track_caller]
pub fn assert_problem(reply: &Reply, status: u16, code: &str, challenge: Option<&str>) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{}", reply.text());
    assert_eq!(reply.header("www-authenticate"), challenge);
    let body = reply.json();
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["code", "request_id", "status", "title"]);
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("retry-after").is_some(), status == 503 || status == 429);
    for name in reply.headers.keys() {
        let known = [
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "retry-after",
            "www-authenticate",
            "x-request-id",
        ];
        assert!(known.contains(&name.as_str()), "a refusal says too much: {name}");
        assert_eq!(reply.headers.get_all(name).iter().count(), 1, "{name}");
    }
}

/// The challenge of a bad token in the default realm.
pub const INVALID: Option<&str> = Some("Bearer realm=\"sidegate\", error=\"invalid_token\"");

#[track_caller]
pub fn assert_invalid_token(reply: &Reply) {
    assert_problem(reply, 401, "invalid_token", INVALID);
}

impl Sidegate {
    /// The value of the sample that stands for `series`, such as `sidegate_x_total{a="b"}`; 0 if there is none.
    pub async fn metric(&self, series: &str) -> u64 {
        let reply = get(self.health, "/metrics", "").await;
        let line = reply.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }

    pub async fn cache(&self, cache: &str, result: &str) -> u64 {
        self.metric(&format!("sidegate_cache_requests_total{{cache=\"{cache}\",result=\"{result}\"}}")).await
    }

    pub async fn decisions(&self, route: &str, reason: &str) -> u64 {
        let reply = get(self.health, "/metrics", "").await;
        let lines = reply.text().lines().filter(|line| {
            line.starts_with("sidegate_auth_decisions_total{")
                && line.contains(&format!("route=\"{route}\""))
                && line.contains(&format!("reason=\"{reason}\""))
        });
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    pub async fn status(&self) -> Value {
        let request = Request::builder().uri("/status").header("host", "localhost").body(Full::default()).unwrap();
        send(self.admin, request).await.json()
    }

    pub async fn ready(&self) -> (u16, Value) {
        let reply = get(self.health, "/readyz", "").await;
        (reply.status.as_u16(), reply.json())
    }

    /// Waits for what goes on in the background: until `/status` of the first issuer is as wanted.
    pub async fn until_issuer(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2000 {
            let issuer = self.status().await["issuers"][0].clone();
            if wanted(&issuer) {
                return issuer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("never came so far: {}", self.status().await);
    }
}
