//! An authority that answers what no token API should: nobody falls over, no session ends, nothing is fetched.

use bytes::Bytes;

use super::{
    Pair,
    cases::Refusal,
    served::Served,
    spoken::{Accounts, Behind},
};
use crate::support::{Scripted, authority::Mood};

const OUTSIDE: [Behind; 4] = [Behind::OAuth2, Behind::Redex, Behind::ConsincoJson, Behind::ConsincoXml];
const MODEL: &str = "xmlns=\"http://schemas.datacontract.org/2004/07/Kike.Security.Data.Dto\"";
const ACCESS: &str = "_x003C_accessToken_x003E_k__BackingField";

/// Seconds that an authority is left alone for, at most, if it says nothing of that itself.
const LEFT_ALONE: i64 = 30;

/// Answers that would give tokens if somebody were careless with them. `trap` must never be asked.
fn answers(trap: &str) -> Vec<(&'static str, Bytes)> {
    let bomb: String = (1..12).map(|n| format!("<!ENTITY a{n} \"&a{};&a{};\">", n - 1, n - 1)).collect();
    let in_all = |token: &str| {
        format!(r#"{{"access_token":{token},"token_type":"bearer","Data":{{"AccessToken":{token}}},"StatusCode":200}}"#)
    };
    let utf16 = in_all("\"x\"").encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let latin = [b"{\"access_token\":\"caf\xe9\",\"Data\":{\"AccessToken\":\"caf\xe9\"}}".as_slice(), b""].concat();
    let text = |text: String| Bytes::from(text);
    vec![
        (
            "a bomb",
            text(format!("<!DOCTYPE r [<!ENTITY a0 \"x\">{bomb}]><TokenResponse {MODEL}><{ACCESS}>&a11;</{ACCESS}></TokenResponse>")),
        ),
        (
            "an external entity",
            text(format!(
                "<!DOCTYPE r [<!ENTITY a SYSTEM \"http://{trap}/a\">]><TokenResponse {MODEL}><{ACCESS}>&a;</{ACCESS}></TokenResponse>"
            )),
        ),
        ("a DTD of somebody else", text(format!("<!DOCTYPE r SYSTEM \"http://{trap}/r.dtd\"><TokenResponse {MODEL}/>"))),
        ("deep XML", text("<a>".repeat(15_000))),
        (
            "an element twice",
            text(format!("<TokenResponse {MODEL}><{ACCESS}>a</{ACCESS}><{ACCESS}>b</{ACCESS}></TokenResponse>")),
        ),
        ("another namespace", text(format!("<TokenResponse><{ACCESS}>a</{ACCESS}></TokenResponse>"))),
        ("deep JSON", text("[".repeat(50_000))),
        ("deep JSON inside", text(format!("{{\"access_token\":\"a\",\"Data\":{}", "{\"a\":".repeat(50_000)))),
        (
            "a member twice",
            text(
                "{\"access_token\":\"a\",\"access_token\":\"b\",\"Data\":{\"AccessToken\":\"a\",\"AccessToken\":\"b\"}}"
                    .to_owned(),
            ),
        ),
        ("too much", text(in_all(&format!("\"{}\"", "x".repeat(4 << 20))))),
        ("UTF-16", utf16.into()),
        ("Latin-1", latin.into()),
        ("a number", text(in_all("7"))),
        ("an empty text", text(in_all("\"\""))),
        ("null", text("null".to_owned())),
        ("nothing", Bytes::new()),
        ("zeros", Bytes::from_static(&[0; 1024])),
    ]
}

#[tokio::test]
async fn whatever_the_authority_answers_no_session_ends_by_it_and_nothing_else_is_asked() {
    let trap = Scripted::start().await;
    for behind in OUTSIDE {
        let pair = Pair::start(Served::OAuth2, behind, Accounts::Mapped).await;
        let authority = pair.authority.as_ref().unwrap();
        let mut session = pair.begin().await.unwrap();
        for (name, answer) in answers(&trap.address.to_string()) {
            for status in [200, 400, 500] {
                authority.is(Mood::Saying(status, answer.clone()));
                for request in [Served::OAuth2.renew(&session.refresh), Served::OAuth2.begin(&pair.typed())] {
                    let before = authority.asked().len();
                    pair.sidegate.time.advance(LEFT_ALONE);
                    let refused = pair.is_refused(request, Refusal::Away).await;
                    refused.unwrap_or_else(|error| panic!("{behind:?}, {name}, {status}: {error}"));
                    assert!(authority.asked().len() > before, "it has said so");
                }
            }
            authority.is(Mood::Good);
            pair.sidegate.time.advance(LEFT_ALONE);
            let again = pair.renew(&session.refresh).await;
            session = again.unwrap_or_else(|error| panic!("{behind:?}, after {name}: {error}"));
        }
        pair.is_served(&session.access).await.unwrap();
    }
    assert!(trap.is_untouched().await);
}

#[tokio::test]
async fn a_refusal_that_says_two_things_is_no_refusal() {
    for (behind, answer) in [
        (Behind::OAuth2, r#"{"error":"invalid_grant","error":"server_error"}"#),
        (Behind::ConsincoJson, r#"{"error":"invalid_grant","error":"server_error"}"#),
        (Behind::Redex, r#"{"Message":"invalid_grant","Message":"server_error","StatusCode":401}"#),
    ] {
        let pair = Pair::start(Served::OAuth2, behind, Accounts::Mapped).await;
        let session = pair.begin().await.unwrap();
        let authority = pair.authority.as_ref().unwrap();
        authority.is(Mood::Saying(400, Bytes::from_static(answer.as_bytes())));
        pair.is_refused(Served::OAuth2.renew(&session.refresh), Refusal::Away).await.unwrap();
        authority.is(Mood::Good);
        pair.renew(&session.refresh).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_fits_into_no_header_reaches_no_upstream_and_ends_nothing() {
    for behind in [Behind::OAuth2, Behind::Redex, Behind::ConsincoJson] {
        let pair = Pair::start(Served::OAuth2, behind, Accounts::Mapped).await;
        let authority = pair.authority.as_ref().unwrap();
        let token = r#""a\r\nX-Admin: yes""#;
        let answer = format!(
            r#"{{"access_token":{token},"token_type":"bearer","refresh_token":"r","Data":{{"AccessToken":{token},"RefreshToken":"r"}}}}"#
        );
        authority.is(Mood::Saying(200, answer.into()));
        let reply = pair.send(Served::OAuth2.begin(&pair.typed())).await;
        let given = reply.json()["access_token"].as_str().map(str::to_owned);
        if let Some(access) = given {
            crate::support::get(pair.sidegate.public, "/legacy", &access).await;
        }
        assert!(pair.upstream.seen().iter().all(|seen| seen.header("x-admin").is_none()), "{behind:?}");
        authority.is(Mood::Good);
        pair.begin().await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_never_answers_ends_no_session() {
    for behind in OUTSIDE {
        let impatient = |yaml: String| yaml.replace("accounts: mapped,", "accounts: mapped, timeout: 300ms,");
        let pair = Pair::changed(Served::OAuth2, behind, Accounts::Mapped, impatient).await;
        let session = pair.begin().await.unwrap();
        let authority = pair.authority.as_ref().unwrap();
        authority.is(Mood::Hanging);
        pair.is_refused(Served::OAuth2.renew(&session.refresh), Refusal::Away).await.unwrap();
        pair.is_refused(Served::OAuth2.begin(&pair.typed()), Refusal::Away).await.unwrap();
        authority.is(Mood::Good);
        pair.renew(&session.refresh).await.unwrap();
    }
}

/// API gateways refuse in JSON of their own.
#[tokio::test]
async fn a_gateways_401_in_json_ends_no_session_where_the_api_has_an_envelope() {
    let pair = Pair::start(Served::OAuth2, Behind::Redex, Accounts::Mapped).await;
    let authority = pair.authority.as_ref().unwrap();
    let session = pair.begin().await.unwrap();
    for body in ["{\"message\":\"Unauthorized\"}", "{}", "{\"Message\":\"No API key found in request\"}"] {
        authority.is(Mood::Saying(401, body.into()));
        pair.is_refused(Served::OAuth2.renew(&session.refresh), Refusal::Away).await.unwrap();
    }
    authority.is(Mood::Good);
    pair.renew(&session.refresh).await.unwrap();
}

/// The golden files have a bomb and an external entity; these are the rest, in each dialect's own form.
#[tokio::test]
async fn a_hostile_request_is_a_400_and_asks_nobody_anything() {
    let trap = Scripted::start().await;
    for served in [Served::Redex, Served::ConsincoJson, Served::ConsincoXml] {
        let pair = Pair::start(served, Behind::OAuth2, Accounts::Mapped).await;
        let asked = || pair.authority.as_ref().unwrap().asked().len();
        for (name, body) in answers(&trap.address.to_string()) {
            // More than any request may have is another case of the list.
            for begins in [true, false].into_iter().filter(|_| body.len() < 60 * 1024) {
                let refused =
                    pair.is_refused(served.bytes(begins, served.media(), body.clone()), Refusal::Malformed).await;
                refused.unwrap_or_else(|error| panic!("{served:?}, {name}: {error}"));
            }
        }
        assert_eq!(asked(), 0, "{served:?}");
        pair.begin().await.unwrap();
    }
    assert!(trap.is_untouched().await);
}
