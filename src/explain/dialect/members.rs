//! What is in the body: names, types and lengths, and no value.

use http::{HeaderValue, Method, header, request::Parts};
use serde_json::{Map, Value};

use crate::{
    dialect::xml::{self, BYTE_ORDER_MARK},
    explain::Detail,
    json,
};

/// The members of `body`, which is taken for what its media type says; of a GET, those of its query.
pub fn outline(head: &Parts, body: &[u8]) -> (String, Vec<Detail>) {
    let is_query = head.method == Method::GET;
    let media_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media_type = String::from_utf8_lossy(media_type).to_ascii_lowercase();
    let essence = media_type.split(';').next().unwrap_or_default();
    let bare = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let mut list = List::default();
    let form = if !is_query && essence.contains("json") {
        let Ok(members) = json::object(bare) else { return broken("is not one JSON object without doublets") };
        list.object("", &members);
        "JSON"
    } else if !is_query && essence.contains("xml") {
        let Ok(root) = xml::read(body) else { return broken("is not one XML document without a DTD") };
        root.texts().for_each(|(name, text)| list.put(name, &text_of(text.map(|text| text.expose().as_str()))));
        "XML"
    } else if is_query || essence.contains("form") {
        for (name, value) in form_urlencoded::parse(body) {
            // Anything at all is a form: only what is known to be a name may be shown as one.
            match FORM.contains(&&*name) {
                true => list.put(&name, &text_of(Some(&value))),
                false => list.hidden += 1,
            }
        }
        if is_query { "a query" } else { "a form" }
    } else {
        return broken("is of no media type that has members");
    };
    if list.hidden > 0 {
        list.details.push(Detail::plain(format!("{} more, whose names are not shown", list.hidden)));
    }
    (format!("as {form}"), list.details)
}

fn broken(why: &str) -> (String, Vec<Detail>) {
    (format!("the body {why}"), Vec::new())
}

#[derive(Default)]
struct List {
    details: Vec<Detail>,
    hidden: usize,
}

impl List {
    fn object(&mut self, above: &str, members: &Map<String, Value>) {
        for (name, value) in members {
            let name = format!("{above}{name}");
            match value {
                Value::Object(below) => self.object(&format!("{name}."), below),
                Value::String(text) => self.put(&name, &text_of(Some(text))),
                Value::Number(_) => self.put(&name, "a number"),
                Value::Bool(_) => self.put(&name, "true or false"),
                Value::Array(items) => self.put(&name, &format!("a list of {}", items.len())),
                Value::Null => self.put(&name, "null"),
            }
        }
    }

    fn put(&mut self, name: &str, what: &str) {
        let good = |char: char| char.is_ascii_alphanumeric() || "_-.<>".contains(char);
        if name.len() > LONGEST_NAME || !name.chars().all(good) || self.details.len() >= MOST_MEMBERS {
            self.hidden += 1;
        } else {
            self.details.push(Detail::plain(format!("`{name}`: {what}")));
        }
    }
}

fn text_of(text: Option<&str>) -> String {
    match text.map(|text| text.chars().count()) {
        None => "nil".to_owned(),
        Some(0) => "an empty text, as if it were not there".to_owned(),
        Some(1) => "a text of 1 character".to_owned(),
        Some(length) => format!("a text of {length} characters"),
    }
}

/// The parameters of RFC 6749, 7521, 7636 and 8707.
const FORM: [&str; 14] = [
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "resource",
    "scope",
    "state",
    "username",
];

/// Longer ones, and others than names are made of, may be anything.
const LONGEST_NAME: usize = 64;
const MOST_MEMBERS: usize = 32;
