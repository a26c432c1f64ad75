//! The pipeline: one function from a request to its answer.

use super::authorize::{Grant, authorize};
use super::error::from_database;
use super::execute::Runner;
use super::execute::idempotency::purge;
use super::execute::read::{Found, read};
use super::execute::write::write;
use super::guard::{guard_answer, guard_read};
use super::hook::{Context, FAREWELL, Hook, NarrowWrite, Session};
use super::observe::{Observe, Tallies};
use super::plan::turn::Turn;
use super::plan::write::plan_write;
use super::plan::{Scope, plan_read};
use crate::auth::Principal;
use crate::catalog::{Catalog, Entity, metadata};
use crate::database::Database;
use crate::protocol::{Code, Error, Operation, Request, Response, Target};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

/// A catalog and the databases that it names, switched as one.
pub struct Served {
    /// The names.
    pub catalog: Catalog,
    /// The databases, by their source's name.
    pub databases: HashMap<String, Database>,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    current: Arc<ArcSwap<Current>>,
    pub(super) switched: watch::Sender<()>,
    pub(super) observe: Arc<dyn Observe>,
    hooks: Arc<[Arc<dyn Hook>]>,
}

/// What is served at a moment, and who is told of its statements.
pub struct Current {
    served: Arc<Served>,
    tallies: Tallies,
}

impl Current {
    /// What is served.
    #[must_use]
    pub fn served(&self) -> &Arc<Served> {
        &self.served
    }

    pub(super) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    fn of(served: Served, observe: &dyn Observe) -> Self {
        Self { tallies: Tallies::of(&served.catalog, observe), served: Arc::new(served) }
    }
}

impl Engine {
    /// An engine over a catalog, with the hooks of whoever embeds it, and with who is told of its statements.
    #[must_use]
    pub fn new(served: Served, hooks: Vec<Arc<dyn Hook>>, observe: Arc<dyn Observe>) -> Self {
        let current = Current::of(served, &*observe);
        let (switched, _) = watch::channel(());
        Self { current: Arc::new(ArcSwap::from_pointee(current)), switched, observe, hooks: hooks.into() }
    }

