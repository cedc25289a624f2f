//! Log lines: JSON or text on standard error, through `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    registry::Registry,
    reload,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// Lets a reload of the configuration change the level.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    pub fn set(&self, level: tracing::Level) {
        // Fails only when the subscriber is gone, that is at the very end of the process.
        let _ = self.0.reload(targets(level));
    }
}

/// Installs the one subscriber of the process.
pub fn install(log: &Log) -> LogLevel {
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed(),
    };
    let installed = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    if let Err(error) = installed {
        eprintln!("sidegate: logging was set up before: {error}");
    }
    LogLevel(handle)
}

/// Our own lines at `level`; those of libraries from `warn` on, since at `debug` they may print what we never would.
fn targets(level: tracing::Level) -> Targets {
    let libraries = LevelFilter::from_level(level).min(LevelFilter::WARN);
    Targets::new().with_target("sidegate", level).with_default(libraries)
}
