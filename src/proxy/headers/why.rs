//! Why a header of a client does not go on: told from the same rules that drop it.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::{HeaderRules, Kind, named_in_connection};

/// What it is about a header that makes it stay behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It belongs to one connection.
    Hop,
    /// The client's `Connection` names it.
    Connection,
    /// It is where the client's token stands.
    Credential,
    /// It says who the client is.
    Identity,
    /// It says where the client is, and only a trusted peer may.
    Forwarded,
    /// The same, and nobody is believed.
    Claimed,
    /// It makes some frameworks see another method or URL.
    Override,
    /// It is another spelling of a name that counts.
    Spelling,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Hop => "it belongs to one connection",
            Why::Connection => "the client's `Connection` names it",
            Why::Credential => "it is where the client's credential stands",
            Why::Identity => "it says who the client is, and only sidegate may say that",
            Why::Forwarded => "it says where the client is, and this peer is not in `trusted_proxies`",
            Why::Claimed => "it says where the client is, and proxies pass it on as a client wrote it",
            Why::Override => "it makes some frameworks see another method or URL than sidegate decided on",
            Why::Spelling => "it is another spelling of a header that counts",
        }
    }
}

impl HeaderRules {
    /// `None` for a header that goes on, on route `index`.
    pub fn why(&self, name: &HeaderName, headers: &HeaderMap, index: usize, trusted: bool) -> Option<Why> {
        let route = &self.routes[index];
        let kind = self.names.kind(name);
        if self.is_dropped(name, route, trusted) {
            if *name == route.token || *name == AUTHORIZATION {
                return Some(Why::Credential);
            }
            return Some(match kind {
                Some((_, false)) | None => Why::Spelling,
                Some((Kind::Hop, true)) => Why::Hop,
                Some((Kind::Identity, true)) => Why::Identity,
                Some((Kind::Forwarded, true)) => Why::Forwarded,
                Some((Kind::Claimed, true)) => Why::Claimed,
                Some((Kind::Override, true)) => Why::Override,
                Some((Kind::OneSpelling, true)) => Why::Spelling,
            });
        }
        let believed = trusted && matches!(kind, Some((Kind::Forwarded, _)));
        (!believed && named_in_connection(headers).contains(name)).then_some(Why::Connection)
    }
}
