//! Names: labels, header names, methods, and looking one up.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderName, Method};

use super::section::Section;
use crate::config::suggest::{nearest, sentence};

/// Headers that belong to one connection (RFC 9110, section 7.6.1), and those that frame a message.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Names that must differ: which was first, by what is compared.
#[derive(Default)]
pub(super) struct Distinct(BTreeMap<String, usize>);

impl Distinct {
    /// Notes a problem for `section`, the `index`th of `list`, if `value` was there before.
    pub fn note(&mut self, value: impl Into<String>, index: usize, list: &str, section: &Section<'_>) {
        let value = value.into();
        let shown = section.shown(&value);
        if let Some(first) = self.0.get(&value) {
            section.problem(format!("{shown} is already used by {list}[{first}]"), "");
        } else {
            self.0.insert(value, index);
        }
    }
}

/// The name at `name` of `section`: a label of metrics and logs.
pub(super) fn label(name: Option<&String>, section: &Section<'_>, example: &str) -> Option<Arc<str>> {
    const LONGEST: usize = 64;
    let name = section.required("name", name, example)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if !plain || name.len() > LONGEST {
        let section = section.key("name");
        let remedy = format!("use up to {LONGEST} letters, digits, \"-\", \"_\" and \".\"");
        section.problem(format!("{} is not a name", section.shown(name)), remedy);
        return None;
    }
    Some(name.as_str().into())
}

/// The index of `name` in `names`, those of the items of `list` (`upstreams`), or a problem.
pub(super) fn find(name: &str, names: &[Option<&str>], list: &'static str, section: &Section<'_>) -> Option<usize> {
    let found = names.iter().position(|other| *other == Some(name));
    // With a name missing above it would be a guess that it is not meant; that one is reported already.
    if found.is_none() && names.iter().all(Option::is_some) {
        let what = list.trim_end_matches('s');
        let may_show = |index: usize, name: &str| !section.top(list).key(index).key("name").hides(name);
        let known: Vec<&str> =
            names.iter().enumerate().filter_map(|(index, name)| name.filter(|name| may_show(index, name))).collect();
        let remedy = match nearest(name, known.iter().copied()).filter(|_| !section.hides(name)) {
            Some(near) => sentence(Some(near)),
            None if names.is_empty() => format!("there is no {what} at all"),
            None if known.is_empty() => String::new(),
            None => format!("known: {}", known.join(", ")),
        };
        section.problem(format!("no {what} is called {}", section.shown(name)), remedy);
    }
    found
}

/// A header that passes from one connection to the other.
pub(super) fn header(name: &str, section: &Section<'_>) -> Option<HeaderName> {
    let Ok(header) = name.parse::<HeaderName>() else {
        let remedy = "use letters, digits and \"-\", for example X-Request-Id";
        section.problem(format!("{} is not the name of a header", section.shown(name)), remedy);
        return None;
    };
    if HOP_BY_HOP.contains(&header.as_str()) || header == "trailer" {
        section.problem(format!("{header} belongs to a single connection or frames the message"), "");
        return None;
    }
    Some(header)
}

/// All of `names`, or `None` if one is wrong.
pub(super) fn headers(names: &[String], section: &Section<'_>) -> Option<Vec<HeaderName>> {
    all(names, section, |name, section| header(name, section))
}

/// All of `names`, or `None` if one is wrong.
pub(super) fn methods(names: &[String], section: &Section<'_>) -> Option<Vec<Method>> {
    all(names, section, |name, section| {
        let method = Method::from_bytes(name.as_bytes()).ok().filter(|_| *name == name.to_ascii_uppercase());
        match method {
            Some(Method::CONNECT) => {
                section.problem("CONNECT opens a tunnel and is never forwarded", "");
                None
            }
            Some(method) => Some(method),
            None => {
                let upper = name.to_ascii_uppercase();
                let near = nearest(&upper, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
                section.problem(format!("{} is not a method", section.shown(name)), sentence(near));
                None
            }
        }
    })
}

/// Checks each item under its own path; `None` if one of them is wrong.
pub(super) fn all<T, U>(
    items: &[T],
    section: &Section<'_>,
    mut check: impl FnMut(&T, &Section<'_>) -> Option<U>,
) -> Option<Vec<U>> {
    let mut whole = true;
    let checked = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let checked = check(item, &section.key(index));
            whole &= checked.is_some();
            checked
        })
        .collect();
    whole.then_some(checked)
}
