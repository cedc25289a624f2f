//! Families as they are registered, and what all of them have in common: they are announced from the start, and series
//! go when the configuration no longer has what they tell of.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Write,
};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, MetricVec, MetricVecBuilder},
    proto::{Metric, MetricFamily},
};

/// The names that a configuration gives, by the label that they are values of. What a label that is not here says comes
/// from a closed set.
#[derive(Debug, Default)]
pub struct Names(Vec<(&'static str, BTreeSet<String>)>);

impl Names {
    pub fn with(mut self, label: &'static str, names: impl IntoIterator<Item = impl Into<String>>) -> Names {
        self.0.push((label, names.into_iter().map(Into::into).collect()));
        self
    }

    /// Whether `name` still is one.
    pub(super) fn know(&self, name: &str) -> bool {
        self.0.iter().any(|(_, names)| names.contains(name))
    }

    fn cover(&self, metric: &Metric) -> bool {
        metric.get_label().iter().all(|pair| {
            let mut labels = self.0.iter();
            labels.find(|(label, _)| *label == pair.name()).is_none_or(|(_, names)| names.contains(pair.value()))
        })
    }

    /// Only the series that they cover.
    pub(super) fn filter(&self, families: &mut Vec<MetricFamily>) {
        for family in families.iter_mut() {
            family.mut_metric().retain(|metric| self.cover(metric));
        }
        families.retain(|family| !family.get_metric().is_empty());
    }
}

/// A family, whatever its type is.
pub(super) trait Family: Send + Sync {
    fn name(&self) -> String;

    /// Removes the series that `names` do not cover.
    fn retire(&self, names: &Names);

    /// Help and type, for a family that has no series.
    fn announce(&self, prefix: &str, text: &mut String);
}

impl<T: MetricVecBuilder> Family for MetricVec<T> {
    fn name(&self) -> String {
        self.desc().first().map(|desc| desc.fq_name.clone()).unwrap_or_default()
    }

    fn retire(&self, names: &Names) {
        for family in self.collect() {
            for metric in family.get_metric().iter().filter(|metric| !names.cover(metric)) {
                let labels: HashMap<&str, &str> =
                    metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
                // Fails only if it is gone already.
                let _ = self.remove(&labels);
            }
        }
    }

    fn announce(&self, prefix: &str, text: &mut String) {
        for family in self.collect() {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let name = family.name();
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {prefix}{name} {}\n# TYPE {prefix}{name} {kind}", family.help());
        }
    }
}

/// Where families are registered, each once.
pub(super) struct Families<'a> {
    pub registry: &'a Registry,
    pub all: RefCell<Vec<Box<dyn Family>>>,
}

impl Families<'_> {
    fn register<T: MetricVecBuilder + 'static>(&self, family: prometheus::Result<MetricVec<T>>) -> MetricVec<T>
    where
        MetricVec<T>: Collector,
    {
        let family = family.expect("names and labels of a family are constants");
        self.registry.register(Box::new(family.clone())).expect("each family is registered once");
        self.all.borrow_mut().push(Box::new(family.clone()));
        family
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.counters(name, help, &[]).with_label_values(&NO_LABELS)
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.gauges(name, help, &[]).with_label_values(&NO_LABELS)
    }

    pub fn float_gauge(&self, name: &str, help: &str) -> prometheus::Gauge {
        self.float_gauges(name, help, &[]).with_label_values(&NO_LABELS)
    }
}

/// The handles of one label, all its values, there at zero from the start.
pub(super) fn each<const N: usize>(family: &IntCounterVec, values: [&str; N]) -> [IntCounter; N] {
    values.map(|value| family.with_label_values(&[value]))
}

pub(super) fn each_histogram<const N: usize>(family: &HistogramVec, values: [&str; N]) -> [Histogram; N] {
    values.map(|value| family.with_label_values(&[value]))
}

/// The name that the `index`th of its kind has in a label. A configuration with many does not make the exposition large:
/// those beyond the first [`MOST`] share one.
pub fn bounded(index: usize, name: &str) -> &str {
    if index < MOST { name } else { OTHER }
}

const MOST: usize = 64;
pub(super) const OTHER: &str = "other";
const NO_LABELS: [&str; 0] = [];