    /// What is served now; a request keeps what it began with.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(&self.current.load().served)
    }

    /// What is served now, for who needs it longer than for a request.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Serves another catalog from the next request on.
    pub fn switch(&self, served: Served) {
        self.current.store(Arc::new(Current::of(served, &*self.observe)));
        self.switched.send_replace(());
    }

    pub(super) fn hooks(&self) -> &[Arc<dyn Hook>] {
        &self.hooks
    }

    /// Removes idempotency keys whose time is over, now and then, for as long as it is polled.
    pub async fn forget_keys(&self) -> Infallible {
        // Replicas that start together do not purge together.
        let share = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        self.prepare_keys().await;
        loop {
            tokio::time::sleep(self.between_purges().mul_f64(f64::midpoint(1.0, share))).await;
            for (source, database) in &self.served().databases {
                match purge::purge(database).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::debug!(source, removed, "idempotency keys removed"),
                    Err(error) => tracing::warn!(source, %error, "idempotency keys can't be removed; trying again later"),
                }
            }
        }
    }

    /// What is served is not held meanwhile: its databases would keep their connections, with a password that was changed since.
    fn between_purges(&self) -> Duration {
        let served = self.served();
        let lifetimes = served.databases.values().map(|database| database.settings().idempotency_lifetime);
        purge::interval(lifetimes.min().unwrap_or(Duration::MAX))
    }

    /// Has the tables of idempotency keys as this version wants them, where earlier ones have made them.
    async fn prepare_keys(&self) {
        for (source, database) in &self.served().databases {
            if let Err(error) = purge::prepare(database).await {
                tracing::warn!(source, %error, "idempotency keys have no index by their age; trying again later");
            }
        }
    }

    /// Answers a request with what is served now.
    pub async fn handle(&self, principal: &Principal, request: &Request) -> Result<Response, Error> {
        self.handle_in(&self.current(), principal, request).await
    }

    /// Answers a request with what was served a moment ago, for who looks into the same catalog before or after.
    pub async fn handle_in(&self, current: &Current, principal: &Principal, request: &Request) -> Result<Response, Error> {
        let served = &*current.served;
        let entity = resolve(&served.catalog, &request.target)?;
        let context = Context { principal, catalog: &served.catalog, entity, operation: request.operation };
        let (schema, name) = (entity.schema.as_str(), entity.name.as_str());
        let span = tracing::debug_span!("handle", operation = request.operation.as_str(), schema, entity = name);
        let outcome = match authorize(principal, entity, request.operation) {
            Ok(grant) => {
                let method = request.operation.as_str();
                self.caught(method, self.run(current, context, grant, request)).instrument(span).await
            }
            Err(error) => Err(error),
        };
        self.handled(context, outcome.as_ref().err()).await;
        outcome
    }

    /// Tells the hooks how a request ended.
    pub(super) async fn handled(&self, context: Context<'_>, refused: Option<&Error>) {
        for hook in &*self.hooks {
            self.told("after_handle", hook.after_handle(context, refused)).await;
        }
    }

    /// Asks the hooks whether a client that stays may come in, and tells them if it does.
    pub async fn connect(&self, session: Session<'_>) -> Result<(), Error> {
        self.may_connect(session).await?;
        for hook in &*self.hooks {
            self.told("after_connect", hook.after_connect(session)).await;
        }
        Ok(())
    }

    /// Asks the hooks whether a client may come in that is not connected here, so that it is known neither when it comes nor when
    /// it goes.
    pub async fn may_connect(&self, session: Session<'_>) -> Result<(), Error> {
        let ask = async {
            for hook in &*self.hooks {
                hook.before_connect(session).await?;
            }
            Ok::<_, Error>(())
        };
        self.caught("connect", ask).await
    }

    /// Tells the hooks that a client that was let in goes, while its subscriptions are still there.
    pub async fn leaving(&self, session: Session<'_>) {
        let telling = async {
            for hook in &*self.hooks {
                self.told("before_disconnect", hook.before_disconnect(session)).await;
            }
        };
        if tokio::time::timeout(FAREWELL, telling).await.is_err() {
            tracing::warn!(session = %session.id, "a hook holds up a client that goes, and is left");
        }
    }

    /// Tells the hooks that a client that was let in has gone.
    pub async fn disconnect(&self, session: Session<'_>) {
        for hook in &*self.hooks {
            self.told("after_disconnect", hook.after_disconnect(session)).await;
        }
    }

    async fn run<'c>(
        &self,
        current: &'c Current,
        context: Context<'c>,
        grant: Grant<'c>,
        request: &Request,
    ) -> Result<Response, Error> {
        for hook in &*self.hooks {
            hook.before_handle(context).await?;
        }
        let database = database(&current.served, context.entity)?;
        let runner = Runner { database, tallies: &current.tallies };
        let deadline = database.deadline(request.deadline.map(Instant::from_std));
        match request.operation {
            Operation::Meta => Ok(Response::Meta(metadata::describe(context.catalog, context.entity))),
            Operation::Read => self.read(context, grant, runner, deadline, request).await,
            Operation::Create | Operation::Update | Operation::Delete => {
                Box::pin(self.write(context, &grant, runner, deadline, request)).await
            }
        }
    }

    async fn read<'c>(
        &self,
        context: Context<'c>,
        grant: Grant<'c>,
        runner: Runner<'_>,
        deadline: Instant,
        request: &Request,
    ) -> Result<Response, Error> {
        let mut scope = Scope::new(context.catalog, context.principal, context.entity);
        let mut plan = plan_read(&mut scope, grant, &request.selector, &request.options)?;
        guard_read(&self.hooks, context, &mut plan).await?;
        let found = read(runner, &plan, deadline).await.map_err(|error| from_database(error, context.entity))?;
        let (response, rows) = match found {
            Found::Page(page) => {
                let rows = page.rows.count;
                (Response::Page(page), rows)
            }
            Found::Record(record) => (Response::Record(record), 1),
            Found::Nothing => return Err(nothing_found(&request.options, context.entity)),
            Found::NoCursor => {
                return Err(Error::new(
                    Code::CursorError,
                    format!("the cursor's row does not exist in {}", context.entity.full_name()),
                ));
            }
        };
        for hook in &*self.hooks {
            hook.after_read(context, rows).await?;
        }
        Ok(response)
    }

    async fn write<'c>(
        &self,
        context: Context<'c>,
        grant: &Grant<'c>,
        runner: Runner<'c>,
        deadline: Instant,
        request: &Request,
    ) -> Result<Response, Error> {
        let mut scope = Scope::new(context.catalog, context.principal, context.entity);
        let mut plan = plan_write(&mut scope, grant, &request.selector, request.data.as_ref(), &request.options)?;
        let turns = if self.hooks.is_empty() { Vec::new() } else { plan.turns(context.entity) };
        for hook in &*self.hooks {
            for Turn { entity, operation } in turns.iter().copied() {
                let context = Context { entity, operation, ..context };
                let narrow = &mut NarrowWrite { plan: &mut plan, context };
                match operation {
                    Operation::Create => hook.before_create(context, narrow).await?,
                    Operation::Update => hook.before_update(context, narrow).await?,
                    _ => hook.before_delete(context, narrow).await?,
                }
            }
        }
        guard_answer(&self.hooks, context, &mut plan).await?;
        plan.keep_to_readable()?;
        write(runner, &plan, context, &self.hooks, request, deadline).await
    }
}

pub(super) fn resolve<'c>(catalog: &'c Catalog, target: &Target) -> Result<&'c Entity, Error> {
    catalog.find(target).ok_or_else(|| {
        let short = |text: &str| text.chars().take(80).collect::<String>();
        let name = match &target.schema {
            Some(schema) => format!("{}.{}", short(schema), short(&target.entity)),
            None => short(&target.entity),
        };
        Error::new(Code::ModelNotFound, format!("there is no entity '{name}'")).with_detail(name)
    })
}

fn database<'s>(served: &'s Served, entity: &Entity) -> Result<&'s Database, Error> {
    served.databases.get(&entity.source).ok_or_else(|| {
        tracing::error!(source = entity.source, "the catalog names a source that has no database");
        Error::internal()
    })
}

fn nothing_found(options: &crate::protocol::Options, entity: &Entity) -> Error {
    if options.fetch_row_number.is_some() {
        return Error::new(Code::RowNumberError, format!("the row is not among the filtered rows of {}", entity.full_name()));
    }
    Error::new(Code::NotFound, format!("{} has no row with this key", entity.full_name()))
}
