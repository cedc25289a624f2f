//! `sidegate run`: serve until a signal, reload on another and when a file has changed.

use std::{future::pending, path::Path, pin::pin, process::ExitCode};

use super::{check, output};
use crate::{
    app::{self, App, reload::Watch},
    config::{Environment, Loaded},
    model::{BoxError, Time},
    server::{Signal, Signals},
    telemetry::log,
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
    let mut watch = Watch::new(app.clone(), file, environment(), loaded.inputs, Some(logging));
    until_signalled(&app, Some(&mut watch))
}

/// Blocks until SIGTERM or SIGINT and then until the drain is over; a second signal ends everything at once.
///
/// # Errors
/// If signals cannot be received, or the workers end by themselves.
pub fn until_signalled(app: &App, mut watch: Option<&mut Watch>) -> Result<(), BoxError> {
    app.background().block_on(async {
        let mut signals = Signals::listen()?;
        let mut ended = pin!(app.drained());
        loop {
            tokio::select! {
                // Requests are carried by other threads than the one that reads and builds here.
                signal = signals.next() => match (signal, &mut watch) {
                    (Signal::Stop, _) => break,
                    (Signal::Reload, Some(watch)) => tokio::task::block_in_place(|| watch.force()),
                    (Signal::Reload, None) => {}
                },
                watch = due(watch.as_deref_mut()) => tokio::task::block_in_place(|| watch.beat()),
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

/// Returns `watch` when it is to look at the files.
async fn due(watch: Option<&mut Watch>) -> &mut Watch {
    match watch {
        Some(watch) => {
            watch.due().await;
            watch
        }
        None => pending().await,
    }
}

pub fn environment() -> Environment {
    Environment::from_os(std::env::vars_os())
}
