//! Whether the changes of an entity are captured at all. A subscription to one whose are not would be silent for ever.
//!
//! A table that was found to be captured is not looked for again until another catalog is served.

use crate::catalog::{Capture, Entity, TableName};
use crate::engine::{Current, error::from_database};
use crate::event::capture::{outbox, setup};
use crate::protocol::{Code, Error};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Tables that are known to be captured, with their sources.
#[derive(Default)]
pub(super) struct Captured(Mutex<HashSet<(String, TableName)>>);

impl Captured {
    /// Refuses an entity whose changes nobody sees.
    pub(super) async fn check(&self, current: &Current, entity: &Entity) -> Result<(), Error> {
        let served = current.served();
        let name = entity.full_name();
        if entity.is_view {
            return Err(refuse(format!("{name} is a view, whose changes can't be seen; subscribe to its tables")));
        }
        if served.catalog.capture(&entity.source) == Capture::Off {
            let way = "an operator can set spec.capture.mode of its DataSource";
            return Err(refuse(format!("the changes of {name} are not captured; {way}")));
        }
        let known = (entity.source.clone(), entity.table.clone());
        if self.known().contains(&known) {
            return Ok(());
        }
        let Some(database) = served.databases.get(&entity.source) else { return Err(Error::internal()) };
        let survey = setup::survey(database, &served.catalog, &entity.source).await.map_err(|error| match error {
            setup::Error::Database(error) | setup::Error::Outbox(outbox::Error::Database(error)) => from_database(error, entity),
            unfit @ setup::Error::Unfit(_) => {
                tracing::error!(error = %unfit, source = entity.source, "changes can't be captured in this mode");
                refuse(format!("the changes of {name} can't be captured in the mode of its DataSource; see `resolvespec check`"))
            }
            other => {
                tracing::error!(error = %other, "what captures changes can't be looked at");
                Error::internal()
            }
        })?;
        let installed = |table: &&setup::Table| table.state == setup::State::Installed;
        let source = &entity.source;
        self.known().extend(survey.tables().iter().filter(installed).map(|table| (source.clone(), table.name.clone())));
        if self.known().contains(&known) {
            return Ok(());
        }
        let way = "an operator has to run `resolvespec capture install`";
        Err(refuse(format!("what captures the changes of {name} is not installed, or out of date; {way}")))
    }

    /// Looks anew from now on.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<(String, TableName)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(message: String) -> Error {
    Error::new(Code::NotCaptured, message)
}
