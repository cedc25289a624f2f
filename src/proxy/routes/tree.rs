//! Path patterns as a tree of segments.
//!
//! The tree finds every pattern that a path matches, the most specific first: literal, `{segment}`, `/*`. (A radix
//! router such as matchit finds one only, and refuses `/x/{id}` beside `/x/*`.)

use percent_encoding::percent_decode_str;

use crate::proxy::path::canonical;

/// The node that a prefix of segments leads to. Values are indexes of routes.
#[derive(Debug, Default)]
pub struct Node {
    /// Sorted by segment.
    literals: Vec<(Box<[u8]>, Node)>,
    any: Option<Box<Node>>,
    /// Patterns that end here.
    here: Vec<usize>,
    /// Patterns that end here with `/*`.
    below: Vec<usize>,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// As it stands in a canonical path.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Any,
    /// `*` at the end: whatever follows the slash, also nothing.
    Rest,
}

/// Reads a pattern; an error says what is wrong with it.
pub fn parse(pattern: &str) -> Result<Vec<Segment>, &'static str> {
    let Some(text) = pattern.strip_prefix('/') else { return Err("does not begin with a slash") };
    let mut segments = text.split('/').peekable();
    let mut parsed = Vec::new();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        parsed.push(match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}', '*']) => Segment::Any,
            None if segment == "*" && last => Segment::Rest,
            None if !segment.contains(['{', '}', '*']) => literal(segment, last)?,
            Some(_) | None => return Err("`{name}` is a whole segment, and `*` the whole last one"),
        });
    }
    Ok(parsed)
}

/// A literal has one meaning for every upstream; otherwise no path could be held against it.
fn literal(segment: &str, last: bool) -> Result<Segment, &'static str> {
    if segment.is_empty() && !last {
        return Err("contains an empty segment");
    }
    let path = format!("/{segment}");
    let path = canonical(&path).map_err(|_| "contains what no canonical path contains")?;
    let settled = &path.as_str()[1..];
    if settled.is_empty() && !segment.is_empty() {
        return Err("contains a dot segment");
    }
    let meant = unescape(settled);
    if meant.ends_with(b".") || meant.ends_with(b" ") || meant.iter().any(|byte| b";/%?#".contains(byte)) {
        return Err("contains a character that upstreams read in different ways");
    }
    Ok(Segment::Literal(settled.to_owned()))
}

/// The bytes that percent-escapes stand for, in lower case: what a reading is compared with.
pub fn unescape(literal: &str) -> Vec<u8> {
    percent_decode_str(literal).map(|byte| byte.to_ascii_lowercase()).collect()
}

impl Node {
    /// Adds `route` under `pattern` and returns all routes with the same pattern. `folded`: see [`Node::visit`].
    pub fn insert(&mut self, pattern: &[Segment], folded: bool, route: usize) -> &[usize] {
        let Some((first, rest)) = pattern.split_first() else {
            self.here.push(route);
            return &self.here;
        };
        match first {
            Segment::Rest => {
                self.below.push(route);
                &self.below
            }
            Segment::Any => self.any.get_or_insert_default().insert(rest, folded, route),
            Segment::Literal(text) => {
                let key = if folded { unescape(text) } else { text.clone().into_bytes() };
                let at = match self.literals.binary_search_by(|(literal, _)| literal[..].cmp(&key)) {
                    Ok(at) => at,
                    Err(at) => {
                        self.literals.insert(at, (key.into(), Node::default()));
                        at
                    }
                };
                self.literals[at].1.insert(rest, folded, route)
            }
        }
    }

    /// Shows `visit` the routes of each pattern that `path` (without its first slash) matches, the most specific
    /// first, until it returns `true`; returns whether it did. In a `folded` tree letter case does not count.
    pub fn visit(&self, path: Option<&[u8]>, folded: bool, visit: &mut dyn FnMut(&[usize]) -> bool) -> bool {
        let Some(path) = path else { return !self.here.is_empty() && visit(&self.here) };
        let (segment, rest) = match path.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        if let Some(child) = self.literal(segment, folded)
            && child.visit(rest, folded, visit)
        {
            return true;
        }
        if let Some(child) = &self.any
            && !segment.is_empty()
            && child.visit(rest, folded, visit)
        {
            return true;
        }
        !self.below.is_empty() && visit(&self.below)
    }

    fn literal(&self, segment: &[u8], folded: bool) -> Option<&Node> {
        let found = self.literals.binary_search_by(|(literal, _)| match folded {
            false => literal[..].cmp(segment),
            true => literal.iter().copied().cmp(segment.iter().map(u8::to_ascii_lowercase)),
        });
        found.ok().map(|at| &self.literals[at].1)
    }
}
