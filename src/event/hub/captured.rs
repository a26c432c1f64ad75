//! Whether the changes of an entity are captured at all. A subscription to one whose are not would be silent for ever.
//!
//! Known for one catalog: what was found under another says nothing. A table that was found to be captured is taken for so
//! until somebody looks again. Of those who would ask the same database at the same time one does, and the others have its answer.

use crate::catalog::{Capture, Entity, TableName};
use crate::engine::{Current, error::from_database};
use crate::event::capture::outbox;
use crate::event::capture::setup::{self, State};
use crate::protocol::{Code, Error};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known to be captured, by source.
#[derive(Default)]
pub(super) struct Captured(Mutex<HashMap<String, Arc<Source>>>);

#[derive(Default)]
struct Source {
    /// How far its tables were found to be captured.
    tables: Mutex<HashMap<TableName, State>>,
    /// How many have come to have the database asked.
    come: AtomicU64,
    /// Held by whoever asks it.
    last: tokio::sync::Mutex<Last>,
}

/// What the database was asked last.
#[derive(Default)]
struct Last {
    /// Who came before it was asked; what it said is not too old for them.
    before: u64,
    /// Why it could not be asked, or captures nothing.
    failed: Option<Error>,
}

/// Refuses an entity whose changes nobody is to see under a catalog, whatever its database has.
pub(super) fn allowed(current: &Current, entity: &Entity) -> Result<(), Error> {
    let name = entity.full_name();
    if entity.is_view {
        return Err(refuse(format!("{name} is a view, whose changes can't be seen; subscribe to its tables")));
    }
    if current.served().catalog.capture(&entity.source) == Capture::Off {
        let way = "an operator can set spec.capture.mode of its DataSource";
        return Err(refuse(format!("the changes of {name} are not captured; {way}")));
    }
    Ok(())
}

impl Captured {
    /// Refuses an entity whose changes nobody sees.
    pub(super) async fn check(&self, current: &Current, entity: &Entity) -> Result<(), Error> {
        allowed(current, entity)?;
        let source = self.source(&entity.source);
        if source.has(entity) {
            return Ok(());
        }
        let number = source.come.fetch_add(1, Ordering::SeqCst);
        let mut last = source.last.lock().await;
        if source.has(entity) {
            return Ok(());
        }
        if number >= last.before {
            source.ask(&mut last, current, entity).await;
        }
        match &last.failed {
            Some(error) => Err(error.clone()),
            None => self.refused(entity).map_or(Ok(()), Err),
        }
    }

    /// Looks anew at an entity's source.
    pub(super) async fn look(&self, current: &Current, entity: &Entity) -> Result<(), Error> {
        let source = self.source(&entity.source);
        let mut last = source.last.lock().await;
        source.ask(&mut last, current, entity).await;
        last.failed.clone().map_or(Ok(()), Err)
    }

    /// Why an entity is refused by what was found last; nothing if it is captured.
    pub(super) fn refused(&self, entity: &Entity) -> Option<Error> {
        match self.source(&entity.source).state(entity) {
            State::Installed => None,
            State::Unfit => Some(refuse(UNFIT.to_owned())),
            State::Missing | State::Outdated => {
                let (name, way) = (entity.full_name(), "an operator has to run `resolvespec capture install`");
                Some(refuse(format!("what captures the changes of {name} is not installed, or out of date; {way}")))
            }
        }
    }

    fn source(&self, name: &str) -> Arc<Source> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.get(name) {
            return Arc::clone(known);
        }
        Arc::clone(sources.entry(name.to_owned()).or_default())
    }
}

impl Source {
    fn has(&self, entity: &Entity) -> bool {
        self.state(entity) == State::Installed
    }

    fn state(&self, entity: &Entity) -> State {
        self.tables().get(&entity.table).copied().unwrap_or(State::Missing)
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<TableName, State>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the database, for all who have come by now.
    async fn ask(&self, last: &mut Last, current: &Current, entity: &Entity) {
        let before = self.come.load(Ordering::SeqCst);
        let (served, name) = (current.served(), &entity.source);
        let outcome = match served.databases.get(name) {
            Some(database) => setup::survey(database, &served.catalog, name).await.map_err(|error| failure(error, entity)),
            None => Err(Error::internal()),
        };
        let failed = match outcome {
            Ok(survey) => {
                let found: HashMap<_, _> = survey.tables().iter().map(|table| (table.name.clone(), table.state)).collect();
                let before = std::mem::replace(&mut *self.tables(), found.clone());
                // Once, and not at every look.
                if before != found
                    && let Err(unfit) = survey.fit()
                {
                    tracing::error!(error = %unfit, source = name, "changes of some tables can't be captured in this mode");
                }
                None
            }
            Err(error) => {
                if error.code == Code::NotCaptured {
                    self.tables().clear();
                }
                Some(error)
            }
        };
        *last = Last { before, failed };
    }
}

const UNFIT: &str = "changes can't be captured in the mode of the DataSource; see `resolvespec check`";

/// Others are told of it too, who may not know the entity.
fn failure(error: setup::Error, entity: &Entity) -> Error {
    let source = &entity.source;
    match error {
        setup::Error::Database(error) | setup::Error::Outbox(outbox::Error::Database(error)) => {
            let error = from_database(error, entity);
            let what = "the service's database user may not look at what captures changes";
            if error.code == Code::Forbidden { Error::new(Code::Forbidden, what) } else { error }
        }
        unfit @ setup::Error::Unfit(_) => {
            tracing::error!(error = %unfit, source, "changes can't be captured in this mode");
            refuse(UNFIT.to_owned())
        }
        other => {
            tracing::error!(error = %other, source, "what captures changes can't be looked at");
            Error::internal()
        }
    }
}

fn refuse(message: String) -> Error {
    Error::new(Code::NotCaptured, message)
}
