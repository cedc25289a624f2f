//! The body of a message, member by member.

use std::cell::RefCell;

use serde_json::Value;

use super::message::{Given, Usage};
use crate::config::{
    RESERVED_CLAIMS,
    check::section::Section,
    declared::{Content, Format, Kind, Leaf, Malformed, Node, Place, Presence, Template},
    settings::Shape,
};

/// What is common to all members of one message.
struct Body<'s> {
    given: &'s Given<'s>,
    usage: Usage,
    format: &'s Format,
    /// Members that `optional` and `ignored` name and that were found.
    found: RefCell<Vec<String>>,
    /// Placeholders so far.
    places: RefCell<Vec<Place>>,
}

/// Where a member stands.
#[derive(Clone)]
struct At<'s> {
    section: Section<'s>,
    /// `/auth/token`
    pointer: String,
    /// `auth.token`
    name: String,
    depth: usize,
}

impl<'s> At<'s> {
    fn member(&self, name: &str) -> At<'s> {
        let separator = if self.name.is_empty() { "" } else { "." };
        At {
            section: self.section.key(name),
            pointer: format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1")),
            name: format!("{}{separator}{name}", self.name),
            depth: self.depth + 1,
        }
    }

    fn item(&self, index: usize) -> At<'s> {
        At {
            section: self.section.key(index),
            pointer: format!("{}/{index}", self.pointer),
            name: self.name.clone(),
            depth: self.depth + 1,
        }
    }
}

pub(super) fn check(
    given: &Given<'_>,
    usage: Usage,
    format: &Format,
    section: &Section<'_>,
) -> Option<Vec<(String, Node)>> {
    let Shape::Members(members) = given.body else {
        section.problem("not a mapping", "write the members of the message, such as token: \"{refresh_token}\"");
        return None;
    };
    if members.is_empty() {
        section.problem("missing", usage.known());
        return None;
    }
    let body = Body { given, usage, format, found: RefCell::default(), places: RefCell::default() };
    let at = At { section: section.clone(), pointer: String::new(), name: String::new(), depth: 0 };
    let members = body.members(members, &at)?;
    body.has_all_it_names(section).then_some(members)
}

