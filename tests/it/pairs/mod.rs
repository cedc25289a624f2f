//! The matrix: every dialect served, before every authority, with every case of one list.

mod cases;
mod hostile;
mod people;
mod served;
pub mod spoken;

use std::sync::Mutex;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use self::{
    cases::{Case, Expected, Refusal},
    served::{Answer, Served, Typed},
    spoken::{Accounts, Behind},
};
use crate::{
    oauth::house::{SECRET, hash},
    support::{
        Reply, Sidegate, Upstream,
        authority::{API_KEY, Authority, CANARY, COMPANY, Mood, PASSWORD, Speech, USERNAME, told},
        get,
        issuer::scratch,
        keys::part,
        log, send,
    },
};

/// One pair, running.
struct Pair {
    served: Served,
    behind: Behind,
    accounts: Accounts,
    sidegate: Sidegate,
    upstream: Upstream,
    authority: Option<Authority>,
    /// Everything that clients were ever told.
    heard: Mutex<String>,
}

/// What is wrong, in words.
type Verdict = Result<(), String>;

impl Pair {
    async fn start(served: Served, behind: Behind, accounts: Accounts) -> Pair {
        Pair::changed(served, behind, accounts, |yaml| yaml).await
    }

    /// The same with another configuration.
    async fn changed(
        served: Served,
        behind: Behind,
        accounts: Accounts,
        change: impl FnOnce(String) -> String,
    ) -> Pair {
        log::written();
        let authority = match behind.speech() {
            Some(speech) => Some(Authority::start(speech).await),
            None => None,
        };
        let upstream = Upstream::start().await;
        let yaml = yaml(served, behind, accounts, authority.as_ref(), &upstream);
        let sidegate = Sidegate::start(&change(yaml)).await;
        Pair { served, behind, accounts, sidegate, upstream, authority, heard: Mutex::default() }
    }

