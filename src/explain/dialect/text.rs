//! The report for people to read.

use std::fmt::{self, Write};

use super::{Report, Verdict};
use crate::explain::text::{Paint, plain, write_steps};

/// Writes `report` as aligned lines, with `colour` (ANSI) or without.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write, report: &Report, colour: bool) -> fmt::Result {
    let paint = Paint { colour };
    let asked = &report.request;
    writeln!(
        out,
        "{} {}, which is `{}` of {}\n",
        plain(&asked.method),
        plain(&asked.path),
        asked.endpoint,
        plain(&asked.dialect)
    )?;
    write_steps(out, &report.steps, &paint)?;
    if let Some(outside) = &report.outside {
        writeln!(out, "\nThe authority outside would hear, in {}: {}.", outside.dialect, plain(&outside.says))?;
        if let Some(sent) = &outside.request {
            writeln!(out, "\n    {} {}", sent.method, plain(&sent.url))?;
            for (name, value) in &sent.headers {
                writeln!(out, "    {name}: {}", plain(value))?;
            }
            writeln!(out, "\n    {}", plain(&sent.body))?;
        }
    }
    writeln!(out, "\nThe client would be answered:\n\n    HTTP {}", report.answer.status)?;
    for (name, value) in &report.answer.headers {
        writeln!(out, "    {name}: {}", plain(value))?;
    }
    writeln!(out, "\n    {}\n", plain(&report.answer.body))?;
    match &report.verdict {
        Verdict::Read => {
            writeln!(out, "{}: whether its secrets are right, only the running process knows.", paint.good("Read"))
        }
        Verdict::Refused { status, code } => writeln!(out, "{}: {status} {code}.", paint.bad("Refused")),
    }
}
