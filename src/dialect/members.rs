//! The members of a JSON object, read one by one; everything that is wrong with them is noted.

use serde::{Serialize, Serializer as _};
use serde_json::{Map, Value};

use super::xml::BYTE_ORDER_MARK;
use crate::{
    json,
    model::{Fault, Secret, TokenError},
};

/// What has not been taken yet, and what was wrong so far.
pub struct Members {
    /// `None`: the body is not one strict JSON object.
    members: Option<Map<String, Value>>,
    faults: Vec<Fault>,
}

impl Members {
    pub fn read(body: &[u8]) -> Members {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        Members { members: json::object(body).ok(), faults: Vec::new() }
    }

    /// A text of 1 to `most` characters that must be there.
    pub fn text(&mut self, name: &str, most: usize) -> Option<Secret<String>> {
        match self.given(name, most)? {
            Some(text) => Some(text),
            None => self.fault(name, "it is missing"),
        }
    }

    /// The same, if it is there at all; nothing else is wrong with an empty one.
    pub fn optional(&mut self, name: &str, most: usize) -> Option<Secret<String>> {
        self.given(name, most)?
    }

    /// Outside, `None` if it is wrong; inside, `None` if there is none.
    fn given(&mut self, name: &str, most: usize) -> Option<Option<Secret<String>>> {
        let Some(members) = &mut self.members else { return self.fault(name, "the body is not one JSON object") };
        match members.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => {
                let text = Secret::new(text);
                match text.expose().chars().nth(most) {
                    Some(_) => self.fault(name, "it is too long"),
                    None => Some((!text.expose().is_empty()).then_some(text)),
                }
            }
            Some(_) => self.fault(name, "it is not a text"),
        }
    }

    fn fault<T>(&mut self, name: &str, problem: &'static str) -> Option<T> {
        self.faults.push(Fault { member: name.to_owned(), problem });
        None
    }

    /// # Errors
    /// What was wrong, if anything was.
    pub fn finish(self) -> Result<(), TokenError> {
        if self.faults.is_empty() { Ok(()) } else { Err(TokenError::faulty(self.faults)) }
    }
}

/// Writes an object with its members in this order.
pub fn write<V: Serialize>(members: impl IntoIterator<Item = (impl Serialize, V)>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut body);
    writer.collect_map(members).expect("texts, numbers and booleans always serialise into a Vec");
    body
}

/// Seconds that another server wrote, as text or as a number.
pub fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The type of a member that tells of the user, or is a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Boolean,
    Stamp,
}

/// A claim in the type that a member has. Directories and call-outs give everything as text.
pub fn fit(value: Value, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => Some(Value::String(text)),
        (Kind::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
        (Kind::Text, Value::Bool(truth)) => Some(Value::String(truth.to_string())),
        (Kind::Integer, Value::Number(number)) => number.as_i64().map(Value::from),
        (Kind::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Boolean, Value::Bool(truth)) => Some(Value::Bool(truth)),
        (Kind::Boolean, Value::String(text)) => match text.trim() {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}
