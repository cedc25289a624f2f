//! Which header names are dropped, however they are spelled.
//!
//! Old servers hand headers on as variables (`HTTP_X_FORWARDED_USER`), so that `X-Forwarded-User`,
//! `X_Forwarded_User` and `X.Forwarded.User` become one. Names are therefore compared with everything that is no
//! letter or digit taken for `-`, and also without a leading `HTTP_`.

use http::HeaderName;

/// What is to be done with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Belongs to one connection (RFC 9110, 7.6.1).
    Hop,
    /// Says who the client is: only we may say that.
    Identity,
    /// Says where the request came from: only a trusted peer may say that.
    Forwarded,
    /// The same in the words of one vendor, or more than where: an ordinary proxy passes it on as its client wrote it, so
    /// trusting the proxy does not make it true.
    Claimed,
    /// Makes old frameworks see another method or URL than we do.
    Override,
    /// Frames or directs the message: dropped in any spelling but its own.
    OneSpelling,
}

/// The names, by length, and a filter before them, so that the many harmless ones cost next to nothing.
#[derive(Debug)]
pub struct Names {
    by_length: Vec<Vec<(Box<str>, Kind)>>,
    /// A bit for each [`mark`] that a known name has.
    marks: [u64; 4],
}

impl Names {
    /// The known names and the identity headers of the configuration.
    pub fn new<'a>(identity: impl Iterator<Item = &'a HeaderName>) -> Self {
        let mut names = Names { by_length: Vec::new(), marks: [0; 4] };
        // First, so that a configured name is an identity header, whatever else it may be.
        for name in identity {
            names.add(&spell(name.as_str()), Kind::Identity);
        }
        for &(kind, known) in KNOWN {
            for name in known {
                names.add(name, kind);
            }
        }
        names
    }

    fn add(&mut self, name: &str, kind: Kind) {
        if self.by_length.len() <= name.len() {
            self.by_length.resize_with(name.len() + 1, Vec::new);
        }
        self.by_length[name.len()].push((name.into(), kind));
        let mark = mark(name.as_bytes());
        self.marks[mark / 64] |= 1 << (mark % 64);
    }

    /// The kind of `name`, and whether that is its proper spelling. `None`: a harmless name.
    pub fn kind(&self, name: &HeaderName) -> Option<(Kind, bool)> {
        let whole = name.as_str().as_bytes();
        if self.is_unknown(whole) {
            return None;
        }
        self.search(whole)
    }

    /// One look that tells most harmless names from all others: none of a family, none that an old server could mean,
    /// and no known one of its length with its first and last letter.
    fn is_unknown(&self, name: &[u8]) -> bool {
        let [first, second, ..] = name else { return false };
        let mark = mark(name);
        !begins_a_family(*first, fold(*second)) && self.marks[mark / 64] & 1 << (mark % 64) == 0
    }

    fn search(&self, whole: &[u8]) -> Option<(Kind, bool)> {
        let mut name = whole;
        loop {
            if let Some((kind, proper)) = self.lookup(name) {
                return Some((kind, proper && name.len() == whole.len()));
            }
            let variable =
                name.strip_prefix(b"http").filter(|rest| rest.first().is_some_and(|&byte| fold(byte) == b'-'));
            name = &variable?[1..];
        }
    }

    fn lookup(&self, name: &[u8]) -> Option<(Kind, bool)> {
        let same_length = self.by_length.get(name.len()).map(Vec::as_slice).unwrap_or_default();
        if let Some((known, kind)) = same_length.iter().find(|(known, _)| same(known.as_bytes(), name)) {
            return Some((*kind, known.as_bytes() == name));
        }
        let family = FAMILIES.iter().find(|(start, _)| name.len() > start.len() && same(start, &name[..start.len()]));
        family.map(|(_, kind)| (*kind, name.iter().all(|&byte| fold(byte) == byte)))
    }
}

/// Whether the names of one of [`FAMILIES`] begin so, or those that are written as a variable.
fn begins_a_family(first: u8, second: u8) -> bool {
    matches!([first, second], [b'x', b'-'] | [b'c', b'f'] | [b't', b'a'] | [b's', b's'] | [b'p', b'r'] | [b'h', b't'])
}

/// Equal for all spellings of a name.
fn mark(name: &[u8]) -> usize {
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(fold(*byte)));
    (name.len() * 31 + end(name.first()) * 7 + end(name.last()) * 3) % 256
}

/// Whether `name` is a spelling of `known`.
pub fn same(known: &[u8], name: &[u8]) -> bool {
    known.len() == name.len() && known.iter().zip(name).all(|(&known, &byte)| known == fold(byte))
}

