//! Places at which tests end the process by force, to see what a crash there costs. Ordinary builds have none of this.

/// A place on the way of a renewal at an authority outside, and of the refresh of a client that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    BeforeIntent,
    AfterIntent,
    /// The answer has been read and nothing was done with it.
    AfterReceive,
    /// It is durable on this machine, and nobody knows yet: in the journal, or in a store of one file.
    AfterJournal,
    AfterCommit,
    /// Everything is done, and whoever asked has not heard.
    BeforeAnswer,
    /// The client's own refresh token has rotated, and the client has not heard.
    AfterRotation,
}

/// Whoever comes here stays for ever if the environment says so: `SIDEGATE_CRASH_POINT` names the point, and the file that
/// `SIDEGATE_CRASH_FILE` names gets a line from each of them, for whoever is to kill the process.
#[cfg(feature = "crash-points")]
pub async fn point(point: Point) {
    use std::{fs::OpenOptions, io::Write};

    if std::env::var("SIDEGATE_CRASH_POINT").is_ok_and(|wanted| wanted == format!("{point:?}")) {
        if let Some(path) = std::env::var_os("SIDEGATE_CRASH_FILE")
            && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
        {
            // Who waits for it in vain will look here.
            let _ = file.write_all(b"here\n");
        }
        std::future::pending().await
    }
}

#[cfg(not(feature = "crash-points"))]
#[inline]
pub async fn point(_: Point) {}
