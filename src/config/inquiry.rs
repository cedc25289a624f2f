//! How an issuer is asked about tokens that no key of ours judges.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::model::Secret;

/// Questions to one issuer, however they are put.
#[derive(Debug, Clone, PartialEq)]
pub struct Inquiry {
    pub way: Way,
    pub cache_ttl: Duration,
    pub negative_ttl: Duration,
    pub max_concurrent: usize,
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// RFC 7662.
    Introspection(Introspection),
    /// For a server without introspection.
    Probe(Box<Probe>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Introspection {
    pub endpoint: Url,
    pub client_id: String,
    pub client_secret: Secret<String>,
}

/// A request with the token, whose answer is the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub url: Url,
    pub method: Method,
    /// `Authorization` carries `Bearer` and the token, any other header the bare token.
    pub header: HeaderName,
    /// Sent as well; their values are sensitive, and none is called as `header`.
    pub headers: HeaderMap,
    /// Never empty. No status stands in both lists.
    pub accept: Vec<StatusCode>,
    pub refuse: Vec<StatusCode>,
    /// Claim to JSON pointer (RFC 6901).
    pub claims: Vec<(String, String)>,
    /// JSON pointer to the values of which the member must have one; any value if there are none.
    pub require: Vec<(String, Vec<Value>)>,
    /// What holds where the answer has none.
    pub subject: Option<String>,
    pub audiences: Vec<String>,
    pub scopes: Vec<String>,
}

impl Way {
    /// Its word in metrics, logs and the status page.
    pub fn word(&self) -> &'static str {
        match self {
            Way::Introspection(_) => "introspection",
            Way::Probe(_) => "probe",
        }
    }
}
