//! What is said when something panics: the place, and nothing of what it was about.

use std::panic;

/// From here on a panic is told by its place alone: its message may hold what a client sent.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, thread, "panicked");
        } else {
            eprintln!("sidegate: panicked at {place} (thread {thread})");
        }
    }));
}
