//! A request, member by member; everything that is wrong with them is noted.

use serde_json::Value;

use super::found::{Document, Found};
use crate::{
    config::declared::{Content, Format, Leaf, Message, Place, Presence},
    model::{ErrorCode, Fault, Secret, TokenError},
};

/// What a request says in one of the forms that it could have.
pub struct Reading {
    texts: Vec<(Place, Secret<String>)>,
    faults: Vec<Fault>,
    /// What is wrong with the whole of it.
    wrong: Option<&'static str>,
    /// Constants that are not there although they must be.
    absent: bool,
    /// Constants that are others.
    differs: bool,
}

pub fn request(message: &Message, bytes: &[u8]) -> Reading {
    let mut reading = Reading { texts: Vec::new(), faults: Vec::new(), wrong: None, absent: false, differs: false };
    let Some(document) = Document::read(&message.format, bytes) else {
        reading.unreadable(message);
        return reading;
    };
    let mut namespace = None;
    if let (Format::Xml { root, namespace: of_all }, Document::Xml(found)) = (&message.format, &document) {
        namespace = of_all.as_deref();
        let is_it = namespace.map_or_else(|| found.is_plain(root), |namespace| found.is(namespace, root));
        if !is_it {
            reading.wrong = Some("the root element or its namespace is not that of this endpoint");
        }
    }
    document.walk(namespace, &message.members, &mut |leaf, found| reading.take(leaf, found));
    reading
}

impl Reading {
    fn unreadable(&mut self, message: &Message) {
        match message.format {
            Format::Json => {
                let leaves = message.leaves().into_iter().filter(|leaf| leaf.presence != Presence::Ignored);
                self.faults = leaves.map(|leaf| fault(leaf, "the body is not one JSON object")).collect();
            }
            Format::Xml { .. } => self.wrong = Some("the body is not one well-formed XML document without a DTD"),
            Format::Form => self.wrong = Some("the body is not a well-formed form, or a name is repeated"),
            Format::Query => self.wrong = Some("the query is not well-formed, or a name is repeated"),
        }
    }

    fn take(&mut self, leaf: &Leaf, found: Found<'_>) {
        if leaf.presence == Presence::Ignored {
            return;
        }
        let text = match text(leaf, found) {
            Ok(text) => text,
            Err(Wrong::Type) => return self.faults.push(fault(leaf, "it is not a text")),
            Err(Wrong::Element) => {
                self.wrong = self.wrong.or(Some("an element is repeated, or is not a text"));
                return;
            }
        };
        let text = text.filter(|text| !text.expose().is_empty());
        match (&leaf.content, text) {
            // What is null in every request says nothing.
            (Content::Constant(Value::Null), _) => {}
            (Content::Constant(_), None) | (Content::Template(_), None) if leaf.presence == Presence::Optional => {}
            (content, None) => {
                self.absent |= matches!(content, Content::Constant(_));
                self.faults.push(fault(leaf, MISSING));
            }
            (Content::Constant(value), Some(given)) => self.differs |= plain(value) != *given.expose(),
            (Content::Template(template), Some(given)) => {
                let Some((before, place, _, after)) = template.around() else { return };
                let inner = given.expose().strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                match inner {
                    None | Some("") => self.faults.push(fault(leaf, "it is not of the form that is expected")),
                    Some(inner) if inner.chars().nth(leaf.longest).is_some() => {
                        self.faults.push(fault(leaf, "it is too long"));
                    }
                    Some(inner) => self.texts.push((place.clone(), Secret::new(inner.to_owned()))),
                }
            }
        }
    }

    /// Whether the constants are those of this request.
    pub fn is_meant(&self) -> bool {
        !self.absent && !self.differs
    }

    /// Whether the constants are those of another request.
    pub fn is_another(&self) -> bool {
        self.differs
    }

    /// # Errors
    /// What was wrong, if anything was. `missing` are the words for members that are not there.
    pub fn finish(self, missing: Option<&str>) -> Result<Vec<(Place, Secret<String>)>, TokenError> {
        if let Some(wrong) = self.wrong {
            return Err(TokenError::invalid_request(wrong));
        }
        match missing {
            _ if self.faults.is_empty() => {}
            Some(words) if self.faults.iter().all(|fault| fault.problem == MISSING) => {
                return Err(TokenError::invalid_request(words.to_owned()));
            }
            _ => return Err(TokenError::faulty(self.faults)),
        }
        if self.differs {
            return Err(TokenError::new(ErrorCode::UnsupportedGrantType));
        }
        Ok(self.texts)
    }
}

enum Wrong {
    Type,
    Element,
}

/// The text of a member; `None` if there is none.
fn text(leaf: &Leaf, found: Found<'_>) -> Result<Option<Secret<String>>, Wrong> {
    // What is written as another type is read in that type, and as text.
    let is_typed = match &leaf.content {
        Content::Constant(value) => !value.is_string(),
        Content::Template(template) => template.around().is_some_and(|(_, _, kind, _)| kind.is_some()),
    };
    match found {
        Found::Nothing | Found::Json(Value::Null) => Ok(None),
        Found::Json(Value::String(text)) => Ok(Some(Secret::new(text.clone()))),
        Found::Json(value @ (Value::Number(_) | Value::Bool(_))) if is_typed => Ok(Some(Secret::new(plain(value)))),
        Found::Json(_) => Err(Wrong::Type),
        Found::Element(element) => element.text().map(|text| text.cloned()).map_err(|_| Wrong::Element),
        Found::Text(text) => Ok(Some(text.clone())),
        Found::Repeated => Err(Wrong::Element),
    }
}

/// A value as forms and XML write it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn fault(leaf: &Leaf, problem: &'static str) -> Fault {
    Fault { member: leaf.name.clone(), problem }
}

const MISSING: &str = "it is missing";
