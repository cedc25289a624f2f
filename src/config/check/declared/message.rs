//! One form of a message: its format, its media types and its body.

use http::HeaderValue;

use super::shape;
use crate::{
    config::{
        check::section::Section,
        declared::{Format, MediaType, Message, Place},
        settings,
    },
    model::GrantType,
};

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Request(GrantType),
    Response,
    Error,
}

/// What every form has.
pub(super) struct Given<'s> {
    form: Option<settings::DeclaredForm>,
    media_types: &'s [String],
    root: Option<&'s String>,
    namespace: Option<&'s String>,
    pub body: &'s settings::Shape,
    pub optional: &'s [String],
    pub ignored: &'s [String],
    pub longest: &'s [(String, u32)],
}

impl<'s> From<&'s settings::DeclaredRequest> for Given<'s> {
    fn from(given: &'s settings::DeclaredRequest) -> Given<'s> {
        Given {
            form: given.form,
            media_types: &given.media_types,
            root: given.root.as_ref(),
            namespace: given.namespace.as_ref(),
            body: &given.body,
            optional: &given.optional,
            ignored: &given.ignored,
            longest: &given.longest.0,
        }
    }
}

impl<'s> From<&'s settings::DeclaredResponse> for Given<'s> {
    fn from(given: &'s settings::DeclaredResponse) -> Given<'s> {
        Given {
            form: given.form,
            media_types: &given.media_types,
            root: given.root.as_ref(),
            namespace: given.namespace.as_ref(),
            body: &given.body,
            optional: &[],
            ignored: &[],
            longest: &[],
        }
    }
}

impl<'s> From<&'s settings::DeclaredError> for Given<'s> {
    fn from(given: &'s settings::DeclaredError) -> Given<'s> {
        Given {
            form: given.form,
            media_types: &given.media_types,
            root: given.root.as_ref(),
            namespace: given.namespace.as_ref(),
            body: &given.body,
            optional: &[],
            ignored: &[],
            longest: &[],
        }
    }
}

pub(super) fn check(given: &Given<'_>, usage: Usage, section: &Section<'_>) -> Option<Message> {
    let format = format(given, usage, section);
    let media_types = match (&format, given.media_types) {
        (Some(Format::Query), []) => Some(Vec::new()),
        (Some(Format::Query), _) => {
            section.key("media_types").problem("a query has no media type", "leave it out");
            None
        }
        (Some(format), []) => media_type(default_type(format), &section.key("media_types")).map(|media| vec![media]),
        (_, given) => super::names::all(given, &section.key("media_types"), |text, section| media_type(text, section)),
    };
    let format = format?;
    let members = shape::check(given, usage, &format, &section.key("body"));
    Some(Message { media_types: media_types?, members: members?, format })
}

fn format(given: &Given<'_>, usage: Usage, section: &Section<'_>) -> Option<Format> {
    let form = given.form.unwrap_or(settings::DeclaredForm::Json);
    if form != settings::DeclaredForm::Xml {
        let (root, namespace) = (given.root.map(|_| "root"), given.namespace.map(|_| "namespace"));
        if let Some(key) = root.or(namespace) {
            section.key(key).problem("only xml has one", "leave it out, or write form: xml");
            return None;
        }
    }
    match form {
        settings::DeclaredForm::Json => Some(Format::Json),
        settings::DeclaredForm::Form => Some(Format::Form),
        settings::DeclaredForm::Query if matches!(usage, Usage::Request(_)) => Some(Format::Query),
        settings::DeclaredForm::Query => {
            section.key("form").problem("an answer has no query", "write json, xml or form");
            None
        }
        settings::DeclaredForm::Xml => {
            let root = section.required("root", given.root, "TokenRequest")?;
            shape::is_element(root, &section.key("root"))
                .then(|| Format::Xml { root: root.clone(), namespace: given.namespace.cloned() })
        }
    }
}

fn default_type(format: &Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Xml { .. } => "application/xml",
        Format::Form | Format::Query => "application/x-www-form-urlencoded",
    }
}

fn media_type(text: &str, section: &Section<'_>) -> Option<MediaType> {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let good = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    let header = HeaderValue::from_str(text.trim()).ok().filter(|_| good && text.is_ascii());
    if header.is_none() {
        section.problem(format!("{} is not a media type", section.shown(text)), "write for example application/json");
    }
    Some(MediaType { essence, header: header? })
}

impl Usage {
    /// Whether `place` can stand in such a message, and what can where it cannot.
    pub fn knows(self, place: &Place) -> Result<(), String> {
        let known: Vec<&Place> = match self {
            Usage::Request(grant) => {
                let (must, may) = Place::of_request(grant);
                must.iter().chain(may).collect()
            }
            Usage::Response if matches!(place, Place::Claim(_)) => return Ok(()),
            Usage::Response => Place::OF_RESPONSE.iter().collect(),
            Usage::Error => Place::OF_ERROR.iter().collect(),
        };
        if known.contains(&place) { Ok(()) } else { Err(self.known()) }
    }

    /// The placeholders of such a message.
    pub fn known(self) -> String {
        let names = |places: &[Place]| places.iter().map(|place| format!("{{{}}}", place.name())).collect::<Vec<_>>();
        let known = match self {
            Usage::Request(grant) => {
                let (must, may) = Place::of_request(grant);
                [names(must), names(may)].concat()
            }
            Usage::Response => [names(&Place::OF_RESPONSE), vec!["{claim:NAME}".to_owned()]].concat(),
            Usage::Error => names(&Place::OF_ERROR),
        };
        format!("known here: {}", known.join(", "))
    }
}
