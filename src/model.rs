//! The words that every floor shares.

pub mod build;
mod random;
mod token;
pub mod words;

pub use self::{random::distinct, token::*};

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroize;

/// A moment in whole seconds since 1970 (the NumericDate of RFC 7519, without a fraction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time from `self` to `later`; zero if that has passed.
    pub fn until(self, later: UnixTime) -> Duration {
        Duration::from_secs(later.0.saturating_sub(self.0))
    }

    pub fn plus(self, seconds: u64) -> UnixTime {
        UnixTime(self.0.saturating_add(seconds))
    }

    pub fn minus(self, seconds: u64) -> UnixTime {
        UnixTime(self.0.saturating_sub(seconds))
    }
}

/// A moment in milliseconds since 1970: for leases, which whole seconds are too coarse for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The time from `self` to `later`; zero if that has passed.
    pub fn until(self, later: UnixMillis) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    pub fn plus(self, duration: Duration) -> UnixMillis {
        UnixMillis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The second that it lies in.
    pub fn whole(self) -> UnixTime {
        UnixTime(self.0 / 1000)
    }
}

/// The clock: the system's, plus an offset that only tests move.
///
/// It is read once per request; everything below takes the moment as an argument.
#[derive(Debug, Clone)]
pub struct Time {
    offset: Arc<watch::Sender<i64>>,
    /// Seconds by which the clock goes wrong.
    wrong_by: i64,
}

impl Default for Time {
    fn default() -> Self {
        Time { offset: Arc::new(watch::Sender::new(0)), wrong_by: 0 }
    }
}

impl Time {
    pub fn now(&self) -> UnixTime {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        UnixTime(system.saturating_add_signed(self.moved() + self.wrong_by))
    }

    pub fn now_millis(&self) -> UnixMillis {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let system = u64::try_from(system.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(system.saturating_add_signed((self.moved() + self.wrong_by).saturating_mul(1000)))
    }

    /// The same time, told by a clock that goes wrong by so many seconds. Nothing but tests has one.
    pub fn wrong_by(&self, seconds: i64) -> Time {
        Time { wrong_by: self.wrong_by + seconds, ..self.clone() }
    }

    /// Seconds that time was moved by: what tests move, moves for everything that tells the time.
    pub fn moved(&self) -> i64 {
        *self.offset.borrow()
    }

    /// Moves the clock; sleepers look at it again.
    pub fn advance(&self, seconds: i64) {
        self.offset.send_modify(|offset| *offset += seconds);
    }

    /// Returns once `deadline` has come, also if the clock was moved there.
    pub async fn sleep_until(&self, deadline: UnixTime) {
        let mut moved = self.offset.subscribe();
        loop {
            moved.borrow_and_update();
            let now = self.now();
            if now >= deadline {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(now.until(deadline)) => {}
                _ = moved.changed() => {}
            }
        }
    }

    /// Sleeps until `duration` after `start`, so that a clock that moved in between is not overlooked. Under a second,
    /// the system's clock alone decides.
    pub async fn sleep_from(&self, start: UnixTime, duration: Duration) {
        if duration < Duration::from_secs(1) {
            tokio::time::sleep(duration).await;
        } else {
            self.sleep_until(start.plus(duration.as_secs())).await;
        }
    }
}

/// A value that cannot be printed, is compared in constant time and is wiped when dropped.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself. Every call is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix,
}

impl Peer {
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

/// What the server knows of the connection that a request came on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The listener's name and limits when the connection was accepted: a reload may have moved or removed it since.
    pub listener: Arc<str>,
    pub head_limits: HeadLimits,
    /// The listener decides for a proxy that asks in this way, and forwards nothing.
    pub decision: Option<Questions>,
    peer: Peer,
    /// The peer's address, ready for the headers of every request that comes on the connection.
    address: Option<HeaderValue>,
    pub tls: bool,
    /// The worker thread that carries the connection; it has upstream connections of its own.
    pub worker: usize,
}

impl Connection {
    pub fn new(
        listener: Arc<str>,
        head_limits: HeadLimits,
        decision: Option<Questions>,
        peer: Peer,
        tls: bool,
        worker: usize,
    ) -> Connection {
        let mut connection = Connection { listener, head_limits, decision, peer, address: None, tls, worker };
        connection.comes_from(peer);
        connection
    }

    /// The direct peer, or the one that a trusted PROXY header names.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Its address as text; `None` for a Unix socket.
    pub fn address(&self) -> Option<&HeaderValue> {
        self.address.as_ref()
    }

    pub fn comes_from(&mut self, peer: Peer) {
        self.peer = peer;
        self.address = peer.ip().and_then(|ip| HeaderValue::try_from(ip.to_string()).ok());
    }
}

/// How a proxy asks whether a request of its client may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Questions {
    /// `auth_request`: `X-Original-Method`, `X-Original-URI` and `Host`.
    Nginx,
    /// Traefik's ForwardAuth, Caddy's `forward_auth`: `X-Forwarded-Method`, `X-Forwarded-Uri` and `X-Forwarded-Host`.
    Forwarded,
    /// `ext_authz` by HTTP: the question's own method, its path behind the prefix, and `Host`.
    Envoy { path_prefix: Arc<str> },
}

impl Questions {
    pub fn as_str(&self) -> &'static str {
        match self {
            Questions::Nginx => "nginx",
            Questions::Forwarded => "forwarded",
            Questions::Envoy { .. } => "envoy",
        }
    }
}

