//! Who signs in: what a refusal tells and costs, how guessing is slowed, and what a change of the files ends.

use std::fs;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use futures_util::future::join_all;

use super::house::{
    PASSWORD, SECRET, as_app, assert_refused, authority, client, form, hash, is_active, password, public, refresh,
    text, token,
};
use crate::support::{
    Reply, Sidegate, Upstream, get,
    issuer::{Served, scratch},
    send,
};

/// A slow hash, though not as slow as it should be.
fn slow(password: &str) -> String {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
    cheap.hash_password_with_salt(password.as_bytes(), b"sidegate-salt").unwrap().to_string()
}

/// `ana` and the disabled `bea` have slow hashes, and so has the client `old`; `app` may use passwords.
fn house(ana: &str, more: &str) -> String {
    let user = |name: &str, more: &str, hash: &str| {
        format!("{{ username: {name}, subject: sub-{name}, password_hash: \"{hash}\", {more} }}")
    };
    authority(
        &[
            client("app", "grants: [password, client_credentials, refresh_token], scopes: [orders]"),
            format!("{{ id: old, secret_hashes: [\"{}\"], grants: [client_credentials] }}", slow(SECRET)),
            format!(
                "{{ id: off, enabled: false, secret_hashes: [\"{}\"], grants: [client_credentials] }}",
                slow(SECRET)
            ),
            public("page", "grants: [password]"),
        ],
        &[user("ana", "", &slow(ana)), user("bea", "enabled: false", &slow(ana))],
        more,
    )
}

/// The same behind a proxy that says where clients are.
pub fn behind_a_proxy(more: &str) -> String {
    house(PASSWORD, more) + "trusted_proxies: [127.0.0.0/8]\n"
}

pub const STRICT: &str = "  throttle:
    per_pair: { requests: 1, per: 60s, burst: 3 }
    per_address: { requests: 1, per: 30s, burst: 20 }
    per_name: { requests: 1, per: 20s, burst: 6 }
";

pub async fn ask_from(sidegate: &Sidegate, address: &str, body: &str) -> Reply {
    send(sidegate.public, form("/oauth20/token", body, &[("x-forwarded-for", address)])).await
}

pub fn typed(name: &str, password: &str) -> String {
    as_app(&format!("grant_type=password&username={name}&password={password}"))
}

/// Everything but what differs between any two answers.
fn told(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    let headers = reply.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (reply.status.as_u16(), reply.text().to_owned(), headers)
}

async fn hashes(sidegate: &Sidegate) -> f64 {
    let mut sum = 0.0;
    for result in ["right", "wrong"] {
        sum += sidegate.series(&format!("sidegate_password_hashes_total{{result=\"{result}\"}}")).await;
    }
    sum
}

/// S38. Time is shown by what is done: one slow hash each.
#[tokio::test]
async fn s38_unknown_wrong_and_disabled_are_one_answer_at_one_price() {
    let sidegate = Sidegate::start(&house(PASSWORD, "")).await;
    let mut users = Vec::new();
    for (name, password) in [("ana", "wrong"), ("nobody", "wrong"), ("bea", "wrong"), ("bea", PASSWORD)] {
        let before = hashes(&sidegate).await;
        let reply = token(&sidegate, &typed(name, password)).await;
        assert_refused(&reply, 400, "invalid_grant");
        assert_eq!(hashes(&sidegate).await, before + 1.0, "{name} {password}");
        users.push(told(&reply));
    }
    assert!(users.windows(2).all(|pair| pair[0] == pair[1]), "{users:?}");

    let mut clients = Vec::new();
    for (id, secret) in [("old", "wrong"), ("app", "wrong"), ("nobody", "wrong"), ("off", SECRET), ("page", "wrong")] {
        let before = hashes(&sidegate).await;
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let reply = token(&sidegate, &body).await;
        assert_refused(&reply, 401, "invalid_client");
        assert_eq!(hashes(&sidegate).await, before + 1.0, "{id}");
        clients.push(told(&reply));
    }
    assert!(clients.windows(2).all(|pair| pair[0] == pair[1]), "{clients:?}");
}

