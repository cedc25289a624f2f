//! A log line as JSON: what the library's own formatter writes, with a third of its work. That one writes each piece of a
//! line by itself, and looks at each whether it is UTF-8.

use std::{fmt, io::Write};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Time, level, the fields, target.
pub struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Fields(Vec::with_capacity(512));
        line.0.push(b'{');
        line.put("timestamp", &time);
        line.put("level", event.metadata().level().as_str());
        event.record(&mut line);
        line.put("target", event.metadata().target());
        line.0.extend_from_slice(b"}\n");
        writer.write_str(std::str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// The members of an object, behind its brace.
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let before = self.0.len();
        if before > 1 {
            self.0.push(b',');
        }
        let written = serde_json::to_writer(&mut self.0, name)
            .and_then(|()| self.0.write_all(b":").map_err(serde_json::Error::io))
            .and_then(|()| serde_json::to_writer(&mut self.0, value));
        if written.is_err() {
            // A field that cannot be shown; the others are.
            self.0.truncate(before);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing_subscriber::{Layer, fmt as lines, layer::SubscriberExt, registry::Registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `log` runs, without the time.
    fn written(layer: impl FnOnce(Written) -> Box<dyn Layer<Registry> + Send + Sync>, log: impl FnOnce()) -> String {
        let written = Written::default();
        let subscriber = tracing_subscriber::registry().with(layer(written.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = text.split_inclusive('\n').map(|line| {
            let (time, rest) = line.split_at("{\"timestamp\":\"2026-11-22T18:10:31.123456Z\",".len());
            assert!(time.starts_with("{\"timestamp\":\"20") && time.ends_with("Z\","), "{line}");
            rest.to_owned()
        });
        lines.collect()
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_library(text in ".*", number: u64, signed: i64, flag: bool, float: f64, some: bool) {
            let log = || {
                let maybe = some.then_some(text.as_str());
                tracing::info!(target: "sidegate::audit", maybe, number, signed, flag, float, text, "audit");
                tracing::warn!(error = ?text, shown = %text, optional = maybe.map(tracing::field::display), "{text}");
                tracing::error!(number = some.then_some(number));
            };
            let ours = written(|to| lines::layer().event_format(Line).with_writer(Mutex::new(to)).boxed(), log);
            let theirs = written(
                |to| {
                    let layer = lines::layer().json().flatten_event(true).with_current_span(false);
                    layer.with_span_list(false).with_writer(Mutex::new(to)).boxed()
                },
                log,
            );
            prop_assert_eq!(ours, theirs);
        }
    }
}
