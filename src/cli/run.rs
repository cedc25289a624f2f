//! `sidegate run`: serve until a signal, reload on another.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

use super::check;
use crate::{
    app::{self, App},
    config::{self, Environment, Loaded},
    model::{BoxError, Time},
    telemetry::log::{self, LogLevel},
};

pub fn run(file: &Path) -> ExitCode {
    app::install_crypto();
    match check::load(file) {
        Ok(loaded) => finish(serve(file, loaded)),
        Err(code) => code,
    }
}

/// 0, or 1 with the reason on standard error.
pub fn finish(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &Path, loaded: Loaded) -> Result<(), BoxError> {
    let level = log::install(&loaded.config.log);
    let app = App::start(loaded.config, Time::default())?;
    let file = PathBuf::from(file);
    until_signalled(&app, || reload(&app, &file, &level));
    Ok(())
}

fn reload(app: &App, file: &Path, level: &LogLevel) {
    let outcome = match config::load(file, &environment()) {
        Ok(loaded) => {
            let log = loaded.config.log;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            app.reload(loaded.config).map(|()| level.set(log.level)).map_err(|error| error.to_string())
        }
        Err(problems) => Err(problems.to_string()),
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
pub fn until_signalled(app: &App, reload: impl Fn()) {
    let ended = app.background().block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // Requests are carried by other threads.
                _ = hang_up.recv() => tokio::task::block_in_place(&reload),
            }
        }
        tracing::info!("draining");
        app.begin_drain();
        tokio::select! {
            summary = app.drained() => return Ok::<_, std::io::Error>(summary),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal: what is left is closed");
        app.abort();
        Ok(app.drained().await)
    });
    match ended {
        Ok(summary) => tracing::info!(finished = summary.finished, cut = summary.cut, "drained"),
        Err(error) => tracing::error!(%error, "signals cannot be received, so the process ends"),
    }
}

pub fn environment() -> Environment {
    Environment::from_os(std::env::vars_os())
}
