//! The command line: what can be asked of the binary, and what it says when it can't.
//!
//! Parses and dispatches; each subcommand is one function of `command`.

use crate::command;
use crate::config::{BrokerArgs, DevArgs, OperatorArgs, PublishArgs, ReleaseArgs, ServeArgs};
use crate::manifest::Problem;
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;

/// A data API over PostgreSQL, MySQL/MariaDB and SQLite.
#[derive(Debug, Parser)]
#[command(name = "resolvespec", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves manifests on loopback, open to everyone on this machine, and reloads them when they change.
    Dev {
        #[command(flatten)]
        args: Box<DevArgs>,
        #[command(flatten)]
        broker: BrokerArgs,
    },
    /// Serves manifests as one replica, with authentication.
    Serve(Box<ServeArgs>),
    /// Prints DataSource and Entity manifests for a database that exists.
    Introspect(IntrospectArgs),
    /// Holds manifests against their live databases and tells every contradiction.
    Check(CheckArgs),
    /// Puts manifests into NATS, for every replica that was started without any.
    Publish(Box<PublishArgs>),
    /// Makes, tells or removes what captures changes: triggers and an outbox, or a publication and a slot.
    Capture(CaptureArgs),
    /// Makes the resources of a Kubernetes cluster the catalog of its replicas.
    Operator(Box<OperatorArgs>),
    /// Lets DataSources be deleted where no operator is there any more; what captures changes stays in their databases.
    Release(ReleaseArgs),
    /// Asks an address, such as http://127.0.0.1:9090/ready, and fails unless the answer is a good one.
    Probe(ProbeArgs),
    /// Prints the CustomResourceDefinitions.
    Crds,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct IntrospectArgs {
    /// The database: postgres://user:password@host/database, mysql://…, or sqlite:path/to/file.db.
    #[arg(env = "RESOLVESPEC_DATABASE_URL", hide_env_values = true)]
    pub url: String,
    /// Only this schema; every schema of the database that the URL names unless given. Can be repeated. On MySQL and MariaDB
    /// a schema is a database, and others than the URL's can be named.
    #[arg(long = "schema", value_name = "NAME")]
    pub schemas: Vec<String>,
    /// The DataSource's name; the database's name unless given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// What to check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Manifest files, or folders with them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// What to do with what captures changes.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CaptureCommand,
}

/// What can be done with what captures changes.
#[derive(Debug, Subcommand)]
pub enum CaptureCommand {
    /// Makes what is missing or out of date for sources that have a capture mode.
    Install(InstallArgs),
    /// Removes every trigger of ours, the outbox, the publication and the slot.
    Remove(RemoveArgs),
    /// Tells for each table whether what captures it is installed, missing or out of date.
    Status(CheckArgs),
}

/// What to install.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Manifest files, or folders with them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Prints the SQL and runs nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to remove.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Manifest files, or folders with them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Prints the SQL and runs nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Loses the changes that were not told yet.
    #[arg(long)]
    pub discard: bool,
}

/// Whom to ask.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The address, over plain HTTP.
    #[arg(value_name = "URL")]
    pub url: String,
    /// How long the whole answer may take.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub timeout_seconds: u64,
}

impl Cli {
    /// Runs the subcommand to its end.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Crds => command::crds(),
            Command::Dev { args, broker } => runtime()?.block_on(command::dev(*args, &broker)),
            Command::Serve(args) => runtime()?.block_on(command::serve(*args)),
            Command::Introspect(args) => runtime()?.block_on(command::introspect(args)),
            Command::Check(args) => runtime()?.block_on(command::check(args)),
            Command::Operator(args) => runtime()?.block_on(command::operator(*args)),
            Command::Release(args) => runtime()?.block_on(command::release(args)),
            Command::Probe(args) => runtime()?.block_on(command::probe(args)),
            Command::Publish(args) => runtime()?.block_on(command::publish(*args)),
            Command::Capture(args) => runtime()?.block_on(command::capture(args)),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::from)
}

/// Why a subcommand failed, in words for whoever typed it.
#[derive(Debug)]
pub enum Error {
    /// What is wrong with the manifests, each with its place.
    Manifests(Vec<Problem>),
    /// Anything else.
    Other(String),
}

impl Error {
    /// An error with a text that says what was wrong and what to do.
    pub fn new(text: impl Into<String>) -> Self {
        Error::Other(text.into())
    }

    /// Prints it to standard error. A reader that is gone is no reason to fail again.
    pub fn print(&self) {
        let mut out = std::io::stderr().lock();
        _ = match self {
            Error::Other(text) => writeln!(out, "error: {text}"),
            Error::Manifests(problems) => {
                let count = problems.len();
                let head = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
                let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
                writeln!(out, "error: {head} in the manifests\n{}", lines.join("\n"))
            }
        };
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Error::Other(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
