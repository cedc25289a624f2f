//! The pages of sessions, as a browser asks for them.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;

use super::{HOSTILE, Setup, TOKEN, write_token, yaml};
use crate::support::{Reply, send};

const HOST: &str = "localhost:9902";
const ORIGIN: (&str, &str) = ("origin", "http://localhost:9902");

/// A browser: a cookie, and what forms carry.
#[derive(Default)]
struct Browser {
    cookie: String,
    form: String,
}

impl Setup {
    async fn visit(
        &self,
        browser: &Browser,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut asked =
            http::Request::builder().method(method).uri(path).header("host", HOST).header("accept", "text/html");
        if !browser.cookie.is_empty() {
            asked = asked.header("cookie", format!("other=x; {}", browser.cookie));
        }
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        send(self.sidegate.admin, asked.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
    }

    async fn look(&self, browser: &Browser, path: &str) -> Reply {
        self.visit(browser, Method::GET, path, &[], "").await
    }

    /// Sends a form of one of our pages.
    async fn submit(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form = [("form", browser.form.as_str())];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).extend_pairs(fields).finish();
        self.visit(browser, Method::POST, path, &[ORIGIN], &body).await
    }

    async fn sign_in_with(&self, token: &str) -> Reply {
        self.submit(&Browser::default(), "/sessions/sign-in", &[("token", token)]).await
    }

    async fn signed_in(&self) -> Browser {
        let reply = self.sign_in_with(TOKEN).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some("/sessions")));
        let set = reply.header("set-cookie").unwrap();
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/sessions");
        assert!(!set.contains(TOKEN));
        let mut browser = Browser { cookie: cookie.to_owned(), form: String::new() };
        let page = self.look(&browser, "/sessions").await;
        let (_, rest) = page.text().split_once("name=\"form\" value=\"").unwrap();
        browser.form = rest.split('"').next().unwrap().to_owned();
        browser
    }
}

#[tokio::test]
async fn a_browser_signs_in_lists_looks_and_ends_a_session() {
    let setup = Setup::new().await;
    let ((id, token), (_, other)) = (setup.open("ana", "shop").await, setup.open("bob", "shop").await);
    let nobody = Browser::default();
    for path in ["/sessions", &format!("/sessions/{id}"), "/sessions?user=ana"] {
        let reply = setup.look(&nobody, path).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (StatusCode::SEE_OTHER, Some("/sessions/sign-in")),
            "{path}"
        );
        assert!(!reply.text().contains("ana"));
    }
    let page = setup.look(&nobody, "/sessions/sign-in").await;
    assert!(page.text().contains("type=\"password\"") && page.text().contains("action=\"/sessions/sign-in\""));

    let browser = setup.signed_in().await;
    let list = setup.look(&browser, "/sessions").await;
    assert_eq!(list.header("cache-control"), Some("no-store"));
    let policy = list.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("form-action 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains("script"), "{policy}");
    assert!(list.text().contains(">ana<") && list.text().contains(">bob<"));
    let of_ana = setup.look(&browser, "/sessions?user=ana&client=").await;
    assert!(of_ana.text().contains(">ana<") && !of_ana.text().contains(">bob<"));
    let one = setup.look(&browser, &format!("/sessions/{id}")).await;
    assert!(one.text().contains("orders profile") && one.text().contains("End this session"));
    for hidden in ["sga1_", TOKEN, "canary-claim"] {
        assert!(!one.text().contains(hidden), "{hidden}");
    }

    let ended = setup.submit(&browser, &format!("/sessions/{id}/revoke"), &[]).await;
    assert_eq!((ended.status, ended.header("location")), (StatusCode::SEE_OTHER, Some("/sessions")));
    assert_eq!((setup.forwarded(&token).await, setup.forwarded(&other).await), (401, 200));
    let list = setup.look(&browser, "/sessions").await;
    assert!(list.text().contains("The session has ended.") && !list.text().contains(">ana<"), "{}", list.text());
    assert!(!setup.look(&browser, "/sessions").await.text().contains("The session has ended."), "it is told once");
    assert!(setup.look(&browser, "/sessions?alive=any").await.text().contains("operator"));

    let out = setup.submit(&browser, "/sessions/sign-out", &[]).await;
    assert!(out.header("set-cookie").unwrap().ends_with("Max-Age=0"));
    assert_eq!(setup.look(&browser, "/sessions").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_by_one_form_and_never_all_of_everybody() {
    let setup = Setup::new().await;
    let browser = setup.signed_in().await;
    let (mut of_ana, other) = (Vec::new(), setup.open("bob", "shop").await.1);
    for client in ["shop", "app", "shop"] {
        of_ana.push(setup.open("ana", client).await.1);
    }
    let reply = setup.submit(&browser, "/sessions/revoke", &[("user", ""), ("client", "")]).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, "filter_missing"));
    assert_eq!(setup.forwarded(&of_ana[0]).await, 200);
    let reply = setup.submit(&browser, "/sessions/revoke", &[("user", "ana"), ("client", "")]).await;
    assert_eq!(reply.header("location"), Some("/sessions?user=ana"));
    for token in &of_ana {
        assert_eq!(setup.forwarded(token).await, 401);
    }
    assert_eq!(setup.forwarded(&other).await, 200);
    let page = setup.look(&browser, "/sessions?user=ana").await;
    assert!(page.text().contains("3 sessions of ana have ended."), "{}", page.text());
}