/// S37, for passwords.
#[tokio::test]
async fn s37_guessing_a_password_is_slowed_for_the_pair_first_and_ends_with_time() {
    let sidegate = Sidegate::start(&behind_a_proxy(STRICT)).await;
    for _ in 0..3 {
        assert_refused(&ask_from(&sidegate, "192.0.2.1", &typed("ana", "wrong")).await, 400, "invalid_grant");
    }
    let before = hashes(&sidegate).await;
    let right = ask_from(&sidegate, "192.0.2.1", &typed("ana", PASSWORD)).await;
    assert_refused(&right, 429, "invalid_grant");
    assert_eq!(right.header("retry-after"), Some("60"));
    assert_eq!(told(&right), told(&ask_from(&sidegate, "192.0.2.1", &typed("ana", "wrong")).await));
    assert_eq!(hashes(&sidegate).await, before, "nothing expensive is done for a throttled guess");

    assert_eq!(ask_from(&sidegate, "192.0.2.2", &typed("ana", PASSWORD)).await.status, 200);
    // Many addresses guess for her now; she still gets in from where she was.
    for number in 10..13 {
        assert_refused(
            &ask_from(&sidegate, &format!("192.0.2.{number}"), &typed("ana", "wrong")).await,
            400,
            "invalid_grant",
        );
    }
    assert_eq!(ask_from(&sidegate, "192.0.2.20", &typed("ana", PASSWORD)).await.status, 429);
    assert_eq!(ask_from(&sidegate, "192.0.2.2", &typed("ana", PASSWORD)).await.status, 200);

    // A new configuration forgives nothing.
    let more = format!("  sessions_per_user: 7\n{STRICT}");
    sidegate.reload(&behind_a_proxy(&more)).await;
    assert_eq!(ask_from(&sidegate, "192.0.2.1", &typed("ana", PASSWORD)).await.status, 429);
    sidegate.time.advance(61);
    assert_eq!(ask_from(&sidegate, "192.0.2.1", &typed("ana", PASSWORD)).await.status, 200);
    assert!(sidegate.series("sidegate_rate_limited_total{scope=\"sign_in\"}").await >= 4.0);
    assert!(sidegate.series("sidegate_sign_ins_total{result=\"throttled\"}").await >= 4.0);
}

/// S37, for client secrets. What was generated cannot be guessed, so trying keeps its owner from nothing.
#[tokio::test]
async fn s37_guessing_a_client_secret_is_slowed_and_generated_ones_get_in() {
    let sidegate = Sidegate::start(&house(PASSWORD, STRICT)).await;
    let ask = |id: &str, secret: &str| format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    for id in ["old", "app"] {
        for _ in 0..3 {
            assert_refused(&token(&sidegate, &ask(id, "wrong")).await, 401, "invalid_client");
        }
        let slowed = token(&sidegate, &ask(id, "wrong")).await;
        assert_refused(&slowed, 429, "invalid_client");
        assert_eq!(slowed.header("retry-after"), Some("60"));
    }
    assert_eq!(token(&sidegate, &ask("old", SECRET)).await.status, 429);
    assert_eq!(token(&sidegate, &ask("app", SECRET)).await.status, 200);
    assert_eq!(token(&sidegate, &typed("ana", PASSWORD)).await.status, 200, "users are counted apart");
    sidegate.time.advance(61);
    assert_eq!(token(&sidegate, &ask("old", SECRET)).await.status, 200);
}

/// S24.
#[tokio::test]
async fn s24_a_changed_password_ends_the_sessions_that_it_began() {
    let sidegate = Sidegate::start(&house(PASSWORD, "")).await;
    let begun = password(&sidegate).await;
    let again = refresh(&sidegate, &text(&begun, "refresh_token")).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(is_active(&sidegate, &text(&again, "access_token")).await);

    sidegate.reload(&house("another-password", "")).await;
    assert_refused(&refresh(&sidegate, &text(&again, "refresh_token")).await, 400, "invalid_grant");
    assert_refused(&password(&sidegate).await, 400, "invalid_grant");
    assert_eq!(token(&sidegate, &typed("ana", "another-password")).await.status, 200);
}

