//! HTTP Basic (RFC 7617) in place of a token, on routes for clients that know nothing else: one session for each user
//! and client, and the password verified once in the life of a cached verdict.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    Auth, Principal, Refusal,
    bearer::BearerError,
    own::{Own, claims, trusts_local, unavailable},
    policy::Policy,
    verdict::{Standing, Verdict},
};
use crate::{
    authority::{Denied, Identity},
    config::{Client, LOCAL_ISSUER},
    model::{Context, GrantType, Secret},
    session::{Filter, Granted, Opening, Session, SessionId, Watched, record::RevocationReason},
    spans,
    telemetry::{
        audit::{Entry, Event},
        metrics::Method,
        reason::Reason,
    },
};

/// The one `Authorization: Basic …` of a request; `None` if there is none.
///
/// # Errors
/// If it stands beside other credentials.
pub fn presented(headers: &HeaderMap) -> Result<Option<&HeaderValue>, BearerError> {
    let values = headers.get_all(AUTHORIZATION);
    let is_basic = |value: &&HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"basic")
    };
    match values.iter().find(is_basic) {
        Some(_) if values.iter().nth(1).is_some() => Err(BearerError::Malformed("the header stands more than once")),
        basic => Ok(basic),
    }
}

/// Name and password, as they were typed.
struct Typed {
    username: String,
    password: Secret<String>,
}

