//! XML as a .NET server reads and writes it, by a reader and a writer that are not those of sidegate.

use quick_xml::{
    NsReader,
    escape::{escape, resolve_predefined_entity},
    events::Event,
    name::ResolveResult,
};

/// A document of a root and its children, each child with its text; `None` for one that is nil.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    pub namespace: Option<String>,
    pub root: String,
    pub members: Vec<(String, Option<String>)>,
}

impl Model {
    /// Reads what must be such a document, all of it in one namespace.
    pub fn read(document: &[u8]) -> Option<Model> {
        let mut reader = NsReader::from_str(std::str::from_utf8(document).ok()?);
        let mut model: Option<Model> = None;
        let mut inside: Option<(String, Option<String>)> = None;
        loop {
            let event = reader.read_event().ok()?;
            let (start, ends) = match &event {
                Event::Start(start) => (Some(start), false),
                Event::Empty(start) => (Some(start), true),
                _ => (None, false),
            };
            if let Some(start) = start {
                let namespace = match reader.resolver().resolve_element(start.name()) {
                    (ResolveResult::Bound(namespace), _) => Some(namespace.into_inner().to_owned()),
                    (ResolveResult::Unbound, _) => None,
                    (ResolveResult::Unknown(_), _) => return None,
                };
                let name = start.local_name().into_inner().to_owned();
                match &model {
                    None => model = Some(Model { namespace, root: name, members: Vec::new() }),
                    Some(model) if model.namespace == namespace && inside.is_none() => {
                        let nil = start.attributes().flatten().any(|attribute| attribute.key.into_inner() == "i:nil");
                        inside = Some((name, (!nil).then(String::new)));
                    }
                    Some(_) => return None,
                }
                if !ends {
                    continue;
                }
            }
            let text = match &event {
                Event::Text(text) => text.xml10_content().into_owned(),
                Event::CData(text) => text.xml10_content().into_owned(),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                    Some(char) => char.to_string(),
                    None => resolve_predefined_entity(reference)?.to_owned(),
                },
                Event::End(_) | Event::Empty(_) => {
                    match inside.take() {
                        Some(member) => model.as_mut()?.members.push(member),
                        None => return model,
                    }
                    continue;
                }
                Event::Eof => return None,
                _ => continue,
            };
            if let Some((_, Some(so_far))) = &mut inside {
                so_far.push_str(&text);
            }
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(known, _)| known == name)?.1.as_deref()
    }

    pub fn names(&self) -> Vec<&str> {
        self.members.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The same as a document.
pub fn document(namespace: &str, root: &str, members: &[(&str, &str)]) -> String {
    let members: String = members.iter().map(|(name, text)| format!("<{name}>{}</{name}>", escaped(text))).collect();
    let prefix = if namespace.is_empty() { String::new() } else { format!(" xmlns=\"{namespace}\"") };
    format!("<{root} xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"{prefix}>{members}</{root}>")
}

fn escaped(text: &str) -> String {
    escape(text).replace('\r', "&#13;")
}