/// 200 wrong passwords at once, each from an address of its own: passwords get their few threads and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_wrong_passwords_leaves_forwarding_alone() {
    let upstream = Upstream::start().await;
    let yaml = behind_a_proxy("").replace("http://127.0.0.1:9\"", &format!("http://{}\"", upstream.address));
    let sidegate = Sidegate::start(&yaml).await;
    let ours = text(&token(&sidegate, &as_app("grant_type=client_credentials")).await, "access_token");
    assert_eq!(get(sidegate.public, "/", &ours).await.status, 200);

    let storm = join_all((0..200).map(|number| {
        let (address, guess) = (format!("198.51.100.{number}"), typed("ana", &format!("wrong-{number}")));
        let sidegate = &sidegate;
        async move { ask_from(sidegate, &address, &guess).await.status.as_u16() }
    }));
    let forwarded = join_all((0..100).map(|_| get(sidegate.public, "/", &ours)));
    let (guessed, forwarded) = futures_util::future::join(storm, forwarded).await;
    assert!(forwarded.iter().all(|reply| reply.status == 200));
    assert_eq!(upstream.count(), 101);
    let (wrong, turned_away): (Vec<u16>, Vec<u16>) = guessed.iter().partition(|status| **status == 400);
    assert!(turned_away.iter().all(|status| *status == 429), "{turned_away:?}");
    assert_eq!(hashes(&sidegate).await, wrong.len() as f64);
    assert!(wrong.len() <= 120, "more than a name may be guessed for: {}", wrong.len());
}

#[tokio::test]
async fn clients_and_users_in_files_change_with_a_reload() {
    let folder = scratch("people");
    let here = folder.display();
    let client = |id: &str| {
        format!("- {{ id: {id}, secret_hashes: ['{}'], grants: [password, refresh_token] }}\n", hash(SECRET))
    };
    let user = |name: &str| format!("- {{ username: {name}, password_hash: '{}' }}\n", slow(PASSWORD));
    let write = |clients: &str, users: &str| {
        fs::write(folder.join("clients.yaml"), format!("clients:\n{clients}")).unwrap();
        fs::write(folder.join("users.yaml"), format!("users:\n{users}")).unwrap();
    };
    let yaml = house(PASSWORD, "");
    let (head, rest) = (yaml.split("  clients:\n").next().unwrap(), yaml.split("store:").nth(1).unwrap());
    let yaml = format!("{head}  clients_file: {here}/clients.yaml\n  users_file: {here}/users.yaml\nstore:{rest}");
    write(&client("app"), &(user("ana") + &user("bob")));
    let sidegate = Sidegate::start(&yaml).await;
    let ana = password(&sidegate).await;
    let bob = token(&sidegate, &typed("bob", PASSWORD)).await;
    assert_eq!((ana.status.as_u16(), bob.status.as_u16()), (200, 200), "{}", ana.text());

    write(&(client("app") + &client("second")), &(user("ana") + &user("eve")));
    sidegate.reload(&yaml).await;
    assert_eq!(refresh(&sidegate, &text(&ana, "refresh_token")).await.status, 200);
    assert_refused(&refresh(&sidegate, &text(&bob, "refresh_token")).await, 400, "invalid_grant");
    let second =
        format!("grant_type=password&username=eve&password={PASSWORD}&client_id=second&client_secret={SECRET}");
    assert_eq!(token(&sidegate, &second).await.status, 200);

    write(&client("second"), &user("ana"));
    sidegate.reload(&yaml).await;
    assert_refused(&refresh(&sidegate, &text(&ana, "refresh_token")).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_service_may_say_who_a_user_is() {
    let users = Served::start(200, r#"{"subject": "u-7", "claims": {"email": "a@b"}}"#.to_owned()).await;
    let yaml = authority(
        &[client("app", "grants: [password, refresh_token], scopes: [orders]")],
        &[],
        &format!("  user_service: {{ http: {{ url: \"{}/verify\" }} }}\n{STRICT}", users.url),
    );
    let sidegate = Sidegate::start(&yaml).await;
    let reply = password(&sidegate).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(super::house::introspect(&sidegate, &text(&reply, "access_token")).await.json()["sub"], "u-7");
    assert_eq!(refresh(&sidegate, &text(&reply, "refresh_token")).await.status, 200);

    assert_eq!(users.asked(), 1);
    assert_refused(&token(&sidegate, &typed("ana", "")).await, 400, "invalid_request");
    assert_eq!(users.asked(), 1, "nobody is asked about an empty password");
    // Its id would make the user pass for the client.
    for (status, body) in [(500, ""), (200, "{}"), (200, r#"{"subject": "app"}"#), (200, r#"{"subject": ""}"#)] {
        users.set(status, body);
        let reply = password(&sidegate).await;
        assert_refused(&reply, 503, "temporarily_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    users.set(401, "");
    for _ in 0..3 {
        assert_refused(&password(&sidegate).await, 400, "invalid_grant");
    }
    let asked = users.asked();
    assert_refused(&password(&sidegate).await, 429, "invalid_grant");
    assert_eq!(users.asked(), asked, "a throttled guess is not passed on");
}
