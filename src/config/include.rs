//! Lists of the authority that stand in files of their own.

use std::{io, path::Path, sync::Arc};

use super::{
    environment::{Environment, apply_overrides},
    inputs::Inputs,
    place::{KeyPath, Origin, Problem, Segment},
    suggest::{nearest, sentence},
    tree::{self, Content, LONGEST_FILE, Node, Scalar},
};

/// A file as it was read.
pub(super) struct Source {
    pub name: Arc<str>,
    pub text: String,
}

/// Puts the lists of the files that the authority names where they would stand otherwise; every node knows its own
/// file. Returns those files.
///
/// Before the overrides of the environment, which may set a value in such a list; the name of the file may be one too.
pub(super) fn include_lists(
    root: &mut Node,
    base: &Path,
    environment: &Environment,
    inputs: &mut Inputs,
    problems: &mut Vec<Problem>,
) -> Vec<Source> {
    let mut named = root.clone();
    apply_overrides(&mut named, environment, &mut Vec::new());
    let mut sources = Vec::new();
    for (list, key) in [("clients", "clients_file"), ("users", "users_file")] {
        let path = key_path(&["authority", key]);
        let Some(Node { content: Content::Scalar(Scalar::Text(file)), origin, .. }) = named.find(&path) else {
            continue;
        };
        let list_path = key_path(&["authority", list]);
        let problem = |origin: &Origin, message: String, remedy: String| Problem {
            path: path.clone(),
            origin: origin.clone(),
            message,
            remedy,
        };
        if root.find(&list_path).is_some_and(|node| !matches!(node.content, Content::Scalar(Scalar::Null))) {
            problems.push(problem(origin, format!("{list} stand here and in a file"), "keep one of the two".into()));
            continue;
        }
        let file = base.join(file);
        let name: Arc<str> = file.display().to_string().into();
        let text = match read(&file, inputs) {
            Ok(text) => text,
            Err(error) => {
                problems.push(problem(origin, format!("the file cannot be read: {}", words(&error)), String::new()));
                continue;
            }
        };
        match tree::parse(&text, &name) {
            Ok(mut found) => {
                tree::expand_all(&mut found, &list_path.parent(), environment, problems);
                match take_list(found, list) {
                    Ok(items) => {
                        put(root, list, items);
                        // Its lines may be shown: what is secret among them is known now.
                        sources.push(Source { name, text });
                    }
                    Err((origin, message, remedy)) => problems.push(problem(&origin, message, remedy)),
                }
            }
            Err(wrong) => problems.push(Problem { path, ..wrong }),
        }
    }
    sources
}

/// The node at `list` in a file that holds nothing else.
fn take_list(found: Node, list: &str) -> Result<Node, (Origin, String, String)> {
    let example = || format!("it starts with {list}:");
    let Content::Mapping(entries) = found.content else {
        return Err((found.origin, format!("this file holds no {list}"), example()));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| *key.text != *list) {
        let remedy = match nearest(&key.text, [list]) {
            Some(near) => sentence(Some(near)),
            None => format!("only {list} belongs into this file"),
        };
        return Err((key.origin.clone(), format!("unknown key {:?}", key.text), remedy));
    }
    let only = entries.into_iter().next();
    only.map(|(_, node)| node).ok_or_else(|| (found.origin, format!("this file holds no {list}"), example()))
}

fn put(root: &mut Node, list: &str, items: Node) {
    let Some(Node { content: Content::Mapping(entries), .. }) = root.find_mut(&key_path(&["authority"])) else {
        return; // the name of the file comes from the environment, and the overrides say what is wrong with that
    };
    entries.retain(|(key, _)| *key.text != *list);
    entries.push((tree::Key { text: list.into(), origin: items.origin.clone() }, items));
}

fn key_path(keys: &[&str]) -> KeyPath {
    keys.iter().map(|key| Segment::from(*key)).collect()
}

/// The text of `file`, or one byte more than is allowed of it, so that a file which is too long is seen as such.
pub(super) fn read(file: &Path, inputs: &mut Inputs) -> io::Result<String> {
    let mut content = inputs.read(file, LONGEST_FILE as u64)?;
    String::from_utf8(std::mem::take(&mut *content)).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
