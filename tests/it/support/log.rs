//! What this process logs.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// The lines so far, each one a JSON object.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Everything that this process logs, from the first call on.
pub fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let written = Written::default();
        let writer = written.clone();
        let lines = fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
        let sidegate = Targets::new().with_target("sidegate", tracing::Level::TRACE);
        tracing_subscriber::registry().with(lines.with_filter(sidegate)).init();
        written
    })
}
