//! One lane: a connection that many short statements share, and the task that moves it.
//!
//! Those that arrive together are one statement for the database if they differ in their binds alone: a session begins and
//! ends once for all of them, and answers with one packet. Whoever can't be answered here is sent away, never failed.

use super::batch;
use crate::database::error::Error;
use crate::database::postgres::{AsText, SessionDriver, classify, read_all};
use crate::database::postgres_row::read_row;
use crate::database::rows::{Fetched, Gather, MAX_NUMBERS};
use crate::database::statement::{Bind, Placeholders, RowForm, Statement};
use crate::protocol::RowText;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashlink::LruCache;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::{CancelToken, Client};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long nothing may leave a lane that has statements in it, before they are no short ones.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Statements in one lane at a time; those beyond take a connection of their own.
pub(super) const MOST_WAITING: u32 = 32;

/// Statements of a lane that are out at a time: one that the database works on, and one that it finds when it has. What comes
/// meanwhile leaves as one when either is back, which is less work than as many.
const MOST_OUT: usize = 2;

/// Statements that a lane keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

/// A connection that many statements share.
pub(super) struct Lane {
    asks: mpsc::UnboundedSender<Ask>,
    // Held for a lookup only.
    known: Mutex<LruCache<Box<str>, Arc<Known>>>,
    waiting: AtomicU32,
    /// Whether a statement took longer than one in a lane may.
    stands_still: Arc<AtomicBool>,
    pub(super) cancel: CancelToken,
    pub(super) ending: CancellationToken,
    _ended_with_it: DropGuard,
}

/// A statement that was asked before.
struct Known {
    text: Box<str>,
    placeholders: Placeholders,
    single: OnceCell<tokio_postgres::Statement>,
    // None if it can't be written for many.
    many: OnceCell<Option<tokio_postgres::Statement>>,
}

/// Someone who waits for an answer; `None` sends them away.
struct Ask {
    known: Arc<Known>,
    // The same text can be asked under other names for its columns.
    row: RowForm,
    binds: Vec<Bind>,
    answer: oneshot::Sender<Option<Result<Fetched, Error>>>,
}

impl Lane {
    /// Starts the task of a session.
    pub(super) fn start(client: Client, driver: SessionDriver, tasks: &TaskTracker) -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        let cancel = client.cancel_token();
        let ending = CancellationToken::new();
        let ended = ending.clone();
        let stands_still = Arc::new(AtomicBool::new(false));
        let still = Arc::clone(&stands_still);
        tasks.spawn(async move { ended.run_until_cancelled(drive(client, driver, asked, &still)).await });
        Self {
            asks,
            stands_still,
            known: Mutex::new(LruCache::new(PREPARED_STATEMENTS)),
            waiting: AtomicU32::new(0),
            cancel,
            _ended_with_it: ending.clone().drop_guard(),
            ending,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.asks.is_closed()
    }

    pub(super) fn stands_still(&self) -> bool {
        self.stands_still.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Runs a statement; `None` if it has to be asked elsewhere.
    pub(super) async fn fetch(&self, statement: &Statement) -> Option<Result<Fetched, Error>> {
        let _waiting = Waiting::enter(&self.waiting)?;
        let (answer, answered) = oneshot::channel();
        self.asks
            .send(Ask { known: self.know(statement)?, row: statement.row.clone(), binds: statement.binds.clone(), answer })
            .ok()?;
        answered.await.ok().flatten()
    }

    fn know(&self, statement: &Statement) -> Option<Arc<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(statement.text.as_str()) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(Known {
            text: statement.text.as_str().into(),
            placeholders: statement.short.clone()?,
            single: OnceCell::new(),
            many: OnceCell::new(),
        });
        known.insert(new.text.clone(), Arc::clone(&new));
        Some(new)
    }
}

/// A statement's place in a lane.
struct Waiting<'l>(&'l AtomicU32);

impl<'l> Waiting<'l> {
    fn enter(waiting: &'l AtomicU32) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Moves a lane until its connection ends, or a statement has run for too long. Before statements leave it lets whoever is
/// ready go first, so that theirs leave with them.
///
/// The time is looked at now and then: a timer for each statement costs a system call, since it is earlier than whatever
/// its runtime sleeps for.
async fn drive(client: Client, mut driver: SessionDriver, mut asked: mpsc::UnboundedReceiver<Ask>, stands_still: &AtomicBool) {
    let (client, mut running) = (&client, FuturesUnordered::new());
    let mut gathered = Vec::with_capacity(MOST_WAITING as usize);
    let (mut looks, mut since, mut moved) = (interval(PATIENCE / 4), Instant::now(), true);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            n_asked = asked.recv_many(&mut gathered, MOST_WAITING as usize), if running.len() < MOST_OUT => {
                if n_asked == 0 {
                    return;
                }
                tokio::task::yield_now().await;
                while let Ok(ask) = asked.try_recv() {
                    gathered.push(ask);
                }
                moved |= running.is_empty();
                while let Some(alike) = take_alike(&mut gathered) {
                    running.push(answer(client, alike));
                }
            }
            Some(goes_on) = running.next(), if !running.is_empty() => {
                if !goes_on {
                    return;
                }
                moved = true;
            }
            now = looks.tick(), if !running.is_empty() => {
                if std::mem::take(&mut moved) {
                    since = Instant::now();
                } else if now - since >= PATIENCE {
                    stands_still.store(true, Ordering::Relaxed);
                    return;
                }
            }
            ended = &mut driver => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a lane to PostgreSQL ended");
                }
                return;
            }
        }
    }
}

