//! The families of the program and of its configuration.

use prometheus::{Gauge, IntCounter, IntGauge};

use super::{Families, clamp, families::each};
use crate::telemetry::log;

/// Outlives a reload.
pub struct ProgramMetrics {
    reloads: [IntCounter; 2],
    reload_successful: IntGauge,
    reload_success_time: Gauge,
    generation: IntGauge,
    watch_errors: IntCounter,
    workers: IntGauge,
    ready: IntGauge,
    lines_dropped: IntCounter,
}

impl ProgramMetrics {
    pub(super) fn new(family: &Families<'_>) -> ProgramMetrics {
        let build = family.gauges(
            "build_info",
            "The running program: always 1, what it is stands in the labels.",
            &["version", "revision", "rustc", "crypto"],
        );
        build.with_label_values(&[VERSION, REVISION, RUSTC, CRYPTO]).set(1);
        let reloads = family.counters("config_reloads_total", "Reloads of the configuration.", &["result"]);
        ProgramMetrics {
            reloads: each(&reloads, ["failure", "success"]),
            reload_successful: family.gauge(
                "config_last_reload_successful",
                "Whether the last reload was taken over: 1, or 0 if it was refused.",
            ),
            reload_success_time: family.float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken over, in seconds since 1970.",
            ),
            generation: family.gauge(
                "config_generation",
                "The configuration in force: 1 from the start, one more with each reload that was taken over.",
            ),
            watch_errors: family.counter(
                "config_watch_errors_total",
                "Looks at the watched files of the configuration that failed: one could not be read.",
            ),
            workers: family.gauge("workers", "Threads that carry requests."),
            ready: family.gauge("ready", "Whether /readyz says yes: 1, or 0."),
            lines_dropped: family.counter(
                "log_lines_dropped_total",
                "Lines of the log and of the audit stream that could not be written.",
            ),
        }
    }

    /// The start counts as a configuration taken over, but not as a reload; `at` is the wall clock in seconds since 1970.
    pub fn started(&self, at: u64) {
        self.reload_successful.set(1);
        self.reload_success_time.set(at as f64);
    }

    /// Notes the outcome of a reload.
    pub fn reloaded(&self, success: bool, at: u64) {
        self.reloads[usize::from(success)].inc();
        self.reload_successful.set(i64::from(success));
        if success {
            self.reload_success_time.set(at as f64);
        }
    }

    /// The files of the configuration could not be looked at.
    pub fn watch_failed(&self) {
        self.watch_errors.inc();
    }

    /// Called before each scrape.
    pub fn observe(&self, generation: u64, workers: usize, ready: bool) {
        self.generation.set(clamp(generation));
        self.workers.set(clamp(workers as u64));
        self.ready.set(i64::from(ready));
        self.lines_dropped.inc_by(log::dropped().saturating_sub(self.lines_dropped.get()));
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; empty where that was not known.
const REVISION: &str = env!("SIDEGATE_REVISION");
const RUSTC: &str = env!("SIDEGATE_RUSTC");
const CRYPTO: &str = "aws-lc-rs";
