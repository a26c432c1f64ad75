//! `introspect`: a database that exists becomes manifests on standard output.

use crate::catalog::introspect::{self, Scope};
use crate::cli::{Error, IntrospectArgs};
use crate::database::{self, Database, Settings};
use crate::manifest::write;
use std::io::Write;
use url::Url;

/// Prints a DataSource and an Entity for every table and view.
pub async fn introspect(args: IntrospectArgs) -> Result<(), Error> {
    let settings = Settings::new("introspect", &args.url);
    let database = Database::connect(&settings).await.map_err(|error| unreached(&args.url, &error))?;
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

/// Names what of the URL was tried, without its password.
fn unreached(url: &str, error: &database::Error) -> Error {
    let place = Url::parse(url).ok().and_then(|url| {
        let user = if url.username().is_empty() { String::new() } else { format!(" as {}", url.username()) };
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}{port}{}{user}", url.host_str()?, url.path()))
    });
    Error::new(match place {
        Some(place) => format!("{place} can't be opened: {error}; check host, port, database, user and password of the URL"),
        None => format!("the database can't be opened: {error}; check the URL"),
    })
}
