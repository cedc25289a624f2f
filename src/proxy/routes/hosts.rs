//! One tree of paths for each host pattern, the most specific host first.

use std::{borrow::Cow, collections::HashMap, net::Ipv6Addr};

use super::tree::{Node, Segment};

/// All patterns, by host.
#[derive(Debug, Default)]
pub struct Hosts {
    exact: HashMap<String, Trees>,
    /// `.example.com` for `*.example.com`; the longest first.
    suffixes: Vec<(String, Trees)>,
    any: Trees,
}

/// The same patterns twice: as they are, and as an upstream that ignores case and decodes would take them.
#[derive(Debug, Default)]
struct Trees {
    exact: Node,
    folded: Node,
}

impl Hosts {
    /// Adds `route`; returns the routes that have the same host and the same pattern, itself among them.
    pub fn insert(&mut self, host: Option<&str>, pattern: &[Segment], route: usize) -> &[usize] {
        let trees = match host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                None => self.exact.entry(key(host).into_owned()).or_default(),
                Some(suffix) => {
                    let suffix = key(suffix);
                    let order = |(other, _): &(String, Trees)| (suffix.len(), &**other).cmp(&(other.len(), &suffix));
                    let at = match self.suffixes.binary_search_by(order) {
                        Ok(at) => at,
                        Err(at) => {
                            self.suffixes.insert(at, (suffix.clone().into_owned(), Trees::default()));
                            at
                        }
                    };
                    &mut self.suffixes[at].1
                }
            },
        };
        trees.folded.insert(pattern, true, route);
        trees.exact.insert(pattern, false, route)
    }

    /// As [`Node::visit`], through the trees of every pattern that covers `host` (a [`key`]).
    pub fn visit(&self, host: &str, path: &[u8], folded: bool, visit: &mut dyn FnMut(&[usize]) -> bool) -> bool {
        let exact = self.exact.get(host);
        let suffixes = self.suffixes.iter().filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix));
        let trees = exact.into_iter().chain(suffixes.map(|(_, trees)| trees)).chain([&self.any]);
        for Trees { exact, folded: lax } in trees {
            let tree = if folded { lax } else { exact };
            if tree.visit(path.strip_prefix(b"/"), folded, visit) {
                return true;
            }
        }
        false
    }

    /// Whether the host decides anything at all.
    pub fn matter(&self) -> bool {
        !self.exact.is_empty() || !self.suffixes.is_empty()
    }
}

/// A host as patterns name it: in lower case, without port and without the root's dot; IPv6 in its one short form.
pub fn key(host: &str) -> Cow<'_, str> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(host, |(address, _)| address);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Cow::Owned(address.to_string());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_case_port_and_final_dot() {
        for (written, meant) in [
            ("Example.COM:8443", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]:80", "::1"),
            ("[0:0::0001]", "::1"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(key(written), meant);
        }
    }
}
