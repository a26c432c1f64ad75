//! The binary: reads the command line, runs one subcommand, prints an error once.

use clap::Parser;
use resolvespec::cli::Cli;
use std::process::ExitCode;

/// A request makes many small allocations, which this allocator serves without a lock. It asks for no huge pages (`no_thp`): with
/// them each thread's first allocations took two megabytes, and `dev` at rest 40 of them where it takes 25.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::FAILURE
        }
    }
}