#[tokio::test]
async fn pages_follow_each_other_and_keep_the_filter() {
    let setup = Setup::new().await;
    let browser = setup.signed_in().await;
    for _ in 0..5 {
        setup.open("ana", "shop").await;
    }
    let (mut path, mut rows) = ("/sessions?user=ana&limit=2".to_owned(), 0);
    for _ in 0..3 {
        let page = setup.look(&browser, &path).await.text().replace("&amp;", "&");
        rows += page.matches("class=\"target\"").count();
        let Some((before, _)) = page.split_once("\">Next page") else { break };
        let next = before.rsplit_once("href=\"").unwrap().1.replace("&#x2f;", "/");
        assert!(next.starts_with("/sessions?user=ana&after="), "{next}");
        path = format!("{next}&limit=2");
    }
    assert_eq!(rows, 5);
    let wrong = setup.look(&browser, "/sessions?usr=ana").await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.text().contains("role=\"alert\""), "{}", wrong.text());
    assert_eq!(setup.look(&browser, "/sessions/AAAAAAAAAAAAAAAAAAAAAA").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_of_another_site_or_of_another_sign_in_does_nothing() {
    let setup = Setup::new().await;
    let (id, token) = setup.open("ana", "shop").await;
    let (browser, other) = (setup.signed_in().await, setup.signed_in().await);
    let path = format!("/sessions/{id}/revoke");
    let right = format!("form={}", browser.form);
    for (headers, body, code) in [
        (vec![("origin", "http://evil.test")], right.clone(), "origin_refused"),
        (vec![("origin", "null")], right.clone(), "origin_refused"),
        (vec![("origin", "http://localhost:8080")], right.clone(), "origin_refused"),
        (vec![("sec-fetch-site", "cross-site")], right.clone(), "origin_refused"),
        (vec![], right.clone(), "origin_refused"),
        (vec![ORIGIN], String::new(), "form_refused"),
        (vec![ORIGIN], format!("form={}", other.form), "form_refused"),
    ] {
        let reply = setup.visit(&browser, Method::POST, &path, &headers, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::FORBIDDEN, code), "{headers:?} {body}");
    }
    let reply = setup.visit(&Browser::default(), Method::POST, &path, &[ORIGIN], &right).await;
    assert_eq!(reply.header("location"), Some("/sessions/sign-in"), "the form without the cookie");
    let long = format!("{right}&x={}", "y".repeat(20_000));
    assert_eq!(
        setup.visit(&browser, Method::POST, &path, &[ORIGIN], &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(setup.look(&browser, &path).await.status, StatusCode::NOT_FOUND, "a link ends nothing");
    assert_eq!(setup.forwarded(&token).await, 200);
    // DNS rebinding: the name is not ours.
    let asked = http::Request::get("/sessions/sign-in").header("host", "evil.test").header("accept", "text/html");
    let reply = send(setup.sidegate.admin, asked.body(Full::default()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_as_those_of_programs_are() {
    let setup = Setup::new().await;
    let mut slowed = None;
    for attempt in 0..30 {
        let reply = setup.sign_in_with("wrong-token-wrong-token").await;
        assert_eq!(reply.header("set-cookie"), None);
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(reply.header("retry-after").is_some() && reply.text().contains("Too many wrong tokens"));
            slowed = Some(attempt);
            break;
        }
        assert!(reply.status == StatusCode::UNAUTHORIZED && reply.text().contains("This is not the token."));
    }
    assert_eq!(slowed, Some(10));
    assert_eq!(setup.ask("GET", "/sessions").await.status, 429, "they are counted together");
    assert_eq!(setup.sign_in_with(TOKEN).await.status, 429);
    setup.sidegate.time.advance(5);
    setup.signed_in().await;
}

#[tokio::test]
async fn who_is_signed_in_is_so_for_a_while_and_by_the_token_of_today() {
    let setup = Setup::new().await;
    let browser = setup.signed_in().await;
    setup.sidegate.time.advance(14 * 60);
    assert_eq!(setup.look(&browser, "/sessions").await.status, 200);
    setup.sidegate.time.advance(15 * 60);
    assert_eq!(setup.look(&browser, "/sessions").await.status, StatusCode::SEE_OTHER);

    let browser = setup.signed_in().await;
    write_token(&setup.token_file, "another-token-of-operators");
    let token = format!(", token_file: {}", setup.token_file.display());
    setup.sidegate.reload(&yaml(&setup.upstream_url, &token)).await;
    assert_eq!(setup.look(&browser, "/sessions").await.status, StatusCode::SEE_OTHER);
    setup.sidegate.reload(&yaml(&setup.upstream_url, "")).await;
    let page = setup.look(&browser, "/sessions/sign-in").await;
    assert!(page.text().contains("admin.token_file") && !page.text().contains("<form"), "{}", page.text());
    assert_eq!(setup.sign_in_with("another-token-of-operators").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_name_that_somebody_typed_stays_text() {
    let setup = Setup::new().await;
    let browser = setup.signed_in().await;
    let (id, _) = setup.open(HOSTILE, "shop").await;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user", HOSTILE).finish();
    for path in ["/sessions".to_owned(), format!("/sessions/{id}"), format!("/sessions?{query}")] {
        let page = setup.look(&browser, &path).await;
        assert!(page.text().contains("&lt;script&gt;"), "{path}");
        assert!(!page.text().contains("<script"), "{path}: {}", page.text());
        // The field of the filter alone has it as it is, or it would find nobody.
        let seen = page.text().replace(&format!("value=\"{}", "&lt;script&gt;"), "");
        let outside_fields: String =
            seen.split("<input").map(|part| part.split_once('>').map_or(part, |(_, rest)| rest)).collect();
        assert!(!outside_fields.contains('\u{202e}'), "{path}");
    }
    let reply = setup.submit(&browser, "/sessions/revoke", &[("user", HOSTILE)]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let page = setup.look(&browser, reply.header("location").unwrap()).await;
    assert!(page.text().contains("One session of &lt;script&gt;"), "{}", page.text());
}
