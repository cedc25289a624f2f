//! Token APIs that are told in the configuration, checked.

mod template;

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use jiff::tz::TimeZone;
use serde_json::Value;

pub use self::template::{Kind, Malformed, Part, Place, Template};
use crate::model::{ErrorCode, GrantType, RefreshForm};

/// A token API.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredDialect {
    pub name: Arc<str>,
    /// At least one; those of one path are told apart by the constants of their requests.
    pub endpoints: Vec<DeclaredEndpoint>,
    /// At least one.
    pub errors: Vec<Message>,
    pub statuses: Vec<(ErrorCode, StatusCode)>,
    pub codes: Vec<(ErrorCode, String)>,
    pub descriptions: Vec<(ErrorCode, String)>,
    pub times: Times,
    /// Of sessions that begin here.
    pub refresh_form: RefreshForm,
    /// Seconds that an access token lives whose answer does not say it.
    pub lifetime: u64,
}

/// Where one grant is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredEndpoint {
    /// One of those that [`Place::of_request`] knows members of.
    pub grant: GrantType,
    pub path: String,
    /// The client proves itself by HTTP Basic.
    pub basic: bool,
    /// At least one.
    pub requests: Vec<Message>,
    /// At least one.
    pub responses: Vec<DeclaredResponse>,
    pub missing: Option<Arc<str>>,
    pub wrong_media_type: Arc<str>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredResponse {
    pub status: StatusCode,
    /// A member for which there is nothing is left out instead of being null.
    pub omits: bool,
    pub message: Message,
}

/// One form of a request, a success or an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub format: Format,
    /// At least one, unless it is a query.
    pub media_types: Vec<MediaType>,
    pub members: Vec<(String, Node)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Json,
    Xml {
        root: String,
        namespace: Option<String>,
    },
    Form,
    /// Only of requests.
    Query,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MediaType {
    /// Without parameters, in lower case.
    pub essence: String,
    pub header: HeaderValue,
}

/// What stands at one place of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Leaf(Leaf),
    Members(Vec<(String, Node)>),
    /// None of them a list.
    List(Vec<Node>),
    /// One for each member of a request that is wrong, or one for the whole; only in errors. It is no list.
    Each(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Its keys from the root on, with dots between them: what errors call it.
    pub name: String,
    pub content: Content,
    pub presence: Presence,
    /// Characters that it may have.
    pub longest: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text, a number, true, false or null.
    Constant(Value),
    /// With at least one placeholder; with exactly one, except in errors.
    Template(Template),
}

/// Whether a request must have a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
    /// Written and never read.
    Ignored,
}

/// How moments are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// A pattern of strftime; `None`: seconds since 1970.
    pub pattern: Option<String>,
    pub zone: TimeZone,
}

/// A place at which endpoints of a declared dialect are served.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredPlace {
    pub dialect: Arc<DeclaredDialect>,
    /// Indexes of its endpoints; at least one.
    pub endpoints: Vec<usize>,
    /// Canonical.
    pub path: String,
    /// The client whose sessions begin here, where requests name none.
    pub client: Option<String>,
}

impl DeclaredDialect {
    /// Whether a request of some endpoint says this; HTTP Basic names a client and proves it.
    pub fn names(&self, place: &Place) -> bool {
        let is_client = matches!(place, Place::ClientId | Place::ClientSecret);
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.basic && is_client || endpoint.requests.iter().any(|request| request.names(place)))
    }

    pub fn status(&self, code: ErrorCode) -> StatusCode {
        let given = self.statuses.iter().find(|(known, _)| *known == code).map(|(_, status)| *status);
        given.unwrap_or(match code {
            ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidGrant
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::UnsupportedTokenType => StatusCode::BAD_REQUEST,
            ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// What the dialect writes for `code`.
    pub fn word(&self, code: ErrorCode) -> &str {
        self.codes.iter().find(|(known, _)| *known == code).map_or(code.as_str(), |(_, word)| word)
    }

    /// The one code that is written `word`; none if several are.
    pub fn code(&self, word: &str) -> Option<ErrorCode> {
        let mut codes = ErrorCode::ALL.into_iter().filter(|code| self.word(*code) == word);
        codes.next().filter(|_| codes.next().is_none())
    }

    pub fn description(&self, code: ErrorCode) -> Option<&str> {
        self.descriptions.iter().find(|(known, _)| *known == code).map(|(_, text)| text.as_str())
    }
}

impl DeclaredPlace {
    pub fn endpoints(&self) -> impl Iterator<Item = &DeclaredEndpoint> {
        self.endpoints.iter().filter_map(|index| self.dialect.endpoints.get(*index))
    }

    /// Whether a session begins here; otherwise one goes on.
    pub fn begins(&self) -> bool {
        self.endpoints().any(|endpoint| endpoint.grant != GrantType::RefreshToken)
    }
}

impl Message {
    /// Everything that is not put together, in its order.
    pub fn leaves(&self) -> Vec<&Leaf> {
        let mut leaves = Vec::new();
        self.members.iter().for_each(|(_, node)| node.collect(&mut leaves));
        leaves
    }

    pub fn names(&self, place: &Place) -> bool {
        self.leaves().iter().any(|leaf| leaf.names(place))
    }
}

impl Node {
    fn collect<'n>(&'n self, leaves: &mut Vec<&'n Leaf>) {
        match self {
            Node::Leaf(leaf) => leaves.push(leaf),
            Node::Members(members) => members.iter().for_each(|(_, node)| node.collect(leaves)),
            Node::List(items) => items.iter().for_each(|node| node.collect(leaves)),
            Node::Each(item) => item.collect(leaves),
        }
    }
}

impl Leaf {
    pub fn names(&self, place: &Place) -> bool {
        matches!(&self.content, Content::Template(template) if template.places().any(|(known, _)| known == place))
    }
}
