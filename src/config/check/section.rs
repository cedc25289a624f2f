//! A place in the settings that problems can be noted for.

use std::{
    cell::RefCell,
    fmt, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use crate::config::{
    inputs::Inputs,
    place::{KeyPath, Problem, Segment, Warning},
    secrecy,
    settings::{Size, Span},
    tree::Node,
};

/// What was found so far.
#[derive(Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
    inputs: RefCell<Inputs>,
}

impl Notes {
    /// Goes on with what was read so far.
    pub fn after(inputs: Inputs) -> Self {
        Notes { inputs: RefCell::new(inputs), ..Notes::default() }
    }

    pub fn into_parts(self) -> (Vec<Problem>, Vec<Warning>, Inputs) {
        (self.problems.into_inner(), self.warnings.into_inner(), self.inputs.into_inner())
    }
}

/// A value or a section of the settings, by its path.
#[derive(Clone)]
pub(super) struct Section<'c> {
    notes: &'c Notes,
    root: &'c Node,
    base: &'c Path,
    path: KeyPath,
}

impl<'c> Section<'c> {
    pub fn root(notes: &'c Notes, root: &'c Node, base: &'c Path) -> Self {
        Section { notes, root, base, path: KeyPath::default() }
    }

    /// The section or the value `key` below this one; a number is an item of a list.
    pub fn key(&self, key: impl Into<Segment>) -> Section<'c> {
        Section { path: self.path.at(key), ..self.clone() }
    }

    pub fn problem(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.notes.problems.borrow_mut().push(self.note(message.into(), remedy.into()));
    }

    pub fn warn(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.notes.warnings.borrow_mut().push(self.note(message.into(), remedy.into()));
    }

    fn note(&self, message: String, remedy: String) -> Problem {
        let origin = self.root.nearest(&self.path).origin.clone();
        Problem { path: self.path.clone(), origin, message, remedy }
    }

    /// `text` in quotes, or "the value" where it must not be shown.
    pub fn shown(&self, text: impl fmt::Display) -> String {
        secrecy::shown(&text.to_string(), &self.path, self.root.nearest(&self.path))
    }

    /// True if `text` must not be shown as the value of this place.
    pub fn hides(&self, text: &str) -> bool {
        secrecy::hides(text, &self.path, self.root.nearest(&self.path))
    }

    /// The section or the value `key` in the section that holds this one.
    pub fn beside(&self, key: &'static str) -> Section<'c> {
        Section { path: self.path.parent().at(key), ..self.clone() }
    }

    /// The section `key` at the top of the file.
    pub fn top(&self, key: &'static str) -> Section<'c> {
        Section { path: KeyPath::default().at(key), ..self.clone() }
    }

    /// The value that must be given for `key`, or a problem with an example of it.
    pub fn required<'v, T: AsRef<std::ffi::OsStr>>(
        &self,
        key: &'static str,
        value: Option<&'v T>,
        example: &str,
    ) -> Option<&'v T> {
        match value {
            Some(value) if !value.as_ref().is_empty() => Some(value),
            Some(_) => {
                self.key(key).problem("empty", format!("write for example {key}: {example}"));
                None
            }
            None => {
                self.key(key).problem("missing", format!("write for example {key}: {example}"));
                None
            }
        }
    }

    /// `value` or its default; a problem and the default if it is outside `range`.
    pub fn number<T: PartialOrd + Copy + fmt::Display>(
        &self,
        key: &'static str,
        value: Option<T>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        match value {
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                let section = self.key(key);
                let words = format!("not between {} and {}", range.start(), range.end());
                section.problem(format!("{} is {words}", section.shown(value)), "");
                default
            }
            None => default,
        }
    }

    /// `value` or its default; a problem and the default if it is outside `range`.
    pub fn span(
        &self,
        key: &'static str,
        value: Option<Span>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let human = |span: Duration| humantime::format_duration(span).to_string().replace(' ', "");
        match value {
            Some(Span(value)) if range.contains(&value) => value,
            Some(Span(value)) => {
                let section = self.key(key);
                let words = format!("not between {} and {}", human(*range.start()), human(*range.end()));
                section.problem(format!("{} is {words}", section.shown(human(value)).trim_matches('"')), "");
                default
            }
            None => default,
        }
    }

    /// `value` or its default in bytes; a problem and the default if it is outside `range`.
    pub fn size(&self, key: &'static str, value: Option<Size>, default: u64, range: RangeInclusive<u64>) -> u64 {
        let human = |bytes: u64| bytesize::ByteSize(bytes).to_string().replace(' ', "");
        match value {
            Some(Size(value)) if range.contains(&value) => value,
            Some(Size(value)) => {
                let section = self.key(key);
                let words = format!("not between {} and {}", human(*range.start()), human(*range.end()));
                section.problem(format!("{} is {words}", section.shown(human(value)).trim_matches('"')), "");
                default
            }
            None => default,
        }
    }

    /// `file` relative to the configuration file.
    pub fn resolve(&self, file: &Path) -> PathBuf {
        self.base.join(file)
    }

    /// The content of the file at `path`, and one byte more than `limit` of it if it is longer.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.notes.inputs.borrow_mut().read(path, limit)
    }

    /// `folder` relative to the configuration file, where the files with these endings matter.
    pub fn folder(&self, folder: &Path, endings: &'static [&'static str]) -> PathBuf {
        let folder = self.resolve(folder);
        self.notes.inputs.borrow_mut().note_folder(&folder, endings);
        folder
    }
}
