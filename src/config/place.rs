//! Where a value stands and what is wrong with it.

use std::{fmt, sync::Arc};

/// One step from a node to a node below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    Key(Arc<str>),
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Segment::Key(key.into())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Segment::Index(index)
    }
}

/// The way from the root of the configuration to a value, written `listeners[1].tls.key_file`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyPath(Vec<Segment>);

impl KeyPath {
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path of the node `segment` below this one.
    pub fn at(&self, segment: impl Into<Segment>) -> KeyPath {
        let mut path = self.clone();
        path.0.push(segment.into());
        path
    }

    /// True if this is `other` or stands below it.
    pub fn is_within(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path of the node that holds this one; the root holds itself.
    pub fn parent(&self) -> KeyPath {
        KeyPath(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }
}

impl FromIterator<Segment> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        KeyPath(segments.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    if is_plain(key) { f.write_str(key)? } else { write!(f, "{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Line and column count from 1; both are 0 where only the file is known.
    File { name: Arc<str>, line: u64, column: u64 },
    /// An environment variable that overrides the file.
    Variable(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line: 0, .. } => f.write_str(name),
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// One thing that is wrong. No text in it holds a secret, nor a value that came from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: KeyPath,
    pub origin: Origin,
    pub message: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// Something that works and is probably not what was wanted.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.path.segments().is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every problem of a configuration in the order of the file, and what is needed to show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    pub list: Vec<Problem>,
    pub(super) lines: super::report::Lines,
    /// What was read all the same.
    pub inputs: super::Inputs,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::report::write(f, self)
    }
}

impl std::error::Error for Problems {}
