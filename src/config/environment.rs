//! The environment as a value that is handed in, and the overrides in it.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use super::{
    place::{KeyPath, Origin, Problem, Segment},
    tree::{Content, Key, Node, Scalar},
};

/// Variables that start with this override the file.
pub(super) const PREFIX: &str = "SIDEGATE__";
/// No key stands deeper than this; a longer name is refused before it builds a tree.
const DEPTH: usize = 16;

/// The variables that a configuration may use.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What `std::env::vars_os` gives; bytes that are not UTF-8 are replaced by U+FFFD, which no setting accepts.
    pub fn from_os(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |value: OsString| value.to_string_lossy().into_owned();
        variables.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Sets what the variables `SIDEGATE__SECTION__KEY` say in `root`. A name that fits no key is found by the decoder.
pub(super) fn apply_overrides(root: &mut Node, environment: &Environment, problems: &mut Vec<Problem>) {
    let mut overrides: Vec<_> = environment
        .0
        .iter()
        .filter_map(|(name, value)| {
            let steps: Vec<&str> = name.strip_prefix(PREFIX)?.split("__").collect();
            // Numbers in the order of numbers, so that item 10 comes after item 9.
            let order: Vec<_> = steps.iter().map(|step| (step.parse::<usize>().ok(), *step)).collect();
            Some((order, steps, name, value))
        })
        .collect();
    overrides.sort();
    for (_, steps, name, value) in overrides {
        if let Err((path, message)) = set(root, &steps, name, value) {
            let origin = Origin::Variable(name.as_str().into());
            problems.push(Problem { path, origin, message, remedy: String::new() });
        }
    }
}

fn set(root: &mut Node, steps: &[&str], name: &str, value: &str) -> Result<(), (KeyPath, String)> {
    let origin = Origin::Variable(name.into());
    let mut path = KeyPath::default();
    if steps.len() > DEPTH || steps.iter().any(|step| step.is_empty()) {
        return Err((path, format!("the name of this variable is no path; an example: {PREFIX}LOG__FORMAT")));
    }
    let mut node = root;
    for step in steps {
        let (segment, below) = descend(node, step, &origin).map_err(|message| (path.clone(), message))?;
        path = path.at(segment);
        node = below;
    }
    match node.content {
        Content::Mapping(_) | Content::Sequence(_) => Err((
            path,
            format!("a variable sets one value, and this is a whole section; name what is below it: {name}__…"),
        )),
        _ => {
            *node = Node { origin, untyped: true, span: None, content: Content::Scalar(Scalar::Text(value.into())) };
            Ok(())
        }
    }
}

/// The node that `step` names below `node`, made if it is not there.
fn descend<'a>(node: &'a mut Node, step: &str, origin: &Origin) -> Result<(Segment, &'a mut Node), String> {
    let index = step.parse::<usize>().ok();
    if matches!(node.content, Content::Scalar(Scalar::Null)) {
        node.content = match index {
            Some(index @ 1..) => return Err(gap(index, 0)), // nothing is made for a name that cannot be set
            Some(0) => Content::Sequence(Vec::new()),
            None => Content::Mapping(Vec::new()),
        };
        node.origin = origin.clone();
    }
    let empty = || Node { origin: origin.clone(), untyped: true, span: None, content: Content::Scalar(Scalar::Null) };
    match &mut node.content {
        Content::Sequence(items) => {
            let Some(index) = index else {
                return Err(format!("this is a list; {step:?} is not the number of an item"));
            };
            if index > items.len() {
                return Err(gap(index, items.len()));
            }
            if index == items.len() {
                items.push(empty());
            }
            Ok((Segment::Index(index), &mut items[index]))
        }
        Content::Mapping(entries) => {
            let place = entries.iter().position(|(key, _)| fold(&key.text) == fold(step)).unwrap_or_else(|| {
                let key = Key { text: step.to_lowercase().into(), origin: origin.clone() };
                entries.push((key, empty()));
                entries.len() - 1
            });
            let (key, below) = &mut entries[place];
            Ok((Segment::Key(Arc::clone(&key.text)), below))
        }
        _ => Err(format!("there is nothing below this value, so {step:?} cannot be set")),
    }
}

fn fold(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

fn gap(index: usize, length: usize) -> String {
    format!("number {index} would leave a gap; the next item of this list is number {length}")
}
