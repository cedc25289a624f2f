//! What a message has at a place, whatever its format.

use serde_json::{Map, Value};

use crate::{
    config::declared::{Format, Leaf, Node},
    dialect::{
        oauth2::Form,
        xml::{self, BYTE_ORDER_MARK, Element},
    },
    json,
    model::Secret,
};

/// A message that was parsed.
pub enum Document {
    Json(Map<String, Value>),
    Xml(Element),
    Form(Form),
}

/// What stands at one place.
#[derive(Clone, Copy)]
pub enum Found<'d> {
    Nothing,
    Json(&'d Value),
    Element(&'d Element),
    Text(&'d Secret<String>),
    /// An element that stands there more than once: it could be read in two ways.
    Repeated,
}

impl Document {
    /// `None` if the bytes are nothing of this format.
    pub fn read(format: &Format, bytes: &[u8]) -> Option<Document> {
        match format {
            Format::Json => {
                let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
                json::object(bytes).ok().map(Document::Json)
            }
            Format::Xml { .. } => xml::read(bytes).ok().map(Document::Xml),
            Format::Form | Format::Query => Form::read(bytes).ok().map(Document::Form),
        }
    }

    /// Visits every leaf of `members` with what the message has for it. The root itself is not looked at.
    pub fn walk<'d, 'n>(
        &'d self,
        namespace: Option<&str>,
        members: &'n [(String, Node)],
        visit: &mut dyn FnMut(&'n Leaf, Found<'d>),
    ) {
        for (name, node) in members {
            match self {
                Document::Json(members) => below(At::members(members), namespace, name, node, visit),
                Document::Xml(root) => below(At::Element(root), namespace, name, node, visit),
                Document::Form(form) => {
                    if let Node::Leaf(leaf) = node {
                        visit(leaf, form.get(name).map_or(Found::Nothing, Found::Text));
                    }
                }
            }
        }
    }
}

/// What members are looked for in.
#[derive(Clone, Copy)]
enum At<'d> {
    Nothing,
    Members(&'d Map<String, Value>),
    Element(&'d Element),
}

impl<'d> At<'d> {
    fn members(members: &'d Map<String, Value>) -> At<'d> {
        At::Members(members)
    }

    fn of(found: Found<'d>) -> At<'d> {
        match found {
            Found::Json(Value::Object(members)) => At::Members(members),
            Found::Element(element) => At::Element(element),
            _ => At::Nothing,
        }
    }

    fn one(self, namespace: Option<&str>, name: &str) -> Found<'d> {
        match self {
            At::Nothing => Found::Nothing,
            At::Members(members) => members.get(name).map_or(Found::Nothing, Found::Json),
            At::Element(element) => {
                let mut children = element.children_of(namespace, name);
                match (children.next(), children.next()) {
                    (None, _) => Found::Nothing,
                    (Some(child), None) => Found::Element(child),
                    _ => Found::Repeated,
                }
            }
        }
    }

    /// The items of a list; in XML, the elements of that name.
    fn items(self, namespace: Option<&str>, name: &str) -> Vec<Found<'d>> {
        match self {
            At::Nothing => Vec::new(),
            At::Members(members) => match members.get(name) {
                Some(Value::Array(items)) => items.iter().map(Found::Json).collect(),
                _ => Vec::new(),
            },
            At::Element(element) => element.children_of(namespace, name).map(Found::Element).collect(),
        }
    }
}

fn below<'d, 'n>(
    at: At<'d>,
    namespace: Option<&str>,
    name: &str,
    node: &'n Node,
    visit: &mut dyn FnMut(&'n Leaf, Found<'d>),
) {
    match node {
        Node::List(nodes) => {
            let items = at.items(namespace, name);
            for (index, node) in nodes.iter().enumerate() {
                inside(items.get(index).copied().unwrap_or(Found::Nothing), namespace, node, visit);
            }
        }
        Node::Each(node) => {
            at.items(namespace, name).into_iter().for_each(|item| inside(item, namespace, node, visit));
        }
        node => inside(at.one(namespace, name), namespace, node, visit),
    }
}

fn inside<'d, 'n>(
    found: Found<'d>,
    namespace: Option<&str>,
    node: &'n Node,
    visit: &mut dyn FnMut(&'n Leaf, Found<'d>),
) {
    match node {
        Node::Leaf(leaf) => visit(leaf, found),
        Node::Members(members) => {
            members.iter().for_each(|(name, node)| below(At::of(found), namespace, name, node, visit));
        }
        // The check refuses a list in a list.
        Node::List(_) | Node::Each(_) => {}
    }
}
