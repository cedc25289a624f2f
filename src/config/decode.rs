//! The tree into typed settings, with every problem instead of the first one.

mod access;
mod error;

use serde::de::DeserializeOwned;

use self::{
    access::Decoder,
    error::{Error, Kind},
};
use super::{
    place::{KeyPath, Origin, Problem, Segment},
    secrecy,
    suggest::{nearest, sentence},
    tree::{Content, Node},
};

/// After so many problems the rest of the file is not looked at.
pub(super) const MOST_PROBLEMS: usize = 100;

/// A key that was called otherwise in an earlier version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renamed {
    /// The path of the section that holds the key, without the numbers of lists, e.g. `routes.token`.
    pub section: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

/// The keys that were renamed since the first release.
pub(super) const RENAMED: &[Renamed] = &[];

/// What could be decoded.
#[derive(Debug)]
pub(super) struct Decoded<T> {
    pub value: T,
    /// What was left out because it was wrong; nothing more should be said about what is missing there.
    pub pruned: Vec<KeyPath>,
}

/// Decodes `root`. What is wrong is noted in `problems` and left out (or set right, if only its key is wrong).
///
/// `None` if the rest could not be decoded, or has other numbers in its lists than the file.
pub(super) fn decode<T: DeserializeOwned>(
    root: &mut Node,
    renamed: &[Renamed],
    problems: &mut Vec<Problem>,
) -> Option<Decoded<T>> {
    let mut pruned = Vec::new();
    while problems.len() < MOST_PROBLEMS {
        match T::deserialize(Decoder::new(root)) {
            Ok(value) => return (!has_pruned_items(root)).then_some(Decoded { value, pruned }),
            Err(error) => {
                let path = error.path.clone().unwrap_or_default();
                problems.push(explain(root, &error, &path, renamed));
                pruned.extend(repair(root, &error, &path, renamed)?);
            }
        }
    }
    None
}

/// Takes what is wrong out of the tree and returns its path; `None` if that leaves nothing.
fn repair(root: &mut Node, error: &Error, path: &KeyPath, renamed: &[Renamed]) -> Option<Option<KeyPath>> {
    let Some(Segment::Key(key)) = path.segments().last() else {
        return take_out(root, path).then(|| Some(path.clone()));
    };
    let holder = path.parent();
    let replacement = match &error.kind {
        Kind::UnknownKey { known, .. } => {
            renaming(path, renamed).map(|entry| entry.new).or_else(|| nearest(key, known.iter().copied()))
        }
        _ => None,
    };
    if let (Some(new), Some(Content::Mapping(entries))) =
        (replacement, root.find_mut(&holder).map(|node| &mut node.content))
        && entries.iter().all(|(other, _)| *other.text != *new)
        && let Some((entry, _)) = entries.iter_mut().find(|(other, _)| other.text == *key)
    {
        entry.text = new.into();
        return Some(None);
    }
    let out = if matches!(error.kind, Kind::UnknownKey { variant: true, .. }) { &holder } else { path };
    take_out(root, out).then(|| Some(out.clone()))
}

fn take_out(root: &mut Node, path: &KeyPath) -> bool {
    let Some(Segment::Key(key)) = path.segments().last() else {
        // The root stays; an item of a list keeps its place.
        return !path.segments().is_empty() && root.find_mut(path).map(|node| node.content = Content::Pruned).is_some();
    };
    match root.find_mut(&path.parent()).map(|node| &mut node.content) {
        Some(Content::Mapping(entries)) => {
            let before = entries.len();
            entries.retain(|(other, _)| other.text != *key);
            entries.len() < before
        }
        _ => false,
    }
}

fn has_pruned_items(node: &Node) -> bool {
    match &node.content {
        Content::Pruned => true,
        Content::Scalar(_) => false,
        Content::Sequence(items) => items.iter().any(has_pruned_items),
        Content::Mapping(entries) => entries.iter().any(|(_, below)| has_pruned_items(below)),
    }
}

fn renaming<'r>(path: &KeyPath, renamed: &'r [Renamed]) -> Option<&'r Renamed> {
    let keys: Vec<&str> = path
        .segments()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Key(key) => Some(&**key),
            Segment::Index(_) => None,
        })
        .collect();
    let (key, section) = keys.split_last()?;
    let section = section.join(".");
    renamed.iter().find(|entry| entry.old == *key && entry.section == section)
}

fn explain(root: &Node, error: &Error, path: &KeyPath, renamed: &[Renamed]) -> Problem {
    let node = root.nearest(path);
    let (message, remedy) = match &error.kind {
        Kind::UnknownKey { key, known, .. } => match renaming(path, renamed) {
            Some(entry) => (format!("{key:?} has a new name"), format!("write {:?}", entry.new)),
            None => (format!("unknown key {}", secrecy_of_key(key, path)), near_or_all(key, known)),
        },
        Kind::UnknownWord { word, known } => {
            let shown = secrecy::shown(word, path, node);
            let remedy = if secrecy::hides(word, path, node) { all(known) } else { near_or_all(word, known) };
            (format!("{shown} is not known here"), remedy)
        }
        Kind::Type { found, expected, remedy } => (format!("{expected} belongs here, not {found}"), (*remedy).into()),
        Kind::Value { text, expected } => {
            let shown = text.as_deref().map_or("the value".into(), |text| secrecy::shown(text, path, node));
            (format!("{shown} is not {expected}"), String::new())
        }
        Kind::Message(message) => (message.clone(), String::new()),
    };
    let key_origin = matches!(error.kind, Kind::UnknownKey { .. }).then(|| origin_of_key(root, path)).flatten();
    Problem { path: path.clone(), origin: key_origin.unwrap_or_else(|| node.origin.clone()), message, remedy }
}

/// A key below a secret one may itself be part of the secret.
fn secrecy_of_key(key: &str, path: &KeyPath) -> String {
    if secrecy::is_secret(&path.parent()) { "in this section".into() } else { format!("{key:?}") }
}

fn near_or_all(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(name) => sentence(Some(name)),
        None => all(known),
    }
}

fn all(known: &[&'static str]) -> String {
    format!("known here: {}", known.join(", "))
}

fn origin_of_key(root: &Node, path: &KeyPath) -> Option<Origin> {
    let Some(Segment::Key(key)) = path.segments().last() else { return None };
    match &root.find(&path.parent())?.content {
        Content::Mapping(entries) => {
            entries.iter().find(|(other, _)| other.text == *key).map(|(key, _)| key.origin.clone())
        }
        _ => None,
    }
}
