//! `sidegate run`: serve until a signal, reload on another.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
};

use super::{check, output};
use crate::{
    app::{self, App},
    config::{Environment, Loaded},
    model::{BoxError, Time},
    server::{Signal, Signals},
    telemetry::log::{self, Logging},
};

pub fn run(file: &Path) -> ExitCode {
    app::install_crypto();
    match check::load(file) {
        Ok(loaded) => output::finish(serve(file, loaded)),
        Err(code) => code,
    }
}

fn serve(file: &Path, loaded: Loaded) -> Result<(), BoxError> {
    let logging = log::install(&loaded.config.log)?;
    let app = App::start(loaded.config, Time::default())?;
    let file = PathBuf::from(file);
    until_signalled(&app, || reload(&app, &file, &logging))
}

fn reload(app: &App, file: &Path, logging: &Logging) {
    let outcome = match check::read(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            // Also the same audit file is opened anew: whoever rotates logs has moved the old one away.
            let prepared = Logging::prepare(&loaded.config.log).map_err(BoxError::from);
            let reloaded = prepared.and_then(|prepared| app.reload(loaded.config).map(|()| logging.apply(prepared)));
            reloaded.map_err(|error| error.to_string())
        }
        Err(problems) => Err(problems),
    };
    match outcome {
        Ok(()) => tracing::info!(file = %file.display(), "configuration taken over"),
        Err(error) => {
            tracing::error!(file = %file.display(), error, "the configuration was refused, the old one runs on");
            app.reload_failed(error);
        }
    }
}

/// Blocks until SIGTERM or SIGINT and then until the drain is over; a second signal ends everything at once.
///
/// # Errors
/// If signals cannot be received, or the workers end by themselves.
pub fn until_signalled(app: &App, reload: impl Fn()) -> Result<(), BoxError> {
    app.background().block_on(async {
        let mut signals = Signals::listen()?;
        let mut ended = pin!(app.drained());
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => break,
                    // Requests are carried by other threads.
                    Signal::Reload => tokio::task::block_in_place(&reload),
                },
                _ = &mut ended => return Err("the workers ended by themselves".into()),
            }
        }
        tracing::info!("draining");
        app.begin_drain();
        let summary = loop {
            tokio::select! {
                summary = &mut ended => break summary,
                signal = signals.next() => if signal == Signal::Stop {
                    tracing::warn!("a second signal: what is left is closed");
                    app.abort();
                },
            }
        };
        tracing::info!(finished = summary.finished, cut = summary.cut, "drained");
        Ok(())
    })
}

pub fn environment() -> Environment {
    Environment::from_os(std::env::vars_os())
}
