//! The dialects that are served beside `oauth2`, with their options, checked.

use jiff::tz::TimeZone;

use crate::model::RefreshForm;

/// PascalCase JSON in an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Redex {
    /// Canonical path of the endpoint that takes an API key; `None`: switched off.
    pub token: Option<String>,
    /// Canonical path of the endpoint that takes a refresh token; `None`: switched off.
    pub refresh: Option<String>,
    pub envelope: Envelope,
    pub expires_in: NumberForm,
    /// Of sessions that begin here.
    pub refresh_form: RefreshForm,
}

/// Which revision of the published page the envelope is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    Current,
    Original,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberForm {
    Text,
    Number,
}

/// A .NET Web API that talks JSON and XML.
#[derive(Debug, Clone, PartialEq)]
pub struct Consinco {
    /// Canonical path of the endpoint that takes a password; `None`: switched off.
    pub login: Option<String>,
    /// Canonical path of the endpoint that takes a refresh token; `None`: switched off.
    pub refresh: Option<String>,
    /// The client that its sessions belong to: its requests name none. It is public.
    pub client: String,
    pub json_names: JsonNames,
    /// `ADUser` and `productLine` as well.
    pub extra_members: bool,
    pub issued: Issued,
    /// Of time stamps.
    pub zone: TimeZone,
    /// Member, by its documented name, to the claim that it shows; integers and booleans are all among them.
    pub claims: Vec<(String, String)>,
}

impl Consinco {
    /// The claim that is shown as `member`, if the configuration says one.
    pub fn claim(&self, member: &str) -> Option<&str> {
        self.claims.iter().find(|(known, _)| known == member).map(|(_, claim)| claim.as_str())
    }
}

/// What members of a JSON answer are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonNames {
    Documented,
    BackingFields,
}

/// What `.issued` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// When the user signed in.
    Login,
    /// When this access token was issued.
    Token,
}