fn spell(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

/// `http` keeps names in lower case.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

pub(super) const KNOWN: &[(Kind, &[&str])] = &[
    (Kind::Hop, &["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "http2-settings", "authorization"]),
    (
        Kind::Identity,
        &[
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-preferred-username",
            "x-forwarded-access-token",
            "remote-user",
            "remote-email",
            "remote-groups",
            "remote-name",
            "x-remote-user",
            "x-remote-group",
            "x-webauth-user",
            "x-authenticated-user",
            "x-authenticated-userid",
            "x-auth-user",
            "x-auth-email",
            "x-user",
            "x-user-id",
            "x-user-email",
            "x-consumer-id",
            "x-consumer-username",
            "x-consumer-custom-id",
            "x-credential-identifier",
            "x-client-cert",
            "x-client-verify",
            "x-ms-client-principal",
            "x-amzn-oidc-data",
            "x-amzn-oidc-identity",
            "x-amzn-oidc-accesstoken",
        ],
    ),
    (
        Kind::Forwarded,
        &[
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-proto",
            "x-real-ip",
        ],
    ),
    (
        Kind::Claimed,
        &[
            "forwarded-for",
            "x-forwarded",
            "x-client-ip",
            "client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "cf-connecting-ipv6",
            "cf-pseudo-ipv4",
            "fastly-client-ip",
            "fly-client-ip",
            "x-appengine-user-ip",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-cluster-client-ip",
            "x-envoy-external-address",
            "x-originating-ip",
            "x-remote-addr",
            "x-remote-ip",
            "remote-addr",
            "front-end-https",
            "x-url-scheme",
            "x-scheme",
            "x-host",
        ],
    ),
    (
        Kind::Override,
        &[
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-rewrite-url",
            "x-envoy-original-path",
            "x-envoy-original-host",
            "x-forwarded-method",
            "x-forwarded-path",
            "x-forwarded-uri",
            "x-http-path-override",
            "x-http-host-override",
        ],
    ),
    (Kind::OneSpelling, &["host", "content-length", "content-type", "trailer", "expect", "x-request-id"]),
];

/// Whatever begins so.
const FAMILIES: &[(&[u8], Kind)] = &[
    (b"x-forwarded-", Kind::Claimed),
    (b"x-auth-request-", Kind::Identity),
    (b"x-authentik-", Kind::Identity),
    (b"x-pomerium-", Kind::Identity),
    (b"x-goog-authenticated-user-", Kind::Identity),
    (b"x-goog-iap-", Kind::Identity),
    (b"cf-access-", Kind::Identity),
    (b"x-ms-client-principal", Kind::Identity),
    (b"x-ms-token-", Kind::Identity),
    (b"tailscale-user-", Kind::Identity),
    (b"ssl-client-", Kind::Identity),
    (b"x-ssl-client-", Kind::Identity),
    (b"x-original-", Kind::Override),
    (b"proxy-", Kind::Hop),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = String> {
        let known: Vec<&str> = KNOWN.iter().flat_map(|(_, names)| *names).copied().collect();
        let families = FAMILIES.iter().map(|(start, _)| std::str::from_utf8(start).expect("ASCII"));
        let begun: Vec<&str> = families.chain(["http-", "http_", "https", "x", "accept", ""]).collect();
        let known = prop::sample::select(known).prop_flat_map(respelled);
        let begun = (prop::sample::select(begun).prop_flat_map(respelled), "[a-z_.-]{0,8}");
        let variable = (prop::sample::select(vec!["", "http-", "http_"]), prop_oneof![known, "[a-z0-9._-]{1,12}"]);
        let (begun, variable) = (begun.prop_map(|(a, b)| a + &b), variable.prop_map(|(a, b)| a.to_owned() + &b));
        prop_oneof![begun, variable].prop_filter("a name has a letter", |name| !name.is_empty())
    }

    /// The same with some other signs in place of its hyphens.
    fn respelled(name: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!['-', '-', '_', '.']), name.len()).prop_map(move |signs| {
            name.chars().zip(signs).map(|(letter, sign)| if letter == '-' { sign } else { letter }).collect()
        })
    }

    proptest! {
        #[test]
        fn what_the_first_look_lets_pass_is_no_known_name(name in any_name()) {
            let identity = [HeaderName::from_static("user-id"), HeaderName::from_static("q")];
            let names = Names::new(identity.iter());
            let name = HeaderName::try_from(name).unwrap();
            prop_assert_eq!(names.kind(&name), names.search(name.as_str().as_bytes()));
        }
    }
}
