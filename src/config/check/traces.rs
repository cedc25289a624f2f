//! Where spans go.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{files, names, section::Section, urls};
use crate::{
    config::{
        Otlp,
        settings::{self, Pairs},
    },
    model::build,
};

/// Outside, `None` if it is wrong; inside, `None` if it is off.
pub(super) fn check(settings: &settings::Traces, section: &Section<'_>) -> Option<Option<Otlp>> {
    let Some(settings) = &settings.otlp else { return Some(None) };
    let section = section.key("otlp");
    if !cfg!(feature = "otlp") {
        section.problem("this build has no otlp feature", "build it with --features otlp, or leave traces.otlp out");
        return None;
    }
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let headers = headers(&settings.header_files, &section.key("header_files"));
    let url = section.required("url", settings.url.as_ref(), EXAMPLE);
    let url = url.and_then(|text| url_of(text, headers.as_deref(), &section.key("url")));
    let ca_file = match &settings.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    Some(Some(Otlp {
        sample: section.number("sample", settings.sample, 1.0, 0.0..=1.0),
        anyone: settings.follow != Some(settings::Follow::TrustedProxies),
        resource: resource(&settings.resource, &section.key("resource"))?,
        timeout: section.span("timeout", settings.timeout, s(10), ms(10)..=s(60)),
        interval: section.span("interval", settings.interval, s(1), ms(10)..=s(60)),
        queue: section.number("queue", settings.queue, 4096, 1..=1_000_000),
        url: url?,
        headers: headers?,
        ca_file: ca_file?,
    }))
}

fn url_of(text: &str, headers: Option<&[(HeaderName, HeaderValue)]>, section: &Section<'_>) -> Option<Url> {
    if headers.is_some_and(|headers| !headers.is_empty()) {
        // They are keys, mostly.
        return urls::trusted(text, section);
    }
    let url = urls::web(text, section)?;
    if !urls::is_trusted(&url) {
        section.warn("spans can be read on the way: this is not https", "use https where others share the network");
    }
    Some(url)
}

fn headers(files: &Pairs<PathBuf>, section: &Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut whole = true;
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, file) in &files.0 {
        let section = section.key(name.as_str());
        let value = files::secret_text(file, &section).and_then(|text| {
            let mut value = HeaderValue::from_str(text.expose()).ok();
            match &mut value {
                // A key.
                Some(value) => value.set_sensitive(true),
                None => section.problem("the value holds a character that no header may hold", ""),
            }
            value
        });
        let name = names::header(name, &section);
        if name.as_ref().is_some_and(|name| headers.iter().any(|(other, _)| other == name)) {
            section.problem("this header stands here in another spelling, too", "");
            whole = false;
        }
        match name.zip(value) {
            Some(header) => headers.push(header),
            None => whole = false,
        }
    }
    whole.then_some(headers)
}

fn resource(given: &Pairs<String>, section: &Section<'_>) -> Option<Vec<(String, String)>> {
    let mut attributes = given.0.clone();
    for (name, value) in [("service.name", "sidegate"), ("service.version", build::VERSION)] {
        if !attributes.iter().any(|(given, _)| given == name) {
            attributes.push((name.to_owned(), value.to_owned()));
        }
    }
    let empty = attributes.iter().find(|(name, value)| name.is_empty() || value.is_empty());
    if let Some((name, _)) = empty {
        section.key(name.as_str()).problem("empty", "leave it out, or write for example service.name: orders");
        return None;
    }
    Some(attributes)
}

const EXAMPLE: &str = "http://127.0.0.1:4318/v1/traces";
