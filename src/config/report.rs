//! Problems as people read them.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    ops::Range,
    sync::Arc,
};

use super::{
    include::Source,
    place::{KeyPath, Origin, Problem, Problems, Segment},
    secrecy,
    tree::{Content, Node, Scalar},
};

/// A line is cut after so many characters.
const WIDEST: usize = 160;

pub(super) fn write(f: &mut fmt::Formatter<'_>, problems: &Problems) -> fmt::Result {
    for (index, problem) in problems.list.iter().enumerate() {
        if index > 0 {
            f.write_char('\n')?;
        }
        write!(f, "{problem}")?;
        if let Origin::File { name, line, column } = &problem.origin
            && let Some(text) = problems.lines.get(&(name.clone(), *line))
        {
            let number = line.to_string();
            let indent = usize::try_from(*column).unwrap_or(1).saturating_sub(1);
            write!(f, "\n  {number} | {text}")?;
            if indent < WIDEST {
                write!(f, "\n  {:width$} | {:indent$}^", "", "", width = number.len())?;
            }
        }
    }
    Ok(())
}

/// The lines that may be shown, by file and number.
pub(super) type Lines = BTreeMap<(Arc<str>, u64), String>;

/// The files, and which of their lines hold a secret.
pub(super) struct Shown<'s> {
    sources: &'s [Source],
    secret: Vec<(Arc<str>, Range<usize>)>,
}

impl<'s> Shown<'s> {
    /// `root` is the tree of `sources` with its overrides, but before anything was pruned.
    pub fn new(sources: &'s [Source], root: &Node) -> Self {
        let mut secret = Vec::new();
        collect_secrets(root, &KeyPath::default(), &mut secret);
        Shown { sources, secret }
    }

    /// The lines that `problems` point at, as far as they may be shown.
    pub fn lines_for(&self, problems: &[Problem]) -> Lines {
        problems
            .iter()
            .filter_map(|problem| match &problem.origin {
                Origin::File { name, line, .. } => Some(((name.clone(), *line), self.line(name, *line)?)),
                Origin::Variable(_) => None,
            })
            .collect()
    }

    fn line(&self, name: &Arc<str>, number: u64) -> Option<String> {
        let source = &self.sources.iter().find(|source| source.name == *name)?.text;
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let line = source.split('\n').nth(index)?;
        let start = line.as_ptr().addr() - source.as_ptr().addr();
        let end = start + line.len();
        let hidden = self.secret.iter().any(|(file, range)| file == name && range.start <= end && start <= range.end);
        (!hidden && !line.trim().is_empty() && !secrecy::line_may_hold_secret(line)).then(|| plain(line))
    }
}

/// The line of a file that is no YAML, unless the file looks as if there were a secret in it.
pub(super) fn lines_of_text(source: &str, problem: &Problem) -> Lines {
    let mut lines = Lines::new();
    if let Origin::File { name, line, .. } = &problem.origin
        && source.len() <= super::tree::LONGEST_FILE
        && !source.lines().any(secrecy::line_may_hold_secret)
        && let Some(text) = line.checked_sub(1).and_then(|index| source.split('\n').nth(usize::try_from(index).ok()?))
    {
        lines.insert((name.clone(), *line), plain(text));
    }
    lines
}

/// A terminal must not be driven by a file: control characters become spaces.
fn plain(line: &str) -> String {
    line.trim_end().chars().take(WIDEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn collect_secrets(node: &Node, path: &KeyPath, secret: &mut Vec<(Arc<str>, Range<usize>)>) {
    let looks = matches!(&node.content, Content::Scalar(Scalar::Text(text)) if secrecy::looks_secret(text));
    if (looks || secrecy::is_secret(path))
        && let (Origin::File { name, .. }, Some(span)) = (&node.origin, &node.span)
    {
        secret.push((name.clone(), span.clone()));
    }
    match &node.content {
        Content::Scalar(_) | Content::Pruned => {}
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_secrets(item, &path.at(index), secret);
            }
        }
        Content::Mapping(entries) => {
            for (key, below) in entries {
                collect_secrets(below, &path.at(Segment::Key(key.text.clone())), secret);
            }
        }
    }
}
