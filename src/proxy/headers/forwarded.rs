//! Where a request came from: believed from trusted peers, and told to the upstream.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST},
};
use ipnet::IpNet;

/// What is known for certain about the last hop.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The peer's address as text; `None` for a unix socket.
    pub peer: Option<&'a HeaderValue>,
    /// The peer is on the trust list: what it says of earlier hops stays.
    pub trusted: bool,
    pub tls: bool,
    /// As the client wrote it; valid.
    pub host: &'a str,
}

/// Whether `address` is on the trust list.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer, or the nearest address that a chain of trusted peers vouches for.
///
/// `X-Forwarded-For` and `Forwarded` (RFC 7239) are read from the right, while the one who speaks is trusted. Many
/// proxies write one of them and pass the other on as the client sent it; so where both are there and disagree,
/// neither is believed.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    let by = |name: &HeaderName, read: fn(&str) -> Option<IpAddr>| {
        headers.contains_key(name).then(|| nearest(headers, name, read, trusted).unwrap_or(peer))
    };
    match (by(&X_FORWARDED_FOR, address), by(&FORWARDED, forwarded_for)) {
        (None, None) => Some(peer),
        (Some(address), None) | (None, Some(address)) => Some(address),
        (Some(one), Some(other)) => Some(if one == other { one } else { peer }),
    }
}

/// The client's address as a proxy that asks tells it. Its question came from the proxy, so the chain is believed from
/// its end on, whoever the peer is; a proxy that tells nothing is taken for the client itself.
pub fn asked_client(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    nearest(headers, &X_FORWARDED_FOR, address, trusted).or(peer.map(|peer| peer.to_canonical()))
}

/// The last address of the chain that whoever speaks vouches for; `None` if it names none.
fn nearest(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut nearest = None;
    for value in headers.get_all(name).iter().rev() {
        let Ok(value) = value.to_str() else { return nearest };
        for element in value.rsplit(',').take(MOST_HOPS) {
            let Some(address) = read(element.trim()) else { return nearest };
            nearest = Some(address);
            if !is_trusted(address, trusted) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut values = element.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = values.next()?;
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    address(bare)
}

/// Tells the upstream: `X-Forwarded-For`, `-Proto` and `-Host`, after what a trusted peer said, else anew.
/// `Forwarded` is continued where a trusted peer began it; two chains from the start could only contradict.
pub fn set(headers: &mut HeaderMap, hop: Hop<'_>) {
    let scheme = if hop.tls { "https" } else { "http" };
    let chain = hop.trusted.then(|| joined(headers, &X_FORWARDED_FOR)).flatten();
    let peer = hop.peer.and_then(|peer| peer.to_str().ok());
    let value = match (chain, peer) {
        (Some(chain), Some(peer)) => text(format!("{chain}, {peer}")),
        (Some(chain), None) => text(chain),
        // The most frequent case: no text is made for it.
        (None, _) => hop.peer.cloned(),
    };
    replace(headers, X_FORWARDED_FOR, value);
    if !(hop.trusted && headers.contains_key(&X_FORWARDED_PROTO)) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !(hop.trusted && headers.contains_key(&X_FORWARDED_HOST)) {
        // The Host header shares its bytes; an HTTP/2 request may have an authority only.
        let host = headers.get(HOST).cloned().or_else(|| HeaderValue::from_str(hop.host).ok());
        replace(headers, X_FORWARDED_HOST, host);
    }
    if hop.trusted
        && let Some(chain) = joined(headers, &FORWARDED)
    {
        let node = match peer {
            Some(v6) if v6.contains(':') => format!("\"[{v6}]\""),
            Some(v4) => v4.to_owned(),
            None => "unknown".to_owned(),
        };
        replace(headers, FORWARDED, text(format!("{chain}, for={node};host=\"{}\";proto={scheme}", hop.host)));
    }
}

fn replace(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

fn text(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

/// All values of a list header as one, without those that are not text; `None` if there is none.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A longer chain in one header is cut; nobody has that many proxies.
const MOST_HOPS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn client(peer: &str, list: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_address(Some(peer.parse().unwrap()), &headers(list), &trusted).unwrap().to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        assert_eq!(client("192.0.2.1", &[("x-forwarded-for", "198.51.100.1")]), "192.0.2.1");
    }

    #[test]
    fn the_nearest_address_that_is_not_trusted_is_the_client() {
        for (list, address) in [
            (vec![], "10.0.0.1"),
            (vec![("x-forwarded-for", "1.1.1.1, 198.51.100.1, 10.0.0.2")], "198.51.100.1"),
            (vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.1,10.9.9.9")], "198.51.100.1"),
            (vec![("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (vec![("x-forwarded-for", "198.51.100.1, nonsense, 10.0.0.2")], "10.0.0.2"),
            (vec![("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1"),
            (vec![("x-forwarded-for", "[2001:db8::1]:443")], "2001:db8::1"),
            (vec![("x-forwarded-for", "::ffff:198.51.100.1")], "198.51.100.1"),
            (vec![("forwarded", "for=1.1.1.1, For=\"[2001:db8::1]:1\";proto=https, for=fd00::1")], "2001:db8::1"),
            (vec![("forwarded", "for=unknown")], "10.0.0.1"),
            (vec![("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "198.51.100.1")], "10.0.0.1"),
            (vec![("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
        ] {
            assert_eq!(client("10.0.0.1", &list), address, "{list:?}");
            assert_eq!(client("::ffff:10.0.0.1", &list), address, "{list:?}");
        }
    }

    #[test]
    fn whoever_asks_tells_of_its_client_and_is_believed_for_one_hop() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = |peer: Option<&str>, list| {
            asked_client(peer.map(|peer| peer.parse().unwrap()), &headers(list), &trusted).map(|ip| ip.to_string())
        };
        let told = [("x-forwarded-for", "1.1.1.1, 198.51.100.1")];
        for peer in [None, Some("127.0.0.1"), Some("10.0.0.1")] {
            assert_eq!(client(peer, &told).unwrap(), "198.51.100.1", "{peer:?}");
        }
        let behind = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1, 198.51.100.1, 10.0.0.9")];
        assert_eq!(client(Some("127.0.0.1"), &behind).unwrap(), "198.51.100.1");
        assert_eq!(client(Some("127.0.0.1"), &[]).unwrap(), "127.0.0.1");
        assert_eq!(client(None, &[("x-forwarded-for", "nonsense")]), None);
    }

    #[test]
    fn an_untrusted_chain_begins_anew_and_a_trusted_one_goes_on() {
        let said =
            [("host", "a"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("forwarded", "for=_x")];
        let peer = HeaderValue::from_static("2001:db8::1");
        let hop = Hop { peer: Some(&peer), trusted: true, tls: false, host: "a" };
        let mut told = headers(&said);
        set(&mut told, hop);
        assert_eq!(told["x-forwarded-for"], "1.1.1.1, 2001:db8::1");
        assert_eq!(told["x-forwarded-proto"], "https");
        assert_eq!(told["x-forwarded-host"], "a");
        assert_eq!(told["forwarded"], "for=_x, for=\"[2001:db8::1]\";host=\"a\";proto=http");

        // What an untrusted peer said has been stripped by now, except from this map.
        let mut told = headers(&said[..3]);
        set(&mut told, Hop { trusted: false, ..hop });
        assert_eq!(told["x-forwarded-for"], "2001:db8::1");
        assert_eq!(told["x-forwarded-proto"], "http");
        assert!(!told.contains_key("forwarded"));
    }
}
