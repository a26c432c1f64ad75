//! The binary: reads the command line, runs one subcommand, prints an error once.

use clap::Parser;
use resolvespec::cli::Cli;
use std::process::ExitCode;

/// A request makes many small allocations, which this allocator serves without a lock.
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
