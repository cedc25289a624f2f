//! Places at which tests end the process by force, to see what a crash there costs. Ordinary builds have none of this.

/// A place on the way of a renewal at an authority outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    BeforeIntent,
    AfterIntent,
    /// The answer has been read and nothing was done with it.
    AfterReceive,
    /// The transaction is durable, and nobody knows yet.
    AfterJournal,
    AfterCommit,
    /// Everything is done, and whoever asked has not heard.
    BeforeAnswer,
}

/// Stops here for ever if the environment says so: `SIDEGATE_CRASH_POINT` names the point, and the file that
/// `SIDEGATE_CRASH_FILE` names is made to tell whoever is to kill the process.
#[cfg(feature = "crash-points")]
pub fn point(point: Point) {
    if std::env::var("SIDEGATE_CRASH_POINT").is_ok_and(|wanted| wanted == format!("{point:?}"))
        && let Ok(file) = std::env::var("SIDEGATE_CRASH_FILE")
        && std::fs::write(file, b"").is_ok()
    {
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_: Point) {}
