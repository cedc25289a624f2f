//! How far a move has come: one line that is written over on a terminal, otherwise a line every few seconds.

use std::{
    io::{self, IsTerminal, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    model::BoxError,
    session::moving::{MoveError, Progress, Step},
};

pub struct Teller {
    terminal: bool,
    step: Option<(Step, Instant, u64)>,
    next: Instant,
    /// Something stands on the line of the terminal.
    shown: bool,
}

impl Teller {
    pub fn new() -> Teller {
        Teller { terminal: io::stderr().is_terminal(), step: None, next: Instant::now(), shown: false }
    }

    pub fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        let (_, begun, before) = match self.step {
            Some(known) if known.0 == progress.step => known,
            _ => *self.step.insert((progress.step, now, progress.done)),
        };
        if now < self.next {
            return;
        }
        self.next = now + if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        let line = line(progress, progress.done.saturating_sub(before), begun.elapsed());
        let mut out = io::stderr().lock();
        // Whoever does not read it still has the summary.
        let _ = match self.terminal {
            true => write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush()),
            false => writeln!(out, "{line}"),
        };
        self.shown = self.terminal;
    }

    /// Makes room for what is said next.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

/// What went wrong, with the file where that is it.
pub fn said(file: &Path, error: &MoveError) -> BoxError {
    match error {
        MoveError::File(error) => format!("{}: {error}", file.display()).into(),
        MoveError::Store(_) | MoveError::Refused(_) => error.to_string().into(),
    }
}

/// `moved` in `took`: what was done before this process does not count.
fn line(progress: Progress, moved: u64, took: Duration) -> String {
    let Progress { step, done, of } = progress;
    let step = match step {
        Step::Resuming => "reading what is there",
        Step::Exporting => "exporting",
        Step::Checking => "checking the file",
        Step::Importing => "importing",
    };
    let mut line = format!("{step}: {done} sessions");
    // Tombstones are not counted beforehand: there may be more than was thought.
    if let Some(of) = of.filter(|of| *of > 0 && done <= *of) {
        line += &format!(" of about {of}");
    }
    if took >= SOON && moved > 0 {
        let rate = moved as f64 / took.as_secs_f64();
        line += &format!(", {rate:.0}/s");
        if let Some(left) = of.and_then(|of| of.checked_sub(done)).filter(|left| *left > 0) {
            let left = Duration::from_secs((left as f64 / rate) as u64 + 1);
            line += &format!(", {} left", humantime::format_duration(left));
        }
    }
    line
}

const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(5);
/// Before that, a rate says nothing.
const SOON: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_many_how_fast_and_how_long_yet_as_far_as_that_is_known() {
        let line = |done, of, moved, seconds| {
            super::line(Progress { step: Step::Exporting, done, of }, moved, Duration::from_secs(seconds))
        };
        assert_eq!(line(0, Some(3000), 0, 0), "exporting: 0 sessions of about 3000");
        assert_eq!(line(1500, Some(3000), 1000, 10), "exporting: 1500 sessions of about 3000, 100/s, 16s left");
        assert_eq!(line(3500, Some(3000), 3500, 10), "exporting: 3500 sessions, 350/s");
        assert_eq!(line(7, None, 7, 1), "exporting: 7 sessions, 7/s");
    }
}
