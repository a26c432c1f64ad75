//! `capture`: makes, tells and removes what captures the changes of the manifests' databases.

use crate::catalog::Capture;
use crate::cli::{CaptureArgs, CaptureCommand, Error, InstallArgs, RemoveArgs};
use crate::database::{Database, Dialect};
use crate::engine::Served;
use crate::event::capture::setup::{self, State, Survey};
use crate::load::load;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Runs one of the subcommands.
pub async fn capture(args: CaptureArgs) -> Result<(), Error> {
    match args.command {
        CaptureCommand::Install(args) => install(args).await,
        CaptureCommand::Remove(args) => remove(args).await,
        CaptureCommand::Status(args) => status(&load(&args.paths, &HashMap::new(), false).await.map_err(Error::Manifests)?).await,
    }
}

async fn install(args: InstallArgs) -> Result<(), Error> {
    let served = load(&args.paths, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    for (source, database) in captured(&served) {
        let survey = setup::survey(database, &served.catalog, source).await?;
        let mut out = std::io::stdout().lock();
        for warning in &survey.warnings {
            writeln!(out, "-- warning: {warning}")?;
        }
        if args.dry_run {
            print(&mut out, source, survey.install())?;
            survey.fit()?;
            continue;
        }
        drop(out);
        survey.run(database).await?;
        survey.fit()?;
        let count = survey.tables().len();
        writeln!(std::io::stdout().lock(), "{source}: {count} {} captured", if count == 1 { "table is" } else { "tables are" })?;
    }
    Ok(())
}

/// Makes what is missing in embedded databases, and says so; of others it says what is missing.
pub(super) async fn install_embedded(served: &Served) -> Result<Vec<String>, Error> {
    let mut told = Vec::new();
    for (source, database) in captured(served) {
        let survey = setup::survey(database, &served.catalog, source).await?;
        if survey.install().is_empty() {
            continue;
        }
        if database.dialect() == Dialect::Sqlite {
            survey.run(database).await?;
            let way = if served.catalog.capture(source) == Capture::Api { "as they are written here" } else { "by triggers" };
            told.push(format!("The changes of '{source}' are captured {way}, as its DataSource says."));
        } else {
            let missing = "lacks what captures the changes of some tables, or has it out of date";
            told.push(format!("'{source}' {missing}; run `resolvespec capture install` before anybody subscribes."));
        }
    }
    Ok(told)
}

async fn remove(args: RemoveArgs) -> Result<(), Error> {
    let served = load(&args.paths, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    for (source, database) in sorted(&served) {
        let removal = setup::removal(database).await?;
        let mut out = std::io::stdout().lock();
        for warning in &removal.warnings {
            writeln!(out, "-- warning: {warning}")?;
        }
        if args.dry_run {
            print(&mut out, source, &removal.statements)?;
            continue;
        }
        drop(out);
        if removal.untold > 0 && !args.discard {
            let changes =
                if removal.untold == 1 { "1 change waits".to_owned() } else { format!("{} changes wait", removal.untold) };
            return Err(Error::new(format!(
                "{changes} in '{source}' to be told; let a replica tell them, or lose them with --discard"
            )));
        }
        database.run_all(&removal.statements).await?;
        writeln!(std::io::stdout().lock(), "{source}: nothing is captured")?;
    }
    Ok(())
}

async fn status(served: &Served) -> Result<(), Error> {
    for (source, database) in captured(served) {
        let survey = setup::survey(database, &served.catalog, source).await?;
        write_status(source, &survey)?;
    }
    Ok(())
}

fn write_status(source: &str, survey: &Survey) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    for table in survey.tables() {
        let state = match table.state {
            State::Installed => "installed",
            State::Missing => "missing",
            State::Outdated => "out of date",
            State::Unfit => "not fit",
        };
        writeln!(out, "{state:<12} {} ({source})", table.name)?;
    }
    for warning in &survey.warnings {
        writeln!(out, "warning      {warning}")?;
    }
    Ok(survey.fit()?)
}

fn print(out: &mut impl Write, source: &str, statements: &[String]) -> std::io::Result<()> {
    writeln!(out, "-- {source}")?;
    statements.iter().try_for_each(|statement| writeln!(out, "{statement};"))
}

/// The sources whose changes are captured.
fn captured(served: &Served) -> BTreeMap<&str, &Database> {
    let mut sources = sorted(served);
    sources.retain(|source, _| served.catalog.capture(source) != Capture::Off);
    sources
}

fn sorted(served: &Served) -> BTreeMap<&str, &Database> {
    served.databases.iter().map(|(source, database)| (source.as_str(), database)).collect()
}