impl Body<'_> {
    fn members(&self, members: &[(String, Shape)], at: &At<'_>) -> Option<Vec<(String, Node)>> {
        let mut whole = true;
        let mut checked = Vec::new();
        for (name, shape) in members {
            let at = at.member(name);
            if matches!(self.format, Format::Xml { .. }) && !is_element(name, &at.section) {
                whole = false;
            }
            match self.node(shape, &at, false) {
                Some(node) => checked.push((name.clone(), node)),
                None => whole = false,
            }
        }
        whole.then_some(checked)
    }

    fn node(&self, shape: &Shape, at: &At<'_>, in_list: bool) -> Option<Node> {
        let flat = matches!(self.format, Format::Form | Format::Query);
        if at.depth > DEPTH {
            at.section.problem(format!("more than {DEPTH} levels deep"), "");
            return None;
        }
        match shape {
            Shape::Members(_) | Shape::List(_) if flat => {
                at.section.problem("a form has texts only", "write form: json or form: xml");
                None
            }
            Shape::List(_) if in_list => {
                at.section.problem("a list in a list", "");
                None
            }
            Shape::Members(members) => self.members(members, at).map(Node::Members),
            Shape::List(items) => self.list(items, at),
            Shape::Constant(value) => Some(self.leaf(Content::Constant(value.clone()), at, None)),
            Shape::Text(text) => self.text(text, at),
        }
    }

    fn list(&self, items: &[Shape], at: &At<'_>) -> Option<Node> {
        if let (Usage::Error, [item]) = (self.usage, items) {
            let before = self.places.borrow().len();
            let node = self.node(item, &at.item(0), true)?;
            let each =
                self.places.borrow()[before..].iter().any(|place| matches!(place, Place::Member | Place::Problem));
            return Some(if each { Node::Each(Box::new(node)) } else { Node::List(vec![node]) });
        }
        let nodes: Vec<Option<Node>> =
            items.iter().enumerate().map(|(index, item)| self.node(item, &at.item(index), true)).collect();
        nodes.into_iter().collect::<Option<Vec<_>>>().map(Node::List)
    }

    fn text(&self, text: &str, at: &At<'_>) -> Option<Node> {
        let section = &at.section;
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(wrong) => {
                section.problem(
                    wrong.to_string(),
                    match wrong {
                        Malformed::Brace => "write {{ and }} for braces of the text itself".to_owned(),
                        Malformed::Place => self.usage.known(),
                        Malformed::Kind => "write for example {expires_in as text}".to_owned(),
                    },
                );
                return None;
            }
        };
        if let Some(constant) = template.constant() {
            return Some(self.leaf(Content::Constant(Value::from(constant)), at, None));
        }
        if self.usage != Usage::Error && template.around().is_none() {
            section.problem("two placeholders in one text could not be told apart when it is read", "");
            return None;
        }
        for (place, kind) in template.places() {
            if let Err(known) = self.usage.knows(place) {
                section.problem(format!("{{{}}} has no meaning here", place.name()), known);
                return None;
            }
            if let Place::Claim(claim) = place
                && RESERVED_CLAIMS.contains(&claim.as_str())
            {
                section.problem("every token says this of itself", "name a claim of the user");
                return None;
            }
            if is_text(place) && matches!(kind, Some(Kind::Integer | Kind::Boolean)) {
                section.problem(format!("{{{}}} is a text", place.name()), "leave out what it is written as");
                return None;
            }
            if matches!(self.usage, Usage::Request(_)) && self.places.borrow().contains(place) {
                section.problem(format!("{{{}}} stands in the request twice", place.name()), "leave one of them out");
                return None;
            }
            self.places.borrow_mut().push(place.clone());
        }
        let place = template.around().map(|(_, place, ..)| place.clone());
        Some(self.leaf(Content::Template(template), at, place.as_ref()))
    }

    fn leaf(&self, content: Content, at: &At<'_>, place: Option<&Place>) -> Node {
        let named = |list: &[String]| list.contains(&at.pointer);
        let presence = match (named(self.given.ignored), named(self.given.optional)) {
            (true, _) => Presence::Ignored,
            (false, true) => Presence::Optional,
            // A scope is never needed.
            (false, false) if place == Some(&Place::Scope) => Presence::Optional,
            (false, false) => Presence::Required,
        };
        self.found.borrow_mut().push(at.pointer.clone());
        let longest = place.and_then(|place| self.given.longest.iter().find(|(name, _)| *name == place.name()));
        Node::Leaf(Leaf {
            name: at.name.clone(),
            content,
            presence,
            longest: longest.map_or(usize::MAX, |(_, most)| *most as usize),
        })
    }

    /// Whether everything that is named beside the body is in it.
    fn has_all_it_names(&self, body: &Section<'_>) -> bool {
        let (found, places) = (self.found.borrow(), self.places.borrow());
        let message = |key: &'static str| body.beside(key);
        let mut whole = true;
        for (key, list) in [("optional", self.given.optional), ("ignored", self.given.ignored)] {
            for (index, pointer) in list.iter().enumerate() {
                if !found.contains(pointer) {
                    let section = message(key).key(index);
                    let text = format!("{} is no text of the body", section.shown(pointer));
                    section.problem(text, "write its way from the root, such as /auth/scope");
                    whole = false;
                }
            }
        }
        for (name, most) in self.given.longest {
            let section = message("longest").key(name.as_str());
            if !places.iter().any(|place| place.name() == *name) {
                section.problem("no such placeholder stands in the body", "write for example refresh_token: 100");
                whole = false;
            } else if *most == 0 {
                section.problem("nothing could ever be sent", "");
                whole = false;
            }
        }
        whole
    }
}

/// Whether it is never a number or a truth value.
fn is_text(place: &Place) -> bool {
    !matches!(
        place,
        Place::Claim(_)
            | Place::ExpiresIn
            | Place::Expires
            | Place::Issued
            | Place::Login
            | Place::Status
            | Place::Company
    )
}

/// Names that need no escape in any XML document (a part of XML 1.0, production 5), and no prefix.
pub(super) fn is_element(name: &str, section: &Section<'_>) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let good = first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !good {
        let message = format!("{} is not the name of an element", section.shown(name));
        section.problem(message, "use letters, digits, \"_\", \"-\" and \".\", and a letter or \"_\" first");
    }
    good
}

/// Levels of members and lists: fewer than any reader of a message takes.
const DEPTH: usize = 12;