/// Takes those who ask the same statement.
fn take_alike(asks: &mut Vec<Ask>) -> Option<Vec<Ask>> {
    let known = Arc::clone(&asks.first()?.known);
    if asks.iter().all(|ask| Arc::ptr_eq(&ask.known, &known)) {
        return Some(std::mem::take(asks));
    }
    Some(asks.extract_if(.., |ask| Arc::ptr_eq(&ask.known, &known)).collect())
}

/// Answers those who ask the same statement, each with what its own binds find. Says whether the lane can go on: what it has
/// prepared can't be run any more once a column's type was changed.
async fn answer(client: &Client, mut asks: Vec<Ask>) -> bool {
    if asks.len() > 1 {
        match answer_many(client, &asks).await {
            Ok(Some(found)) => {
                for (ask, found) in asks.into_iter().zip(found) {
                    // Whoever has left does not need it.
                    _ = ask.answer.send(Some(Ok(found)));
                }
                return true;
            }
            Ok(None) => {}
            // One of them may be to blame for it; each is asked again by itself elsewhere.
            Err(error) => {
                tracing::debug!(%error, "short statements failed together");
                return !matches!(error, Error::Unprepared(_));
            }
        }
    }
    for ask in asks.drain(..) {
        let outcome = match answer_one(client, &ask).await {
            Err(Error::Unprepared(_)) => return false,
            Err(Error::Unavailable(_)) => None,
            outcome => Some(outcome),
        };
        _ = ask.answer.send(outcome);
    }
    true
}

async fn answer_one(client: &Client, ask: &Ask) -> Result<Fetched, Error> {
    let prepared = ask.known.single(client).await?;
    let rows = client.query_raw(prepared, ask.binds.iter().map(AsText)).await;
    read_all(pin!(rows.map_err(|error| classify(&error))?), &ask.row, 0).await
}

/// What each finds, in their order; `None` if the statement can't be asked for many.
async fn answer_many(client: &Client, asks: &[Ask]) -> Result<Option<Vec<Fetched>>, Error> {
    let Some(known) = asks.first().map(|ask| &ask.known) else { return Ok(None) };
    let Some(prepared) = known.many(client).await? else { return Ok(None) };
    let columns = (0..prepared.params().len()).map(|place| batch::array(asks.iter().filter_map(|ask| ask.binds.get(place))));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| Error::Statement(error.to_string()))?;
    let rows = client.query_raw(prepared, columns.iter().map(AsText)).await.map_err(|error| classify(&error))?;
    let (mut rows, mut found) = (pin!(rows), Vec::with_capacity(asks.len()));
    found.resize_with(asks.len(), nothing);
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| classify(&error))?;
        let place: i64 = row.try_get(row.len().saturating_sub(1)).map_err(|error| classify(&error))?;
        let place = usize::try_from(place - 1).ok();
        if let Some((ask, found)) = place.and_then(|place| asks.get(place).zip(found.get_mut(place))) {
            let mut gather = Gather::default();
            read_row(&row, &ask.row, 0, &mut gather, &mut found.numbers)?;
            found.rows = gather.take();
        }
    }
    Ok(Some(found))
}

fn nothing() -> Fetched {
    Fetched { rows: RowText { joined: Bytes::new(), count: 0 }, numbers: [None; MAX_NUMBERS], more: None }
}

impl Known {
    async fn single(&self, client: &Client) -> Result<&tokio_postgres::Statement, Error> {
        if let Some(prepared) = self.single.get() {
            return Ok(prepared);
        }
        let prepare = async || client.prepare(&self.text).await.map_err(|error| classify(&error));
        Box::pin(self.single.get_or_try_init(prepare)).await
    }

    async fn many(&self, client: &Client) -> Result<Option<&tokio_postgres::Statement>, Error> {
        if let Some(prepared) = self.many.get() {
            return Ok(prepared.as_ref());
        }
        let prepare = async || {
            let single = self.single(client).await?;
            let Some(text) = batch::text(&self.text, &self.placeholders, single.params()) else { return Ok(None) };
            match client.prepare(&text).await.map_err(|error| classify(&error)) {
                Err(error @ Error::Unavailable(_)) => Err(error),
                Ok(prepared) => Ok(Some(prepared)),
                Err(error) => {
                    tracing::info!(%error, "a short statement can't be asked for many keys at once");
                    Ok(None)
                }
            }
        };
        Ok(Box::pin(self.many.get_or_try_init(prepare)).await?.as_ref())
    }
}
