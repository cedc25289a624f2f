//! Where an answer goes: one of the client's own URIs and no other.

/// What an answer is sent back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it was asked for, or the only one that is registered.
    pub uri: String,
    /// In the fragment, which no server sees; otherwise in the query.
    pub fragment: bool,
    /// Byte for byte as it came.
    pub state: Option<Vec<u8>>,
}

impl Target {
    /// The URI of an answer that says `pairs`, then `state`, then `iss` (RFC 9207).
    pub fn location(&self, pairs: &[(&str, &str)], issuer: &str) -> String {
        let mut uri = self.uri.clone();
        uri.push(match (self.fragment, uri.contains('?')) {
            (true, _) => '#',
            (false, false) => '?',
            (false, true) => '&',
        });
        for (name, value) in pairs {
            push(&mut uri, name, value.as_bytes());
        }
        if let Some(state) = &self.state {
            push(&mut uri, "state", state);
        }
        push(&mut uri, "iss", issuer.as_bytes());
        uri.pop();
        uri
    }
}

/// `name=value&`.
fn push(uri: &mut String, name: &str, value: &[u8]) {
    uri.push_str(name);
    uri.push('=');
    uri.extend(form_urlencoded::byte_serialize(value));
    uri.push('&');
}

/// Whether `presented` is `registered`: the same bytes, but for the port of a loopback address, which a native
/// application learns only when it starts (RFC 8252, section 7.3).
pub fn matches(registered: &str, presented: &str) -> bool {
    if registered == presented {
        return true;
    }
    match (loopback(registered), loopback(presented)) {
        (Some(registered), Some(presented)) => registered == presented,
        _ => false,
    }
}

/// The URI of a loopback address in two parts, without its port.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"].into_iter().find(|host| uri.starts_with(host))?;
    let rest = &uri[host.len()..];
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = rest.split_at(digits);
            let canonical = !port.starts_with('0') && port.parse::<u16>().is_ok();
            canonical.then_some(rest)?
        }
    };
    // Neither 127.0.0.1.example.com nor 127.0.0.1:80@example.com.
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_address_may_vary() {
        for (registered, presented) in [
            ("https://app.example/cb", "https://app.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
            ("http://127.0.0.1:8080/cb?a=b", "http://127.0.0.1/cb?a=b"),
            ("http://[::1]:1/cb", "http://[::1]:65535/cb"),
            ("com.example.app:/cb", "com.example.app:/cb"),
        ] {
            assert!(matches(registered, presented), "{registered} {presented}");
        }
        for (registered, presented) in [
            ("https://app.example/cb", "https://app.example:443/cb"),
            ("https://app.example/cb", "https://app.example/cb/"),
            ("https://app.example/cb", "https://app.example/CB"),
            ("https://app.example/cb", "https://app.example/cb?x=y"),
            ("https://app.example/cb?a=1&b=2", "https://app.example/cb?b=2&a=1"),
            ("https://127.0.0.1/cb", "https://127.0.0.1:4430/cb"),
            ("http://localhost/cb", "http://localhost:1/cb"),
            ("http://127.0.0.1/cb", "http://[::1]/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb/"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:080/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1.evil.example/cb"),
        ] {
            assert!(!matches(registered, presented), "{registered} {presented}");
        }
    }

    proptest! {
        #[test]
        fn no_other_bytes_match(at in 0_usize..24, byte: u8) {
            let registered = "https://app.example/cb?x=1";
            let mut presented = registered.as_bytes().to_vec();
            prop_assume!(presented[at] != byte);
            presented[at] = byte;
            prop_assert!(!matches(registered, &String::from_utf8_lossy(&presented)));
        }
    }

    #[test]
    fn an_answer_keeps_the_uri_and_adds_to_it() {
        let target = |uri: &str, fragment| Target { uri: uri.to_owned(), fragment, state: Some(b"a b&\xff".to_vec()) };
        let pairs = [("code", "sgc1_x")];
        assert_eq!(
            target("https://app.example/cb", false).location(&pairs, "https://as"),
            "https://app.example/cb?code=sgc1_x&state=a+b%26%FF&iss=https%3A%2F%2Fas"
        );
        assert_eq!(
            target("https://app.example/cb?x=1", false).location(&[], "i"),
            "https://app.example/cb?x=1&state=a+b%26%FF&iss=i"
        );
        assert_eq!(target("app.example:/cb", true).location(&[], "i"), "app.example:/cb#state=a+b%26%FF&iss=i");
    }
}