/// What the head of a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of request line and headers together.
    pub bytes: usize,
    /// Number of headers.
    pub count: usize,
}

/// What is known of one request from its first moment.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: UnixTime,
    /// The same, for rates: whole seconds are too coarse for those.
    pub moment: UnixMillis,
    pub started: std::time::Instant,
    pub id: RequestId,
    /// The trace that the request belongs to (W3C Trace Context).
    pub trace: Option<TraceId>,
    /// The client's address: the peer, or what a trusted proxy said.
    pub client: Option<IpAddr>,
    pub connection: Arc<Connection>,
}

/// What ties a client's complaint, our log line and the upstream's together: visible characters, ready for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// From 128 random bits.
    pub fn new(random: u128) -> RequestId {
        let text = Bytes::copy_from_slice(&hexadecimal(random));
        RequestId::single(HeaderValue::from_maybe_shared(text).expect("hexadecimal digits may stand in a header"))
    }

    /// One that a trusted proxy gave: 1 to 128 letters, digits and `-_.:`.
    pub fn given(value: &HeaderValue) -> Option<RequestId> {
        let bytes = value.as_bytes();
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        ((1..=128).contains(&bytes.len()) && bytes.iter().all(good)).then(|| RequestId::single(value.clone()))
    }

    /// No two are the same, so HTTP/2 had better not keep them in the tables of its headers: it compares each new one with
    /// all that it keeps, and drops what would have come again.
    fn single(mut value: HeaderValue) -> RequestId {
        value.set_sensitive(true);
        RequestId(value)
    }

    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Every digit of `number`, in lower case.
fn hexadecimal(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    for (at, byte) in number.to_be_bytes().into_iter().enumerate() {
        text[2 * at] = DIGITS[usize::from(byte >> 4)];
        text[2 * at + 1] = DIGITS[usize::from(byte & 0xf)];
    }
    text
}

/// The trace-id of a `traceparent` header: 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    pub fn new(id: u128) -> TraceId {
        TraceId(hexadecimal(id))
    }

    /// Reads a `traceparent` of version 00 or later (W3C Trace Context, section 3.2); `None` if it is malformed.
    pub fn of(traceparent: &HeaderValue) -> Option<TraceId> {
        let (version, rest) = traceparent.as_bytes().split_at_checked(3)?;
        let id: [u8; 32] = *rest.first_chunk()?;
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let framed =
            version[2] == b'-' && version != b"ff-" && version[..2].iter().all(hex) && rest.get(32) == Some(&b'-');
        (framed && id.iter().all(hex) && id.iter().any(|byte| *byte != b'0')).then_some(TraceId(id))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The cookies of the sign-in pages: what binds a form to its browser, who is remembered there, and who is on the way. Over https the
/// prefix keeps neighbouring hosts from planting one (RFC 6265bis, section 4.1.3.2). No upstream sees any of them.
pub mod cookies {
    pub const FORM: &str = "sidegate-form";
    pub const USER: &str = "sidegate-user";
    pub const SECURE_FORM: &str = "__Host-sidegate-form";
    pub const SECURE_USER: &str = "__Host-sidegate-user";
    /// How the names begin of those that hold what a user who is at the authority outside has asked for.
    pub const AWAY: &str = "sidegate-away-";
    pub const SECURE_AWAY: &str = "__Host-sidegate-away-";

    /// Whether a cookie of this name is one of ours.
    pub fn is_own(name: &[u8]) -> bool {
        [FORM, USER, SECURE_FORM, SECURE_USER].iter().any(|own| own.as_bytes() == name)
            || [AWAY, SECURE_AWAY].iter().any(|start| name.starts_with(start.as_bytes()))
    }
}

/// A failure of something below us, boxed where only its text matters.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_read_from_a_good_traceparent_only() {
        let read = |text| TraceId::of(&HeaderValue::from_static(text)).map(|id| id.as_str().to_owned());
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").as_deref(), Some(id));
        assert_eq!(read("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(read("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(read("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
        assert_eq!(read("00-4bf92f3577b34da6a3ce929d0e0e4736"), None);
        assert_eq!(read("00"), None);
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_it_is_harmless() {
        let given = |text: &str| RequestId::given(&HeaderValue::from_str(text).unwrap());
        assert_eq!(given("abc-123").map(|id| id.as_str().to_owned()).as_deref(), Some("abc-123"));
        assert_eq!(given(""), None);
        assert_eq!(given("a b"), None);
        assert_eq!(given(&"a".repeat(129)), None);
    }

    #[test]
    fn no_table_of_http2_keeps_a_request_id() {
        assert!(RequestId::new(7).header().is_sensitive());
        assert!(RequestId::given(&HeaderValue::from_static("abc")).unwrap().header().is_sensitive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_when_the_clock_is_moved() {
        let time = Time::default();
        let deadline = time.now().plus(1_000_000);
        let sleeper = tokio::spawn({
            let time = time.clone();
            async move { time.sleep_until(deadline).await }
        });
        tokio::task::yield_now().await;
        time.advance(1_000_001);
        sleeper.await.unwrap();
    }

    #[test]
    fn a_secret_prints_as_dots_and_compares_by_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "\"…\"");
        assert_eq!(secret, Secret::new("hunter2".to_owned()));
        assert_ne!(secret, Secret::new("hunter3".to_owned()));
    }
}
