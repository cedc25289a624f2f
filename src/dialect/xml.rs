//! XML as a token endpoint needs it: bounded, without a document type, compared by namespace and never by prefix.

use quick_xml::{
    NsReader, Writer,
    escape::resolve_predefined_entity,
    events::{BytesEnd, BytesStart, BytesText, Event},
    name::{Namespace, NamespaceResolver, ResolveResult},
};

use crate::model::Secret;

/// An element and what is in it.
#[derive(Debug)]
pub struct Element {
    namespace: Option<String>,
    name: String,
    /// `i:nil="true"`: as if it were not there.
    nil: bool,
    text: Secret<String>,
    children: Vec<Element>,
}

/// Not one XML document within the bounds. It says nothing more, so that no content can leak through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one XML document without a document type, in UTF-8 and within bounds")]
pub struct NotXml;

/// An element stands twice where one was expected, or holds elements where text was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

/// Reads one document.
///
/// # Errors
/// If it is not well-formed UTF-8, has a document type, uses an entity or a prefix that was not declared, or is larger
/// than [`BYTES`], [`ELEMENTS`] or [`DEPTH`].
pub fn read(document: &[u8]) -> Result<Element, NotXml> {
    if document.len() > BYTES {
        return Err(NotXml);
    }
    let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
    let document = std::str::from_utf8(document).map_err(|_| NotXml)?;
    if !document.chars().all(is_allowed) {
        return Err(NotXml);
    }
    let mut tree = Tree::default();
    let mut reader = NsReader::from_str(document);
    for at in 0.. {
        let event = reader.read_event().map_err(|_| NotXml)?;
        match event {
            Event::Start(start) => tree.open(&start, reader.resolver())?,
            Event::Empty(start) => {
                tree.open(&start, reader.resolver())?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.write(&text.xml10_content())?,
            Event::CData(text) => tree.write_inside(&text.xml10_content())?,
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|_| NotXml)? {
                Some(char) if is_allowed(char) => tree.write_inside(char.encode_utf8(&mut [0; 4]))?,
                Some(_) => return Err(NotXml),
                None => tree.write_inside(resolve_predefined_entity(&reference).ok_or(NotXml)?)?,
            },
            Event::Comment(_) | Event::PI(_) => {}
            Event::Decl(declaration) => {
                let utf8 = match declaration.encoding() {
                    None => true,
                    Some(name) => ["utf-8", "us-ascii"].contains(&&*name.map_err(|_| NotXml)?.to_ascii_lowercase()),
                };
                if at > 0 || !utf8 || declaration.version().ok().as_deref() != Some("1.0") {
                    return Err(NotXml);
                }
            }
            Event::DocType(_) => return Err(NotXml),
            Event::Eof => break,
        }
    }
    tree.finish()
}

