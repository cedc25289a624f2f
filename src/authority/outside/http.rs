//! Users verified by a call: the service sees name and password, and says who that is.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Denied, Person};
use crate::{
    config::HttpUsers,
    fetch::{Bounds, Fetcher},
    model::Secret,
};

pub struct Service {
    fetcher: Fetcher,
    url: Url,
    token: Option<Secret<String>>,
    timeout: Duration,
}

/// What a 200 must hold.
#[derive(Deserialize)]
struct Answer {
    subject: String,
    #[serde(default)]
    claims: Map<String, Value>,
}

impl Service {
    pub fn new(settings: &HttpUsers) -> Service {
        Service {
            fetcher: Fetcher::new(settings.ca_file.clone()),
            url: settings.url.clone(),
            token: settings.token.clone(),
            timeout: settings.timeout,
        }
    }

    pub async fn verify(&self, username: &str, password: &Secret<String>, client: &str) -> Result<Person, Denied> {
        let question = json!({ "username": username, "password": password.expose(), "client_id": client });
        let bounds = Bounds { timeout: self.timeout, bytes: LONGEST_ANSWER };
        let unavailable = |why: &dyn std::fmt::Display| Denied::Unavailable(format!("the users' service: {why}"));
        let asked = self.fetcher.post_json(&self.url, self.token.as_ref(), &question, bounds).await;
        let (status, body) = asked.map_err(|error| unavailable(&error))?;
        match status {
            StatusCode::OK => {
                // The error of the parser may quote the answer, and is not kept.
                let answer: Answer = serde_json::from_slice(&body)
                    .map_err(|_| unavailable(&"its answer is not {\"subject\": …, \"claims\": {…}}"))?;
                Ok(Person { subject: answer.subject, claims: answer.claims })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Denied::Wrong),
            status => Err(unavailable(&format_args!("it answered with status {status}"))),
        }
    }
}

const LONGEST_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::{Provider, Reply};

    fn service(url: Url) -> Service {
        let token = Some(Secret::new("t0ken".to_owned()));
        Service::new(&HttpUsers { url, token, ca_file: None, timeout: Duration::from_secs(20) })
    }

    async fn verify(service: &Service) -> Result<Person, Denied> {
        service.verify("ana", &Secret::new("sword\"fish".to_owned()), "app").await
    }

    #[tokio::test]
    async fn a_200_with_a_subject_is_a_yes_and_the_question_has_all_that_it_needs() {
        let server = Provider::start().await;
        server.reply("/v", Reply::Json(r#"{"subject": "u-1", "claims": {"email": "a@b"}, "more": 1}"#.to_owned()));
        let person = verify(&service(server.url("/v"))).await.unwrap();
        assert_eq!((person.subject.as_str(), &person.claims["email"]), ("u-1", &json!("a@b")));
        let seen = server.seen().remove(0);
        assert_eq!(seen.authorization.as_deref(), Some("Bearer t0ken"));
        let question: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(question, json!({"username": "ana", "password": "sword\"fish", "client_id": "app"}));
    }

    #[tokio::test]
    async fn a_401_and_a_403_are_a_no_and_everything_else_is_no_answer() {
        let server = Provider::start().await;
        let service = service(server.url("/v"));
        for status in [401, 403] {
            server.reply("/v", Reply::Status(status));
            assert_eq!(verify(&service).await, Err(Denied::Wrong));
        }
        for reply in [
            Reply::Status(204),
            Reply::Status(404),
            Reply::Status(500),
            Reply::Redirect("/yes".to_owned()),
            Reply::Broken,
            Reply::Json(String::new()),
            Reply::Json(r#"{"claims": {}}"#.to_owned()),
            Reply::Json(r#"{"subject": 7}"#.to_owned()),
            Reply::Json(r#"{"subject": null}"#.to_owned()),
            Reply::Json(r#"{"subject": "a", "subject": "b"}"#.to_owned()),
            Reply::Json(r#"{"subject": "a", "claims": []}"#.to_owned()),
            Reply::Json(format!(r#"{{"subject": "a", "pad": "{}"}}"#, " ".repeat(LONGEST_ANSWER))),
        ] {
            server.reply("/v", reply);
            let Err(Denied::Unavailable(why)) = verify(&service).await else { panic!("taken for an answer") };
            assert!(!why.contains("fish") && !why.contains("t0ken"), "{why}");
        }
        assert_eq!(server.hits("/yes"), 0);
    }
}