impl Typed {
    fn read(value: &HeaderValue) -> Option<Typed> {
        let (_, encoded) = value.to_str().ok()?.split_once(' ')?;
        let encoded = encoded.trim_matches(' ');
        if encoded.len() > LONGEST {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
        let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        // RFC 7617, section 2: no control characters. An empty password is one that some directories take for none.
        let good = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        (good(username) && good(password))
            .then(|| Typed { username: username.to_owned(), password: Secret::new(password.to_owned()) })
    }
}

/// What a flight brings: the session, and whether the password can change unseen.
#[derive(Clone)]
struct Found {
    session: Arc<Session>,
    live: Arc<Watched>,
    outside: bool,
}

type Outcome = Result<Found, Refusal>;

/// Verifications under way, by digest of the credentials.
pub(super) struct Flights {
    open: Mutex<HashMap<[u8; 16], Flight>>,
    /// By user: who comes second finds the session of the first.
    doors: [tokio::sync::Mutex<()>; DOORS],
    hasher: RandomState,
}

struct Flight {
    landed: watch::Receiver<Option<Outcome>>,
    /// Those who wait for it, and its task.
    seats: usize,
}

/// Keeps a flight on the board. The last to leave takes it off: by then the verdict is in the cache.
struct Seat {
    flights: Arc<Flights>,
    digest: [u8; 16],
}

impl Seat {
    /// Joins the flight of `digest`, or founds it: then with what tells the others of its landing.
    #[allow(clippy::type_complexity, reason = "two ends of one channel")]
    fn take(
        flights: &Arc<Flights>,
        digest: [u8; 16],
    ) -> (Seat, watch::Receiver<Option<Outcome>>, Option<watch::Sender<Option<Outcome>>>) {
        let seat = Seat { flights: flights.clone(), digest };
        let mut open = flights.open();
        if let Some(flight) = open.get_mut(&digest) {
            flight.seats += 1;
            return (seat, flight.landed.clone(), None);
        }
        let (landing, landed) = watch::channel(None);
        open.insert(digest, Flight { landed: landed.clone(), seats: 1 });
        (seat, landed, Some(landing))
    }
}

impl Clone for Seat {
    fn clone(&self) -> Seat {
        if let Some(flight) = self.flights.open().get_mut(&self.digest) {
            flight.seats += 1;
        }
        Seat { flights: self.flights.clone(), digest: self.digest }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        if let Some(flight) = open.get_mut(&self.digest) {
            flight.seats -= 1;
            if flight.seats == 0 {
                open.remove(&self.digest);
            }
        }
    }
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 16], Flight>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Flights {
    fn default() -> Flights {
        Flights {
            open: Mutex::default(),
            doors: std::array::from_fn(|_| Default::default()),
            hasher: RandomState::new(),
        }
    }
}

impl Auth {
    /// Judges name and password under `policy`, for the client that the route names: from the cache where it can.
    ///
    /// # Errors
    /// The refusal, or [`Reason::Undecided`] where no verdict can be had now.
    pub async fn authenticate_basic(
        &self,
        credentials: &HeaderValue,
        client: &str,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Principal, Refusal> {
        let verdict = self.judge_basic(credentials, client, policy, cx).await?;
        self.admit(verdict, policy)
    }

    async fn judge_basic(
        &self,
        credentials: &HeaderValue,
        client: &str,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Arc<Verdict>, Refusal> {
        let own = self.own.as_ref().ok_or(Refusal::new(Reason::ClientRefused, "no_authority"))?;
        trusts_local(policy)?;
        let digest = self.cache.digest_basic(client, credentials.as_bytes());
        let digest = digest.map_err(|_| Refusal::new(Reason::Undecided, "digest_failed"))?;
        let known = || self.cache.find(digest).filter(|verdict| verdict.standing(cx.now) == Standing::Good);
        for _ in 0..ATTEMPTS {
            if let Some(verdict) = known() {
                return Ok(verdict);
            }
            let typed = Typed::read(credentials).ok_or(Refusal::new(Reason::TokenMalformed, "malformed_basic"))?;
            let client = own.authority.client(client).filter(|client| client.enabled && client.may(GrantType::Basic));
            let client = client.ok_or(Refusal::new(Reason::ClientRefused, "client_disabled"))?;
            let (seat, landed, landing) = Seat::take(&own.flights, digest.bytes());
            let founded = landing.is_some();
            if let Some(landing) = landing {
                // Another flight may have landed since the look into the cache; who has joined this one looks again.
                if let Some(verdict) = known() {
                    return Ok(verdict);
                }
                own.take_off(typed, client, cx, seat.clone(), landing);
            }
            if !founded {
                self.cache.coalesced();
            }
            if let Some(outcome) = self.timed(Method::Basic, arrival(landed)).await {
                return self.keep_own(digest, self.verdict_of_found(own, outcome?, client, cx));
            }
        }
        Err(Refusal::new(Reason::Undecided, "verification_dropped"))
    }

    fn verdict_of_found(&self, own: &Own, found: Found, client: &Client, cx: &Context) -> Verdict {
        let Found { session, live, outside } = found;
        let longest = if outside { LONGEST_OUTSIDE } else { LONGEST_LIFE };
        let life = client.access_lifetime.min(longest).as_secs();
        let valid_until = cx.now.plus(life).min(own.sessions.on_our_clock(session.state.absolute));
        Verdict {
            session: Some(live),
            ..self.verdict(
                LOCAL_ISSUER,
                &claims(own.issuer(), &session, session.granted.scope.to_string()).into(),
                session.granted.audiences.iter().map(String::as_str),
                valid_until,
                valid_until,
            )
        }
    }
}

impl Own {
    /// Detached: others wait for it, and a session that was opened must be found again.
    fn take_off(
        &self,
        typed: Typed,
        client: &Arc<Client>,
        cx: &Context,
        seat: Seat,
        landing: watch::Sender<Option<Outcome>>,
    ) {
        let (own, client, cx) = (self.clone(), client.clone(), cx.clone());
        self.sessions.background().spawn(spans::carried(async move {
            let _seat = seat;
            landing.send_replace(Some(own.fly(typed, &client, &cx).await));
        }));
    }

    async fn fly(&self, typed: Typed, client: &Client, cx: &Context) -> Outcome {
        let user = self.authority.verify_user(&typed.username, &typed.password, &client.id, cx).await;
        let user = user.map_err(|denied| {
            let (event, refusal) = match denied {
                Denied::Wrong => (Event::SignInFailed, Refusal::new(Reason::PasswordWrong, "wrong_password")),
                Denied::Throttled(seconds) => {
                    let refusal = Refusal::new(Reason::RateLimited, "password_throttled");
                    (Event::Throttled, Refusal { retry_after: Some(seconds), ..refusal })
                }
                Denied::Unavailable(cause) => {
                    tracing::warn!(cause, "a password could not be verified");
                    return Refusal::new(Reason::Undecided, "users_unavailable");
                }
            };
            let mut entry = entry(event, client, cx);
            entry.subject = Some(&typed.username);
            entry.reason = Some(refusal.code);
            entry.write();
            refusal
        })?;
        let outside = user.credential.is_none();
        let (session, live) = self.session_of(user, client, cx).await?;
        Ok(Found { session: Arc::new(session), live, outside })
    }

    /// The session that `user` has by HTTP Basic with `client`; a new one if there is none.
    async fn session_of(
        &self,
        user: Identity,
        client: &Client,
        cx: &Context,
    ) -> Result<(Session, Arc<Watched>), Refusal> {
        let door = self.flights.hasher.hash_one(&user.subject) as usize % DOORS;
        let _door = self.flights.doors[door].lock().await;
        let granted = self.granted(user, client)?;
        let filter = Filter { user: Some(granted.subject.clone()), client: Some(client.id.to_string()), alive: true };
        let mut after = None;
        loop {
            let page = self.sessions.list(filter.clone(), after, PAGE).await.map_err(unavailable)?;
            for session in page.iter().filter(|session| session.granted.grant == GrantType::Basic) {
                if !is_same(&session.granted, &granted) {
                    // What it was opened for is not so any more: password, claims, or what the client may have.
                    let reason = RevocationReason::AccountChanged;
                    self.sessions.revoke(session.id, reason).await.map_err(unavailable)?;
                } else if let Ok(live) = self.live_session(session.id).await {
                    return Ok(live);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id),
                _ => break,
            }
        }
        let id = SessionId::random().map_err(|_| Refusal::new(Reason::Undecided, "no_randomness"))?;
        let subject = granted.subject.clone();
        let opening = Opening {
            id,
            client: client.id.to_string(),
            granted,
            held: None,
            idle: client.idle.as_secs(),
            absolute: client.absolute.as_secs(),
            refresh: None,
            access: None,
            most: self.authority.settings().sessions_per_user,
        };
        let opened = self.sessions.open(opening).await.map_err(unavailable)?;
        opened.ok_or(Refusal::new(Reason::Undecided, "no_free_session_id"))?;
        let mut entry = entry(Event::Granted, client, cx);
        entry.subject = Some(&subject);
        entry.session = Some(&id);
        entry.write();
        self.live_session(id).await
    }

    fn granted(&self, user: Identity, client: &Client) -> Result<Granted, Refusal> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| Refusal::new(Reason::Undecided, "no_randomness"))?;
        Ok(Granted {
            subject: user.subject,
            username: Some(user.username),
            grant: GrantType::Basic,
            scope: client.default_scopes.clone(),
            audiences: client.audiences.clone(),
            claims: user.claims,
            auth_time: self.sessions.now(),
            credential: user.credential,
            salt,
            master_key: self.sessions.ring().current(),
            outside: false,
        })
    }
}

/// `None` if the flight never took off.
async fn arrival(mut landed: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    landed.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
}

/// Whether a session for `one` does for `other`.
fn is_same(one: &Granted, other: &Granted) -> bool {
    one.subject == other.subject
        && one.username == other.username
        && one.scope == other.scope
        && one.audiences == other.audiences
        && one.claims == other.claims
        && one.credential == other.credential
}

fn entry<'a>(event: Event, client: &'a Client, cx: &'a Context) -> Entry<'a> {
    let mut entry = Entry::new(event, Some(cx));
    entry.client = Some(&client.id);
    entry.grant = Some(GrantType::Basic);
    entry
}

/// Bytes of `user-pass` in base64.
const LONGEST: usize = 4096;
/// A password is verified again after this time, however long the client's tokens live; sooner where a change of it is
/// not seen here.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
const LONGEST_OUTSIDE: Duration = Duration::from_secs(300);
const DOORS: usize = 64;
const ATTEMPTS: usize = 3;
/// Sessions that are looked through at once.
const PAGE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let typed = Typed::read(&HeaderValue::from_str(value).unwrap())?;
        Some((typed.username.clone(), typed.password.expose().clone()))
    }

    fn encoded(text: &[u8]) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[test]
    fn name_and_password_are_what_stands_around_the_first_colon() {
        let both = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), both("Aladdin", "open sesame"));
        assert_eq!(read(&encoded("jürgen:a:b:€".as_bytes())), both("jürgen", "a:b:€"));
        assert_eq!(read("bAsIc   QTpi"), both("A", "b"));
    }

    #[test]
    fn whatever_else_stands_there_is_none() {
        let long = encoded(format!("a:{}", "x".repeat(LONGEST)).as_bytes());
        for value in ["Basic", "Basic ", "Basic !", "Basic QTpi=", "Basic QTpi,QTpi", "Basic QTpi QTpi", &long] {
            assert_eq!(read(value), None, "{value}");
        }
        for text in
            [b"nocolon".as_slice(), b":password", b"name:", b"na\0me:x", b"name:x\0", b"name:\n", b"\xff:x", b""]
        {
            assert_eq!(read(&encoded(text)), None, "{text:?}");
        }
    }

    #[test]
    fn basic_is_found_whatever_its_letter_case_and_only_alone() {
        let headers = |values: &[&'static str]| {
            values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        assert!(presented(&headers(&["bASIC QTpi"])).unwrap().is_some());
        for none in [&[][..], &["Bearer x"], &["Basics QTpi"], &["Bearer x", "Bearer y"]] {
            assert!(presented(&headers(none)).unwrap().is_none(), "{none:?}");
        }
        for twice in [&["Basic QTpi", "Basic QTpi"][..], &["Bearer x", "Basic QTpi"], &["Basic QTpi", ""]] {
            assert!(presented(&headers(twice)).is_err(), "{twice:?}");
        }
    }
}
