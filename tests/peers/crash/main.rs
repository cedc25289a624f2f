//! sidegate with the places at which `tests/run crash` kills it. A binary of its own, so that no build of the ordinary one
//! is ever mistaken for it.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sidegate::cli::main()
}
