//! The files of a running configuration: looked at now and then, and taken over when they have changed and are good.

use std::{
    future::pending,
    path::{Path, PathBuf},
};

use super::{
    App, Occasion,
    load::{Unusable, load},
};
use crate::{
    config::{Environment, Inputs, Loaded},
    model::{BoxError, UnixTime},
    server::admin::{ReloadSource, Watching},
    telemetry::log::Logging,
};

/// Reads the configuration again: when it is asked to, and when what it was read from has changed.
///
/// A mounted ConfigMap or Secret is swapped whole, but two of them are not, and other tools write one file after the
/// other. So what is read counts only if nothing has changed while it was read, and what is refused is refused only if it
/// is the same at the next beat; until then it is unsettled.
pub struct Watch {
    app: App,
    file: PathBuf,
    environment: Environment,
    logging: Option<Logging>,
    /// What the configuration in force was read from.
    in_force: Inputs,
    /// What the last attempt has read.
    read: Inputs,
    failing: Option<Failing>,
    /// When the files were looked at last.
    looked: UnixTime,
}

/// The last attempt came to nothing.
struct Failing {
    error: String,
    /// It was told, and is not told again.
    told: bool,
}

impl Watch {
    /// `inputs` is what the configuration that `app` runs was read from. The level of the log and its audit file follow
    /// the configuration through `logging`.
    pub fn new(app: App, file: &Path, environment: Environment, inputs: Inputs, logging: Option<Logging>) -> Watch {
        let looked = app.0.time.now();
        let (in_force, read) = (inputs.clone(), inputs);
        let watch = Watch { app, file: file.to_owned(), environment, logging, in_force, read, failing: None, looked };
        watch.show();
        watch
    }

    /// Returns when the files are to be looked at; never if they are not watched.
    pub async fn due(&self) {
        match self.app.gate().config().watch {
            Some(interval) => self.app.0.time.sleep_from(self.looked, interval).await,
            None => pending().await,
        }
    }

    /// Looks at the files, and takes over what has changed. Blocks while it reads and builds.
    pub fn beat(&mut self) {
        let now = self.read.look_again();
        let told = self.failing.as_ref().is_some_and(|failing| failing.told);
        if now == self.read && self.failing.is_none() {
            self.looked = self.app.0.time.now();
            return;
        }
        let before = self.read.clone();
        // What was never taken over nor refused, and is gone again, leaves no trace.
        let outcome = if !told && self.in_force.look_again() == self.in_force {
            self.read = self.in_force.clone();
            Ok(())
        } else {
            self.attempt(ReloadSource::Watch)
        };
        match outcome {
            Ok(()) => self.failing = None,
            Err(error) => {
                if error == RESTLESS || self.read.is_incomplete() {
                    self.app.0.metrics.program.watch_failed();
                }
                let same = before == self.read && self.failing.as_ref().is_some_and(|failing| failing.error == error);
                if same && !told {
                    self.tell(ReloadSource::Watch, &error);
                } else if !same {
                    tracing::debug!(error, "the configuration has changed, and cannot be taken over yet");
                }
                self.failing = Some(Failing { error, told: same });
            }
        }
        self.looked = self.app.0.time.now();
        self.show();
    }

    /// Takes over the files as they are, whether something has changed or not.
    pub fn force(&mut self) {
        self.failing = match self.attempt(ReloadSource::Signal) {
            Ok(()) => None,
            Err(error) => {
                self.tell(ReloadSource::Signal, &error);
                Some(Failing { error, told: true })
            }
        };
        self.looked = self.app.0.time.now();
        self.show();
    }

    fn attempt(&mut self, source: ReloadSource) -> Result<(), String> {
        let loaded = self.load()?;
        let occasion = self.occasion(source);
        self.take(loaded, occasion).map_err(|error| error.to_string())?;
        self.in_force = self.read.clone();
        Ok(())
    }

    /// Nothing has changed since it was read: it belongs together.
    fn load(&mut self) -> Result<Loaded, String> {
        for _ in 0..MOST_LOOKS {
            let loaded = load(&self.file, &self.environment);
            self.read = match &loaded {
                Ok(Loaded { inputs, .. }) | Err(Unusable { inputs, .. }) => inputs.clone(),
            };
            if self.read.look_again() == self.read {
                return loaded.map_err(|unusable| unusable.problems);
            }
        }
        Err(RESTLESS.to_owned())
    }

    fn take(&self, loaded: Loaded, occasion: Occasion) -> Result<(), BoxError> {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let files = occasion.files.join(", ");
        // Also the same audit file is opened anew: whoever rotates logs has moved the old one away.
        let prepared = match &self.logging {
            Some(logging) => Some((logging, Logging::prepare(&loaded.config.log)?)),
            None => None,
        };
        let sections = self.app.reload(loaded.config, occasion)?.join(", ");
        if let Some((logging, prepared)) = prepared {
            logging.apply(prepared);
        }
        tracing::info!(file = %self.file.display(), files, sections, "configuration taken over");
        Ok(())
    }

    fn tell(&self, source: ReloadSource, error: &str) {
        tracing::error!(file = %self.file.display(), error, "the configuration was refused, the old one runs on");
        self.app.refused(error.to_owned(), self.occasion(source));
    }

    fn occasion(&self, source: ReloadSource) -> Occasion {
        let changed = self.read.changed_since(&self.in_force);
        Occasion { source, files: changed.iter().map(|path| path.display().to_string()).collect() }
    }

    /// What `/status` says of the files.
    fn show(&self) {
        let watching = self.app.gate().config().watch.map(|interval| Watching {
            interval_seconds: interval.as_secs(),
            files: self.read.len(),
            unsettled: self.failing.as_ref().filter(|failing| !failing.told).map(|failing| failing.error.clone()),
        });
        self.app.reloads().watch = watching;
    }
}

/// What changes so often while it is read is looked at again at the next beat.
const MOST_LOOKS: usize = 5;
const RESTLESS: &str = "the files change while they are read";