/// What has been read so far.
#[derive(Default)]
struct Tree {
    root: Option<Element>,
    /// From the root down to where the reader is.
    open: Vec<(Element, String)>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, start: &BytesStart<'_>, namespaces: &NamespaceResolver) -> Result<(), NotXml> {
        self.elements += 1;
        let second_root = self.open.is_empty() && self.root.is_some();
        if second_root || self.elements > ELEMENTS || self.open.len() >= DEPTH {
            return Err(NotXml);
        }
        let mut nil = false;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| NotXml)?;
            match namespaces.resolve_attribute(attribute.key) {
                (ResolveResult::Unknown(_), _) => return Err(NotXml),
                (ResolveResult::Bound(Namespace(INSTANCE)), name) if name.into_inner() == "nil" => {
                    nil = matches!(attribute.value.trim(), "true" | "1");
                }
                _ => {}
            }
        }
        let (namespace, name) = namespaces.resolve_element(start.name());
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => Some(namespace.into_inner().to_owned()),
            ResolveResult::Unbound => None,
            ResolveResult::Unknown(_) => return Err(NotXml),
        };
        let name = name.into_inner().to_owned();
        let element = Element { namespace, name, nil, text: Secret::new(String::new()), children: Vec::new() };
        self.open.push((element, String::new()));
        Ok(())
    }

    fn close(&mut self) -> Result<(), NotXml> {
        let (mut element, text) = self.open.pop().ok_or(NotXml)?;
        element.text = Secret::new(text);
        match self.open.last_mut() {
            Some((parent, _)) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    /// Text that may stand outside of the root if it is white space.
    fn write(&mut self, text: &str) -> Result<(), NotXml> {
        if self.open.is_empty() && text.bytes().all(|byte| b" \t\r\n".contains(&byte)) {
            return Ok(());
        }
        self.write_inside(text)
    }

    fn write_inside(&mut self, text: &str) -> Result<(), NotXml> {
        self.open.last_mut().ok_or(NotXml)?.1.push_str(text);
        Ok(())
    }

    fn finish(self) -> Result<Element, NotXml> {
        self.root.filter(|_| self.open.is_empty()).ok_or(NotXml)
    }
}

impl Element {
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref() == Some(namespace) && self.name == name
    }

    /// The same for an element of no namespace.
    pub fn is_plain(&self, name: &str) -> bool {
        self.namespace.is_none() && self.name == name
    }

    /// Every child that holds no elements, by its name alone; `None` for one that is nil.
    pub fn texts(&self) -> impl Iterator<Item = (&str, Option<&Secret<String>>)> {
        let texts = self.children.iter().filter(|child| child.children.is_empty());
        texts.map(|child| (&*child.name, (!child.nil).then_some(&child.text)))
    }

    /// The text of the one child of that name; `None` if there is none, or it is nil.
    ///
    /// # Errors
    /// If it stands twice, or holds elements.
    pub fn text_of(&self, namespace: Option<&str>, name: &str) -> Result<Option<&Secret<String>>, NotText> {
        let mut found = self.children_of(namespace, name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(child), None) => child.text(),
            _ => Err(NotText),
        }
    }

    /// What is called so in this element.
    pub fn children_of(&self, namespace: Option<&str>, name: &str) -> impl Iterator<Item = &Element> {
        self.children.iter().filter(move |child| child.namespace.as_deref() == namespace && child.name == name)
    }

    /// Its text; `None` if it is nil.
    ///
    /// # Errors
    /// If it holds elements.
    pub fn text(&self) -> Result<Option<&Secret<String>>, NotText> {
        if self.children.is_empty() { Ok((!self.nil).then_some(&self.text)) } else { Err(NotText) }
    }
}

/// What an element that is written holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Nil,
    Text(String),
    Children(Vec<(String, Content)>),
}

/// Writes a document of one root and its children; a child without text is nil.
pub fn write(
    root: &str,
    namespace: Option<&str>,
    children: impl IntoIterator<Item = (impl AsRef<str>, Option<impl AsRef<str>>)>,
) -> Vec<u8> {
    let content = |text: Option<_>| match text {
        Some(text) => Content::Text(AsRef::<str>::as_ref(&text).to_owned()),
        None => Content::Nil,
    };
    write_tree(
        root,
        namespace,
        &children.into_iter().map(|(name, text)| (name.as_ref().into(), content(text))).collect::<Vec<_>>(),
    )
}

