//! How the program runs.

use std::{num::NonZero, path::Path, thread, time::Duration};

use http::Uri;

use super::{section::Section, urls};
use crate::config::{AccessLog, Audit, Cache, Drain, Log, LogFormat, Refresh, Resource, settings};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

pub(super) fn cache(settings: &settings::Cache, section: &Section<'_>) -> Cache {
    let s = Duration::from_secs;
    Cache {
        max_bytes: section.size("max_bytes", settings.max_bytes, 64 * MIB, MIB..=64 * GIB),
        negative_max_bytes: section.size(
            "negative_max_bytes",
            settings.negative_max_bytes,
            4 * MIB,
            64 * KIB..=64 * GIB,
        ),
        negative_ttl: section.span("negative_ttl", settings.negative_ttl, s(10), s(0)..=s(3600)),
    }
}

pub(super) fn refresh(settings: &settings::Refresh, section: &Section<'_>) -> Refresh {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    Refresh {
        ahead: settings.ahead.map(|ahead| section.span("ahead", Some(ahead), s(60), s(0)..=s(24 * 3600))),
        wait: section.span("wait", settings.wait, s(5), ms(100)..=s(60)),
        accept_expired_for: section.span(
            "accept_expired_for",
            settings.accept_expired_for,
            s(0),
            s(0)..=s(30 * 24 * 3600),
        ),
        extends_idle: settings.extends_idle.unwrap_or(false),
    }
}

pub(super) fn log(settings: &settings::Log, section: &Section<'_>) -> Option<Log> {
    let sample = section.number("sample", settings.sample, 100, 1..=1_000_000);
    let audit = audit(&settings.audit, &section.key("audit"));
    Some(Log {
        format: match settings.format {
            Some(settings::LogFormat::Json) | None => LogFormat::Json,
            Some(settings::LogFormat::Text) => LogFormat::Text,
        },
        level: match settings.level {
            Some(settings::LogLevel::Error) => tracing::Level::ERROR,
            Some(settings::LogLevel::Warn) => tracing::Level::WARN,
            Some(settings::LogLevel::Info) | None => tracing::Level::INFO,
            Some(settings::LogLevel::Debug) => tracing::Level::DEBUG,
        },
        access: match settings.access {
            Some(settings::AccessLog::All) | None => AccessLog::All,
            Some(settings::AccessLog::Sampled) => AccessLog::Sampled(sample),
            Some(settings::AccessLog::Refused) => AccessLog::Refused,
        },
        audit: audit?,
    })
}

fn audit(settings: &settings::Audit, section: &Section<'_>) -> Option<Audit> {
    match (&settings.stderr, &settings.file) {
        (Some(_), Some(_)) => {
            section.problem("stderr and file at once", "leave one out");
            None
        }
        (_, None) => Some(Audit::Stderr),
        (None, Some(file)) => {
            let (section, file) = (section.key("file"), section.resolve(file));
            // A bare name lies in the folder that the process runs in.
            let there = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
            let folder = file.parent().filter(there);
            if file.is_dir() || folder.is_none() {
                let what = if file.is_dir() { "is a folder" } else { "lies in a folder that is not there" };
                section.problem(format!("{} {what}", section.shown(file.display())), "");
                return None;
            }
            Some(Audit::File(file))
        }
    }
}

pub(super) fn resource(settings: &settings::Resource, section: &Section<'_>) -> Option<Resource> {
    let identifier = match &settings.identifier {
        Some(text) => {
            let section = section.key("identifier");
            let uri = urls::trusted(text, &section).and_then(|_| text.parse::<Uri>().ok());
            uri.map(Some)
        }
        None => Some(None),
    };
    let realm = settings.realm.clone().unwrap_or_else(|| "sidegate".into());
    // RFC 9110, section 5.6.4: it is sent between quotes, and nothing in it may need an escape.
    let plain = realm.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
    if !plain {
        let section = section.key("realm");
        section.problem(format!("{} cannot stand between quotes in a header", section.shown(&realm)), "");
        return None;
    }
    Some(Resource { identifier: identifier?, realm })
}

pub(super) fn watch(settings: &settings::Reload, section: &Section<'_>) -> Option<Duration> {
    let s = Duration::from_secs;
    let interval = section.span("interval", settings.interval, s(10), s(1)..=s(3600));
    settings.watch.unwrap_or(true).then_some(interval)
}

pub(super) fn drain(settings: &settings::Drain, section: &Section<'_>) -> Drain {
    let s = Duration::from_secs;
    Drain {
        delay: section.span("delay", settings.delay, s(0), s(0)..=s(600)),
        timeout: section.span("timeout", settings.timeout, s(30), s(0)..=s(3600)),
    }
}

/// 0 or nothing: as many as the process may use, which honours affinity and the cgroup's quota.
pub(super) fn workers(settings: Option<usize>, section: &Section<'_>) -> usize {
    const MOST: usize = 1024;
    match settings {
        None | Some(0) => thread::available_parallelism().map_or(1, NonZero::get),
        Some(workers) if workers > MOST => {
            section.problem(format!("{} is more than {MOST}", section.shown(workers)), "");
            MOST
        }
        Some(workers) => workers,
    }
}
