//! `introspect`: a database that exists becomes manifests on standard output.

use crate::catalog::introspect::{self, Scope};
use crate::cli::{Error, IntrospectArgs};
use crate::database::{Database, Settings};
use crate::manifest::write;
use std::io::Write;

/// Prints a DataSource and an Entity for every table and view.
pub async fn introspect(args: IntrospectArgs) -> Result<(), Error> {
    let settings = Settings::new("introspect", &args.url);
    let database = Database::connect(&settings).await?;
    let scope = if args.schemas.is_empty() {
        Scope::Everything
    } else {
        Scope::Schemas { default: false, named: args.schemas.iter().cloned().collect() }
    };
    let facts = introspect::introspect(&database, &scope).await?;
    let name = args.name.as_deref();
    std::io::stdout().lock().write_all(write::manifests(&facts, &args.url, name).as_bytes())?;
    database.close().await;
    Ok(())
}
