//! Log lines: JSON or text on standard error, through `tracing`; audit lines among them or in a file of their own.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::Registry,
    reload,
    util::SubscriberInitExt,
};

use super::{
    audit,
    line::Line,
    recent::{Keeping, recent},
};
use crate::config::{Audit, Log, LogFormat};

/// The one subscriber of the process; a reload of the configuration changes what it writes.
#[derive(Clone)]
pub struct Logging {
    lines: reload::Handle<Targets, Registry>,
    audit: reload::Handle<Targets, Registry>,
    file: AuditFile,
}

/// Settings of the log that can be applied: what may fail has been done.
pub struct Prepared {
    level: tracing::Level,
    file: Option<File>,
}

impl Logging {
    /// Opens what `log` names.
    ///
    /// # Errors
    /// If the audit file cannot be opened.
    pub fn prepare(log: &Log) -> io::Result<Prepared> {
        let file = match &log.audit {
            Audit::Stderr => None,
            Audit::File(path) => Some(open(path).map_err(|error| {
                io::Error::new(error.kind(), format!("log.audit.file: {}: {error}", path.display()))
            })?),
        };
        Ok(Prepared { level: log.level, file })
    }

    /// Writes by `prepared` from here on.
    pub fn apply(&self, prepared: Prepared) {
        let apart = prepared.file.is_some();
        // An audit line that is written meanwhile may go to both places, never to none: the new one is on before the
        // old one is off. Reloading fails only when the subscriber is gone, that is at the very end of the process.
        if let Some(file) = prepared.file {
            self.file.0.store(Some(Arc::new(file)));
            let _ = self.audit.reload(audit_lines(apart));
        }
        let _ = self.lines.reload(lines(prepared.level, apart));
        if !apart {
            let _ = self.audit.reload(audit_lines(apart));
            self.file.0.store(None);
        }
    }
}

/// Installs the one subscriber of the process.
///
/// # Errors
/// If the audit file cannot be opened.
pub fn install(log: &Log) -> io::Result<Logging> {
    let (subscriber, logging) = subscriber(log, Logging::prepare(log)?);
    if let Err(error) = subscriber.try_init() {
        eprintln!("sidegate: logging was set up before: {error}");
    }
    Ok(logging)
}

fn subscriber(log: &Log, prepared: Prepared) -> (impl Subscriber + Send + Sync + use<>, Logging) {
    let apart = prepared.file.is_some();
    let (lines_filter, lines) = reload::Layer::new(lines(log.level, apart));
    let (audit_filter, audit) = reload::Layer::new(audit_lines(apart));
    let file = AuditFile(Arc::new(ArcSwapOption::from_pointee(prepared.file)));
    let standard: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => json().with_writer(standard_error).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(standard_error).boxed(),
    };
    // Each by a filter of its own: the order in which they stand does not matter. None without one: what only one layer
    // wants to see is made for all, and libraries trace every frame.
    let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![
        standard.with_filter(lines_filter).boxed(),
        json().with_writer(file.clone()).with_filter(audit_filter).boxed(),
        Keeping(recent()).with_filter(Targets::new().with_target("sidegate", LevelFilter::WARN)).boxed(),
    ];
    (tracing_subscriber::registry().with(layers), Logging { lines, audit, file })
}

fn json() -> fmt::Layer<Registry, fmt::format::DefaultFields, Line> {
    fmt::layer().event_format(Line)
}

/// Our own lines at `level`; those of libraries from `warn` on, since at `debug` they may print what we never would.
/// Audit lines at any level, unless they go to a file of their own.
fn lines(level: tracing::Level, audit_apart: bool) -> Targets {
    let libraries = LevelFilter::from_level(level).min(LevelFilter::WARN);
    let audit = if audit_apart { LevelFilter::OFF } else { LevelFilter::INFO };
    Targets::new().with_target("sidegate", level).with_target(audit::TARGET, audit).with_default(libraries)
}

fn audit_lines(apart: bool) -> Targets {
    Targets::new().with_target(audit::TARGET, if apart { LevelFilter::INFO } else { LevelFilter::OFF })
}

/// Appended to, and read by nobody but its owner.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The audit file that is open now. Each line is one write at the end of the file.
#[derive(Clone)]
struct AuditFile(Arc<ArcSwapOption<File>>);

impl<'a> MakeWriter<'a> for AuditFile {
    type Writer = Counted<AuditWriter>;

    fn make_writer(&'a self) -> Counted<AuditWriter> {
        Counted(AuditWriter(self.0.load_full()))
    }
}

struct AuditWriter(Option<Arc<File>>);

impl io::Write for AuditWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(file) => (&**file).write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn standard_error() -> Counted<io::Stderr> {
    Counted(io::stderr())
}

/// Lines that could not be written since the start: the disk is full, or nobody reads any more.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Of the process, as its standard error is.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts the lines that are lost. Each is one `write_all`, which gives up at the first error.
struct Counted<W>(W);

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        let lost = match &written {
            Ok(length) => *length == 0 && !bytes.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        if lost {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::config::AccessLog;

    #[test]
    fn audit_lines_are_written_at_every_level_and_in_one_place() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG] {
            assert!(lines(level, false).would_enable(audit::TARGET, &Level::INFO), "{level}");
            assert!(!lines(level, true).would_enable(audit::TARGET, &Level::INFO), "{level}");
        }
        assert!(audit_lines(true).would_enable(audit::TARGET, &Level::INFO));
        assert!(!audit_lines(true).would_enable("sidegate::access", &Level::INFO));
        assert!(!audit_lines(false).would_enable(audit::TARGET, &Level::INFO));
    }

    #[test]
    fn what_libraries_trace_is_not_even_made() {
        for (level, expected) in [(Level::WARN, LevelFilter::INFO), (Level::INFO, LevelFilter::INFO)] {
            let log = Log { format: LogFormat::Json, level, access: AccessLog::Refused, audit: Audit::Stderr };
            let (subscriber, _logging) = subscriber(&log, Logging::prepare(&log).unwrap());
            assert_eq!(subscriber.max_level_hint(), Some(expected), "at {level}");
        }
    }

    #[test]
    fn lines_of_libraries_are_never_talkative() {
        assert!(!lines(Level::DEBUG, false).would_enable("hyper", &Level::INFO));
        assert!(lines(Level::DEBUG, false).would_enable("sidegate::gate", &Level::DEBUG));
        assert!(!lines(Level::ERROR, false).would_enable("hyper", &Level::WARN));
    }
}
