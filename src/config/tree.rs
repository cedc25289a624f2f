//! The file as a tree of nodes, each of which knows where it was written.

use std::{fmt, ops::Range, sync::Arc};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MessageFormatter, Options, Spanned, UserMessageFormatter};

use super::{
    environment::Environment,
    expand::expand,
    place::{KeyPath, Origin, Problem, Segment},
};

/// A file that is longer is not read.
pub(super) const LONGEST_FILE: usize = 1024 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub origin: Origin,
    /// Where the source has the value itself, in bytes: for an alias, at its anchor.
    pub span: Option<Range<usize>>,
    /// Text that came from the environment: a number or a boolean may be read from it, and it is never shown.
    pub untyped: bool,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
    /// A value that was wrong: noted, and left out since. It keeps the numbers of a list's other items as they are.
    Pruned,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub text: Arc<str>,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Node {
    /// The node at `path`, or the last one on the way there.
    pub fn nearest(&self, path: &KeyPath) -> &Node {
        let mut node = self;
        for segment in path.segments() {
            match node.below(segment) {
                Some(below) => node = below,
                None => break,
            }
        }
        node
    }

    pub fn find(&self, path: &KeyPath) -> Option<&Node> {
        path.segments().iter().try_fold(self, |node, segment| node.below(segment))
    }

    fn below(&self, segment: &Segment) -> Option<&Node> {
        match (&self.content, segment) {
            (Content::Sequence(items), Segment::Index(index)) => items.get(*index),
            (Content::Mapping(entries), Segment::Key(name)) => {
                entries.iter().find(|(key, _)| key.text == *name).map(|(_, below)| below)
            }
            _ => None,
        }
    }

    pub fn find_mut(&mut self, path: &KeyPath) -> Option<&mut Node> {
        path.segments().iter().try_fold(self, |node, segment| match (&mut node.content, segment) {
            (Content::Sequence(items), Segment::Index(index)) => items.get_mut(*index),
            (Content::Mapping(entries), Segment::Key(name)) => {
                entries.iter_mut().find(|(key, _)| key.text == *name).map(|(_, below)| below)
            }
            _ => None,
        })
    }
}

/// Reads `source`; `name` stands for the file in every origin.
pub(super) fn parse(source: &str, name: &Arc<str>) -> Result<Node, Problem> {
    let whole = |line, column| Origin::File { name: Arc::clone(name), line, column };
    let problem = |origin, message: String, remedy: &str| Problem {
        path: KeyPath::default(),
        origin,
        message,
        remedy: remedy.into(),
    };
    if source.len() > LONGEST_FILE {
        return Err(problem(whole(0, 0), format!("longer than {LONGEST_FILE} bytes"), ""));
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options()) {
        Ok(raw) => Ok(into_node(raw, name)),
        Err(error) => {
            let at = error.location().filter(|at| at.line() > 0);
            let origin = at.map_or(whole(0, 0), |at| whole(at.line(), at.column()));
            let message = UserMessageFormatter.format_message(&error).into_owned();
            Err(problem(origin, message, ""))
        }
    }
}

/// Limits far above any real configuration and far below what would hurt.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        reject_unsupported_tags: true,
        budget: serde_saphyr::budget! { max_depth: 32, max_nodes: 50_000, max_documents: 1, max_aliases: 1_000, max_anchors: 1_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 50_000, max_replay_stack_depth: 8 },
    }
}

/// Replaces `${NAME}` in every value below `node`; one that cannot be is noted and pruned.
pub(super) fn expand_all(node: &mut Node, path: &KeyPath, environment: &Environment, problems: &mut Vec<Problem>) {
    match &mut node.content {
        Content::Scalar(Scalar::Text(text)) => match expand(text, environment) {
            Ok((_, false)) if !text.contains("${") => {}
            Ok((expanded, replaced)) => {
                *text = expanded.into_owned();
                node.untyped |= replaced;
            }
            Err(message) => {
                let origin = node.origin.clone();
                problems.push(Problem { path: path.clone(), origin, message, remedy: String::new() });
                node.content = Content::Pruned;
            }
        },
        Content::Scalar(_) | Content::Pruned => {}
        Content::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                expand_all(item, &path.at(index), environment, problems);
            }
        }
        Content::Mapping(entries) => {
            for (key, below) in entries {
                let path = path.at(Segment::Key(Arc::clone(&key.text)));
                expand_all(below, &path, environment, problems);
            }
        }
    }
}

/// What the YAML reader hands over, before the name of the file is put in.
enum Raw {
    Scalar(Scalar),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn into_node(raw: Spanned<Raw>, name: &Arc<str>) -> Node {
    let content = match raw.value {
        Raw::Scalar(scalar) => Content::Scalar(scalar),
        Raw::Sequence(items) => Content::Sequence(items.into_iter().map(|item| into_node(item, name)).collect()),
        Raw::Mapping(entries) => Content::Mapping(
            entries
                .into_iter()
                .map(|(key, below)| {
                    let origin = origin(&key.referenced, name);
                    (Key { text: key.value.into(), origin }, into_node(below, name))
                })
                .collect(),
        ),
    };
    Node { origin: origin(&raw.referenced, name), span: span(&raw.defined), untyped: false, content }
}

fn origin(at: &Location, name: &Arc<str>) -> Origin {
    Origin::File { name: Arc::clone(name), line: at.line(), column: at.column() }
}

fn span(at: &Location) -> Option<Range<usize>> {
    let (offset, length) = at.span().byte_offset().zip(at.span().byte_len())?;
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(length).ok()?)?)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Signed(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Unsigned(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Text(value.into())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Scalar::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::Sequence(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            list.push(entry);
        }
        Ok(Raw::Mapping(list))
    }
}
