//! The report for people to read.

use std::fmt::{self, Write};

use super::{Mark, Report, Step, Verdict, verdict::Refused};

/// Writes `report` as aligned lines, with `colour` (ANSI) or without.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write, report: &Report, colour: bool) -> fmt::Result {
    let paint = Paint { colour };
    let asked = &report.request;
    writeln!(out, "{} {} from {}\n", plain(&asked.method), plain(&asked.path), asked.peer)?;
    write_steps(out, &report.steps, &paint)?;
    if let Some(sight) = &report.upstream {
        writeln!(out, "\nThe upstream `{}` ({}) would see, by {}:\n", sight.upstream, sight.address, sight.protocol)?;
        writeln!(out, "    {} {}", plain(&sight.method), plain(&sight.target))?;
        for (name, value) in &sight.headers {
            writeln!(out, "    {name}: {}", plain(value))?;
        }
        writeln!(out, "\nSidegate set {}.", sight.set.join(", "))?;
        if !sight.removed.is_empty() {
            writeln!(out, "It took these from what the client sent:\n")?;
        }
        for header in &sight.removed {
            let instead = if header.replaced { ", and says its own" } else { "" };
            writeln!(out, "    {}: {}{instead}", header.name, header.why)?;
        }
        writeln!(out, "\nIts credential is {}.", plain(&sight.credential))?;
        if let Some(claims) = &sight.internal_jwt {
            writeln!(out, "\nThe internal JWT says:\n")?;
            let width = claims.keys().map(String::len).max().unwrap_or(0);
            for (name, value) in claims {
                writeln!(out, "    {:<width$}  {}", plain(name), plain(&value.to_string()))?;
            }
        }
    }
    if let Some(told) = &report.answer {
        writeln!(out, "\nThe proxy that asks would be told:\n\n    {}", told.status)?;
        for (name, value) in &told.headers {
            writeln!(out, "    {name}: {}", plain(value))?;
        }
        writeln!(out, "\nIt copies {} to its client's request.", told.copied.join(", "))?;
        if !told.removed.is_empty() {
            writeln!(out, "It removes {} from it, which the answer does not have.", told.removed.join(", "))?;
        }
    }
    writeln!(out)?;
    match &report.verdict {
        Verdict::Allowed { route, would_be: None } => {
            writeln!(out, "{}: by route `{route}`; the proxy that asks forwards it.", paint.good("Allowed"))
        }
        Verdict::Allowed { route, would_be: Some(refused) } => {
            writeln!(out, "{}: route `{route}` only observes. If it enforced:", paint.good("Allowed"))?;
            write_refused(out, refused, &paint)
        }
        Verdict::Forwarded { route, would_be: None } => {
            writeln!(out, "{}: by route `{route}`.", paint.good("Forwarded"))
        }
        Verdict::Forwarded { route, would_be: Some(refused) } => {
            writeln!(out, "{}: route `{route}` only observes. If it enforced:", paint.good("Forwarded"))?;
            write_refused(out, refused, &paint)
        }
        Verdict::Answered { what } => writeln!(out, "{}: {what}.", paint.good("Answered by sidegate itself")),
        Verdict::Refused(refused) => write_refused(out, refused, &paint),
    }
}

pub(super) fn write_steps(out: &mut impl Write, steps: &[Step], paint: &Paint) -> fmt::Result {
    for (number, step) in steps.iter().enumerate() {
        write!(out, "{:>2}  {:<11} {} ", number + 1, step.step, paint.mark(step.mark))?;
        writeln!(out, "{}", plain(&step.says))?;
        for detail in &step.details {
            let mark = match detail.mark {
                Some(Mark::Good) => "+ ",
                Some(_) => "- ",
                None => "",
            };
            writeln!(out, "{:25}{mark}{}", "", plain(&detail.says))?;
        }
    }
    Ok(())
}

fn write_refused(out: &mut impl Write, refused: &Refused, paint: &Paint) -> fmt::Result {
    writeln!(out, "{}: {} {} ({})", paint.bad("Refused"), refused.status, refused.code, plain(&refused.cause))?;
    for (name, value) in &refused.headers {
        writeln!(out, "    {name}: {}", plain(value))?;
    }
    Ok(())
}

/// What came with the request or its token must not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] }).collect()
}

pub(super) struct Paint {
    pub colour: bool,
}

impl Paint {
    fn mark(&self, mark: Mark) -> String {
        match mark {
            Mark::Good => self.good("good    "),
            Mark::Skipped => "-       ".to_owned(),
            Mark::Refused => self.bad("REFUSED "),
            Mark::Observed => self.paint("33", "OBSERVED"),
        }
    }

    pub fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