    /// Whatever the dialect asks for, of somebody who may.
    fn typed(&self) -> Typed {
        match (self.behind, self.accounts) {
            (Behind::Local, _) | (_, Accounts::Mapped) => typed(NAME, OWN_PASSWORD, OWN_KEY),
            (_, Accounts::Presented) => typed(USERNAME, PASSWORD, API_KEY),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let reply = send(self.sidegate.public, request).await;
        self.heard.lock().unwrap().push_str(&format!(
            "{:?}\n{}\n",
            reply.headers,
            String::from_utf8_lossy(&reply.body)
        ));
        reply
    }

    async fn begin(&self) -> Result<Answer, String> {
        self.served.granted(&self.send(self.served.begin(&self.typed())).await)
    }

    async fn renew(&self, token: &str) -> Result<Answer, String> {
        self.served.granted(&self.send(self.served.renew(token)).await)
    }

    async fn is_refused(&self, request: Request<Full<Bytes>>, refusal: Refusal) -> Verdict {
        self.served.refused(&self.send(request).await, refusal)
    }

    /// A forwarded call with this token.
    async fn call(&self, token: &str) -> u16 {
        let reply = get(self.sidegate.public, "/orders", token).await;
        self.heard.lock().unwrap().push_str(&format!("{:?}\n{}\n", reply.headers, reply.text()));
        reply.status.as_u16()
    }

    async fn is_served(&self, token: &str) -> Verdict {
        let before = self.upstream.count();
        let status = self.call(token).await;
        must((status, self.upstream.count() - before) == (200, 1), || format!("the call with the token: {status}"))?;
        let seen = self.upstream.last();
        let given = seen.header("authorization").unwrap_or_default();
        must(given.starts_with("Bearer ey") && !given.contains(token), || "no internal JWT went on".into())?;
        self.tells_who(&part(&given["Bearer ".len()..], 1))?;
        let Some(authority) = &self.authority else { return Ok(()) };
        let reply = get(self.sidegate.public, "/legacy", token).await;
        must(reply.status == 200, || format!("the call with the authority's token: {}", reply.text()))?;
        let seen = self.upstream.last();
        let expected = format!("Bearer {}", authority.newest());
        let given = seen.header("authorization");
        must(given == Some(&*expected), || format!("{given:?} went on instead of {expected}"))
    }

    /// Who asks, as the internal JWT has it.
    fn tells_who(&self, claims: &Value) -> Verdict {
        let by_company = matches!(self.behind, Behind::ConsincoJson | Behind::ConsincoXml);
        let subject = match (self.behind, self.accounts) {
            (Behind::Local, _) | (_, Accounts::Mapped) => NAME.to_owned(),
            _ if by_company => format!("{COMPANY}/{USERNAME}"),
            _ if self.served == Served::Redex => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, API_KEY.as_bytes());
                format!("key:{}", BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]))
            }
            _ => USERNAME.to_owned(),
        };
        must(claims["sub"] == *subject, || format!("sub {} instead of {subject}", claims["sub"]))
    }

    async fn run(&self, case: Case) -> Verdict {
        match case {
            Case::Success => self.succeeds().await,
            Case::MissingMember
            | Case::WrongType
            | Case::UnknownMember
            | Case::EmptyBody
            | Case::WrongMediaType
            | Case::BodyOverTheLimit
            | Case::UnknownGrantType
            | Case::UnknownClient
            | Case::WrongSecret
            | Case::WrongCredentials => self.answers(case).await,
            Case::ExpiredRefreshToken => {
                let first = self.begin().await?;
                self.sidegate.time.advance(31 * 24 * 3600);
                self.is_over(&first).await
            }
            Case::RevokedRefreshToken => {
                let first = self.begin().await?;
                let revoked = self.send(self.served.revoke(&first.refresh)).await;
                must(revoked.status == 200, || format!("revocation: {}", revoked.text()))?;
                self.is_over(&first).await
            }
            Case::ReplayedRefreshToken => {
                let first = self.begin().await?;
                let second = self.renew(&first.refresh).await?;
                let third = self.renew(&second.refresh).await?;
                self.sidegate.time.advance(120);
                let asked = self.asked();
                self.is_over(&first).await?;
                must(self.asked() == asked, || "the authority was troubled with a replay".into())?;
                self.is_over(&third).await
            }
            Case::ConcurrentRefresh => self.refreshes_once_for_all().await,
            Case::AuthorityAway => self.outlives_the_authority().await,
            Case::AuthoritySaysNo => self.ends_when_the_authority_says_so().await,
            Case::HardTexts => self.carries_every_text().await,
        }
    }

    async fn succeeds(&self) -> Verdict {
        let first = self.begin().await?;
        self.is_served(&first.access).await?;
        let second = self.renew(&first.refresh).await?;
        must(first.refresh != second.refresh && first.access != second.access, || "nothing was renewed".into())?;
        self.is_served(&second.access).await
    }

    /// Single requests, after which the session and everybody else are as they were.
    async fn answers(&self, case: Case) -> Verdict {
        let mut session = self.begin().await?;
        let redeemed = self.redeemed();
        let asks = self.served.asks(case, &self.typed(), &session.refresh);
        assert!(!asks.is_empty());
        for (number, ask) in asks.into_iter().enumerate() {
            let reply = self.send(ask).await;
            let of_this = |error| format!("request {number}: {error}");
            match case.expected() {
                Expected::Refused(refusal) => self.served.refused(&reply, refusal).map_err(of_this)?,
                Expected::Granted => {
                    let given = self.served.granted(&reply).map_err(of_this)?;
                    if number > 0 {
                        session = given;
                    }
                }
            }
        }
        let expected = usize::from(case.expected() == Expected::Granted);
        must(self.authority.is_none() || self.redeemed() - redeemed == expected, || "the authority was asked".into())?;
        self.renew(&session.refresh).await.map(drop)
    }

    async fn refreshes_once_for_all(&self) -> Verdict {
        let first = self.begin().await?;
        let redeemed = self.redeemed();
        let all = join_all((0..8).map(|_| self.renew(&first.refresh))).await;
        let all: Vec<Answer> = all.into_iter().collect::<Result<_, _>>()?;
        must(all.iter().all(|answer| answer.refresh == all[0].refresh), || "not one successor".into())?;
        must(self.authority.is_none() || self.redeemed() - redeemed == 1, || "not one redemption".into())?;
        for answer in &all {
            self.is_served(&answer.access).await?;
        }
        self.renew(&all[0].refresh).await.map(drop)
    }

    /// Whatever a server in trouble says, no session ends by it.
    async fn outlives_the_authority(&self) -> Verdict {
        let Some(authority) = &self.authority else { return Ok(()) };
        let mut session = self.begin().await?;
        let moods = [
            (Mood::Dead, Refusal::Away),
            (Mood::Status(500), Refusal::Away),
            (Mood::Status(503), Refusal::Away),
            (Mood::Status(404), Refusal::Away),
            // By whatever stands before it.
            (Mood::Status(401), Refusal::Away),
            (Mood::Status(403), Refusal::Away),
            (Mood::Garbage, Refusal::Away),
            (Mood::InvalidClient, Refusal::Away),
            (Mood::TooMany(7), Refusal::Busy),
        ];
        // An API without clients has no such answer.
        let knows_clients = authority.speech != Speech::Consinco;
        for (mood, refusal) in moods.into_iter().filter(|(mood, _)| knows_clients || *mood != Mood::InvalidClient) {
            authority.is(mood.clone());
            let of_this = |error| format!("{mood:?}: {error}");
            self.is_refused(self.served.renew(&session.refresh), refusal).await.map_err(of_this)?;
            self.is_refused(self.served.begin(&self.typed()), refusal).await.map_err(of_this)?;
            self.is_served(&session.access).await.map_err(of_this)?;
            authority.is(Mood::Good);
            session = self.renew(&session.refresh).await.map_err(of_this)?;
        }
        Ok(())
    }

    async fn ends_when_the_authority_says_so(&self) -> Verdict {
        let Some(authority) = &self.authority else { return Ok(()) };
        let session = self.begin().await?;
        self.is_served(&session.access).await?;
        authority.forget_everybody();
        self.is_over(&session).await?;
        let asked = self.asked();
        self.is_over(&session).await?;
        must(self.asked() == asked, || "the authority is asked about a session that is over".into())?;
        let status = self.call(&session.access).await;
        must(status == 401, || format!("its access token is still good: {status}"))
    }

    async fn carries_every_text(&self) -> Verdict {
        let first = self.begin().await?;
        if let Some(authority) = &self.authority {
            let asked = authority.last();
            self.behind.assert_asked(&asked);
            let begun = self.behind.begun();
            must(asked.wanted.as_ref() == Some(&begun), || format!("{:?} instead of {begun:?}", asked.wanted))?;
        }
        self.is_told(&first)?;
        let second = self.renew(&first.refresh).await?;
        if let Some(authority) = &self.authority {
            self.behind.assert_asked(&authority.last());
        }
        // Now with the authority's second refresh token.
        let third = self.renew(&second.refresh).await?;
        self.is_told(&second)?;
        self.is_told(&third)
    }

    /// Whether the answer says of the user what is known of them, where the dialect has words for it.
    fn is_told(&self, answer: &Answer) -> Verdict {
        if !self.served.is_consinco() {
            return Ok(());
        }
        let told_outside = matches!(self.behind, Behind::ConsincoJson | Behind::ConsincoXml);
        let text = |text: &str| Value::from(text);
        let user = match (self.behind, self.accounts) {
            (Behind::Local, _) | (_, Accounts::Mapped) => {
                [text("Zoë Silva <&>"), json!(60), text("Z-60 <&>"), text("own role <&é>"), text(COMPANY), json!(false)]
            }
            (_, Accounts::Presented) if told_outside => {
                [text(told::DISPLAY_NAME), json!(6), text(told::CODE), text(told::ROLE), text(COMPANY), json!(true)]
            }
            (_, Accounts::Presented) => {
                let login = text(USERNAME);
                [login.clone(), Value::Null, login, Value::Null, Value::Null, Value::Null]
            }
        };
        let login = self.typed().username;
        let names = ["username", "id", "userCode", "permissionRole", "company", "isExt"];
        for (name, expected) in names.into_iter().zip(user).chain([("loginId", text(&login)), ("name", text(&login))]) {
            let expected = match (&expected, self.served) {
                (Value::Number(_) | Value::Bool(_), Served::ConsincoXml) => Value::from(expected.to_string()),
                _ => expected,
            };
            must(answer.told[name] == expected, || format!("{name}: {} instead of {expected}", answer.told[name]))?;
        }
        Ok(())
    }

    /// Its refresh token is no good, and neither are those that come after it.
    async fn is_over(&self, answer: &Answer) -> Verdict {
        self.is_refused(self.served.renew(&answer.refresh), Refusal::Grant).await
    }

    fn redeemed(&self) -> usize {
        self.authority.as_ref().map_or(0, Authority::redeemed)
    }

    fn asked(&self) -> usize {
        self.authority.as_ref().map_or(0, |authority| authority.asked().len())
    }
}

