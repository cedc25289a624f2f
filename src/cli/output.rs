//! What commands print. `println!` panics when nobody reads on, as in `sidegate schema | head`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::model::BoxError;

/// Writes `text` to standard output.
///
/// # Errors
/// If it cannot be written; see [`finish`].
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// 0, or 1 with the reason on standard error. A reader who has seen enough is no failure.
pub fn finish(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed(error: &BoxError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
