//! Where spans go, checked.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::NamedFile;

/// A collector of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    pub url: Url,
    /// 0 to 1.
    pub sample: f64,
    /// Whoever asks may decide that its request is recorded, not only trusted proxies.
    pub anyone: bool,
    pub resource: Vec<(String, String)>,
    /// Marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub ca_file: Option<NamedFile>,
    pub timeout: Duration,
    pub interval: Duration,
    /// At least 1.
    pub queue: usize,
}