fn must(good: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(otherwise()) }
}

/// All cases of one pair, in every way in which its credentials can meet; all failures at once.
async fn all_cases(served: Served, behind: Behind) {
    let mut failures = Vec::new();
    for accounts in ways(served, behind) {
        let pair = Pair::start(served, behind, accounts).await;
        for case in Case::ALL {
            if let Err(error) = pair.run(case).await {
                failures.push(format!("{served:?} before {behind:?} ({accounts:?}), {case:?}: {error:.600}"));
            }
            // A case that has failed on its way must not spoil the next one.
            if let Some(authority) = &pair.authority {
                authority.is(Mood::Good);
            }
        }
        let heard = pair.heard.lock().unwrap().clone();
        if heard.contains(CANARY) {
            failures.push(format!(
                "{served:?} before {behind:?} ({accounts:?}): a client was told what is the authority's"
            ));
        }
    }
    let log = log::written().text();
    failures.extend(log.lines().find(|line| line.contains(CANARY)).map(|line| format!("in the log: {line}")));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// What the client presents goes on where the authority has a word for it; an account always works.
fn ways(served: Served, behind: Behind) -> Vec<Accounts> {
    let by_key = served == Served::Redex;
    match behind {
        Behind::Local => vec![Accounts::Presented],
        Behind::Redex if by_key => vec![Accounts::Presented, Accounts::Mapped],
        Behind::OAuth2 | Behind::ConsincoJson | Behind::ConsincoXml if !by_key => {
            vec![Accounts::Presented, Accounts::Mapped]
        }
        _ => vec![Accounts::Mapped],
    }
}

fn yaml(
    served: Served,
    behind: Behind,
    accounts: Accounts,
    authority: Option<&Authority>,
    upstream: &Upstream,
) -> String {
    let secrets = scratch("pairs");
    let remote = authority.map(|authority| behind.yaml(authority, accounts, &secrets)).unwrap_or_default();
    let grants = if served == Served::Redex { "api_key" } else { "password" };
    let mut users = String::new();
    if behind == Behind::Local || accounts == Accounts::Mapped {
        let text = |text: &str| Value::from(text).to_string();
        let claims = json!({"username": "Zoë Silva <&>", "id": 60, "userSequence": 80, "userCode": "Z-60 <&>",
            "permissionRole": "own role <&é>", "company": COMPANY, "isExt": false});
        users = format!(
            "  users:\n    - {{ username: {}, password_hash: \"{}\", api_key_hashes: [\"{}\"], claims: {claims}, {} }}\n",
            text(NAME),
            hash(OWN_PASSWORD),
            hash(OWN_KEY),
            behind.account(&secrets),
        );
    }
    let endpoints = match served {
        Served::OAuth2 => "",
        Served::Redex => "  endpoints: { redex: {} }\n",
        Served::ConsincoJson | Served::ConsincoXml => {
            "  endpoints: { consinco: { client: pos, claims: { id: id, userSequence: userSequence, isExt: isExt } } }\n"
        }
    };
    let clients = match served {
        Served::OAuth2 | Served::Redex => format!(
            "    - {{ id: app, secret_hashes: [\"{}\"], grants: [{grants}, refresh_token], scopes: [orders] }}\n",
            hash(SECRET)
        ),
        Served::ConsincoJson | Served::ConsincoXml => {
            "    - { id: pos, public: true, grants: [password, refresh_token], scopes: [orders] }\n".to_owned()
        }
    };
    let (legacy, route) = match authority {
        None => (String::new(), ""),
        Some(_) => (
            format!(
                "  - {{ name: legacy, url: \"http://{}\", credential: {{ authority_token: {{}} }} }}\n",
                upstream.address
            ),
            "  - { name: legacy, paths: [/legacy], upstream: legacy, policy: { issuers: [local], audiences: [orders-api] } }\n",
        ),
    };
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n{remote}{endpoints}  clients:\n{clients}{users}\
         store: {{ memory: {{}} }}\n\
         internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\", credential: {{ internal_jwt: {{ audience: app }} }} }}\n{legacy}\
         routes:\n  - {{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}\n{route}",
        upstream.address
    )
}