/// The same with children of children.
pub fn write_tree(root: &str, namespace: Option<&str>, children: &[(String, Content)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut start = BytesStart::new(root);
    if namespace.is_some() || has_nil(children) {
        start.push_attribute(("xmlns:i", INSTANCE));
    }
    if let Some(namespace) = namespace {
        start.push_attribute(("xmlns", namespace));
    }
    put(&mut writer, Event::Start(start));
    put_all(&mut writer, children);
    put(&mut writer, Event::End(BytesEnd::new(root)));
    writer.into_inner()
}

fn put_all(writer: &mut Writer<Vec<u8>>, children: &[(String, Content)]) {
    for (name, content) in children {
        let mut start = BytesStart::new(name.as_str());
        if *content == Content::Nil {
            start.push_attribute(("i:nil", "true"));
            put(writer, Event::Empty(start));
            continue;
        }
        put(writer, Event::Start(start));
        match content {
            Content::Nil => {}
            Content::Text(text) => put(writer, Event::Text(BytesText::new(&writable(text)))),
            Content::Children(children) => put_all(writer, children),
        }
        put(writer, Event::End(BytesEnd::new(name.as_str())));
    }
}

fn put(writer: &mut Writer<Vec<u8>>, event: Event<'_>) {
    writer.write_event(event).expect("a Vec takes everything");
}

fn has_nil(children: &[(String, Content)]) -> bool {
    children.iter().any(|(_, content)| match content {
        Content::Nil => true,
        Content::Text(_) => false,
        Content::Children(children) => has_nil(children),
    })
}

/// Without the characters that no XML document can hold, however they are written.
fn writable(text: &str) -> String {
    text.chars().map(|char| if is_allowed(char) { char } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// XML 1.0, section 2.2.
fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

pub const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// .NET's writers put it before UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A token that is a JWT, and a dozen claims, fit several times.
pub const BYTES: usize = 64 * 1024;
/// The largest model has 19.
pub const ELEMENTS: usize = 256;
/// Models have two levels; what is unknown to us may have more.
pub const DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> Option<String> {
        let root = read(document.as_bytes()).unwrap();
        root.text_of(Some("urn:m"), "A").unwrap().map(|text| text.expose().clone())
    }

    #[test]
    fn what_counts_is_the_namespace_and_not_the_prefix() {
        for document in [
            "<R xmlns='urn:m'><A>x</A></R>",
            "<p:R xmlns:p='urn:m'><p:A>x</p:A></p:R>",
            "<p:R xmlns:p='urn:m'><A xmlns='urn:m'>x</A></p:R>",
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- c --><R xmlns='urn:m'>\n<B><A>y</A></B> <A>x</A></R>\n",
        ] {
            assert!(read(document.as_bytes()).unwrap().is("urn:m", "R"), "{document}");
            assert_eq!(text(document).as_deref(), Some("x"), "{document}");
        }
        for document in ["<R xmlns='urn:m'><A xmlns=''>x</A></R>", "<R xmlns='urn:m' xmlns:p='urn:n'><p:A>x</p:A></R>"]
        {
            assert_eq!(text(document), None, "{document}");
        }
    }

    #[test]
    fn nil_is_as_if_it_were_not_there() {
        let of = |attributes| text(&format!("<R xmlns='urn:m' xmlns:n='{INSTANCE}'><A {attributes}/></R>"));
        assert_eq!(of("n:nil='true'"), None);
        assert_eq!(of("n:nil='1'"), None);
        assert_eq!(of("n:nil='false'").as_deref(), Some(""));
        assert_eq!(of("nil='true'").as_deref(), Some(""), "of no namespace");
    }

    #[test]
    fn text_is_put_together_from_all_its_forms() {
        let document = "<R xmlns='urn:m'><A>a&amp;<![CDATA[<b>]]>&#233;&#xE9;<!-- c -->\r\nd&#13;</A></R>";
        assert_eq!(text(document).as_deref(), Some("a&<b>éé\nd\r"));
    }

    #[test]
    fn what_is_not_one_plain_document_is_refused() {
        let depth = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
        let wide = |children: usize| format!("<a>{}</a>", "<b/>".repeat(children));
        assert!(read(depth(DEPTH).as_bytes()).is_ok());
        assert!(read(wide(ELEMENTS - 1).as_bytes()).is_ok());
        for document in [
            String::new(),
            "  ".into(),
            "x".into(),
            "<a>".into(),
            "<a></b>".into(),
            "</a>".into(),
            "<a/><b/>".into(),
            "<a/>x".into(),
            "&amp;<a/>".into(),
            "<p:a/>".into(),
            "<a p:b='1'/>".into(),
            "<a b='1' b='2'/>".into(),
            "<a>&x;</a>".into(),
            "<a>&#0;</a>".into(),
            "<a>&#1;</a>".into(),
            "<a>\u{1}</a>".into(),
            "<a>&</a>".into(),
            "<!DOCTYPE a><a/>".into(),
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>".into(),
            "<?xml version='1.0' encoding='utf-16'?><a/>".into(),
            "<?xml version='1.1'?><a/>".into(),
            "<a/><?xml version='1.0'?>".into(),
            depth(DEPTH + 1),
            depth(5_000),
            wide(ELEMENTS),
            format!("<a>{}</a>", " ".repeat(BYTES)),
        ] {
            assert_eq!(read(document.as_bytes()).err(), Some(NotXml), "{:.80}", document);
        }
        assert_eq!(read(b"<a>\xff</a>").err(), Some(NotXml));
        assert_eq!(read(b"\xff\xfe<\0a\0/\0>\0").err(), Some(NotXml));
    }

    #[test]
    fn what_stands_twice_or_holds_elements_is_no_text() {
        for document in ["<R xmlns='urn:m'><A/><A/></R>", "<R xmlns='urn:m'><A><B/></A></R>"] {
            assert_eq!(
                read(document.as_bytes()).unwrap().text_of(Some("urn:m"), "A").err(),
                Some(NotText),
                "{document}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let hard = "<&>\"'\r\n\t é \u{1f511} ]]>";
        let document = write("R", Some("urn:m"), [("A", Some(hard)), ("B", None), ("C", Some("\u{1}"))]);
        let root = read(&document).unwrap();
        let text = |name| root.text_of(Some("urn:m"), name).unwrap().map(|text| text.expose().clone());
        assert_eq!(text("A").as_deref(), Some(hard));
        assert_eq!(text("B"), None);
        assert_eq!(text("C").as_deref(), Some("\u{fffd}"));
    }
}