fn typed(username: &str, password: &str, api_key: &str) -> Typed {
    Typed {
        username: username.to_owned(),
        password: password.to_owned(),
        company: COMPANY.to_owned(),
        api_key: api_key.to_owned(),
    }
}

/// A user of our own.
const NAME: &str = "Zoë <i>&\"'ç漢😀";
const OWN_PASSWORD: &str = "own password <&>\"' %41+\\ç漢😀";
const OWN_KEY: &str = "own key <&>\"' %41+ç漢😀 0e02b2c3d47";

macro_rules! pairs {
    ($($test:ident: $served:ident before $behind:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            all_cases(Served::$served, Behind::$behind).await;
        }
    )*};
}

pairs! {
    oauth2_by_the_local_authority: OAuth2 before Local;
    oauth2_before_oauth2: OAuth2 before OAuth2;
    oauth2_before_redex: OAuth2 before Redex;
    oauth2_before_consinco_in_json: OAuth2 before ConsincoJson;
    oauth2_before_consinco_in_xml: OAuth2 before ConsincoXml;
    redex_by_the_local_authority: Redex before Local;
    redex_before_oauth2: Redex before OAuth2;
    redex_before_redex: Redex before Redex;
    redex_before_consinco_in_json: Redex before ConsincoJson;
    redex_before_consinco_in_xml: Redex before ConsincoXml;
    consinco_in_json_by_the_local_authority: ConsincoJson before Local;
    consinco_in_json_before_oauth2: ConsincoJson before OAuth2;
    consinco_in_json_before_redex: ConsincoJson before Redex;
    consinco_in_json_before_consinco_in_json: ConsincoJson before ConsincoJson;
    consinco_in_json_before_consinco_in_xml: ConsincoJson before ConsincoXml;
    consinco_in_xml_by_the_local_authority: ConsincoXml before Local;
    consinco_in_xml_before_oauth2: ConsincoXml before OAuth2;
    consinco_in_xml_before_redex: ConsincoXml before Redex;
    consinco_in_xml_before_consinco_in_json: ConsincoXml before ConsincoJson;
    consinco_in_xml_before_consinco_in_xml: ConsincoXml before ConsincoXml;
}
