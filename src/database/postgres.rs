//! PostgreSQL through tokio-postgres: every value goes as text, every row becomes one JSON text.
//!
//! Values in text form let the database read them by its own types; what comes back is read in `postgres_row`.

use super::error::{Error, Violation, names_between};
use super::pool::{Lease, Manage, Pool};
use super::postgres_row::read_row;
use super::postgres_tls;
use super::rows::{Fetched, Gather, MAX_NUMBERS};
use super::settings::Settings;
use super::statement::{Bind, RowForm, Statement};
use crate::protocol::RowText;
use bytes::{BufMut, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use hashlink::LruCache;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{CancelToken, Client, Config, RowStream, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Moves the bytes of a connection outside the pool, and tells what the server sends by itself.
pub(super) type SessionDriver = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

/// Between the first two cancels of a statement, and at most between any two.
const AGAIN: Duration = Duration::from_millis(20);
const AT_LAST: Duration = Duration::from_secs(1);

pub(super) struct Manager {
    config: Config,
    tls: MakeRustlsConnect,
    session: String,
}

/// A session. Its driver moves bytes between client and socket, and is polled by whoever waits for an answer: a task of
/// its own would cost two more wake-ups a statement.
pub(super) struct Connection {
    client: Client,
    driver: Driver,
    prepared: LruCache<Box<str>, tokio_postgres::Statement>,
}

/// The future that moves bytes; it ends with the connection.
struct Driver(Option<BoxFuture<'static, Result<(), tokio_postgres::Error>>>);

impl Driver {
    /// Polls the driver while an operation waits for it.
    async fn drive<T>(&mut self, operation: impl Future<Output = T>) -> T {
        let mut operation = pin!(operation);
        poll_fn(|context| {
            if let Poll::Ready(output) = operation.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if let Some(driver) = &mut self.0
                && let Poll::Ready(ended) = driver.as_mut().poll(context)
            {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a PostgreSQL connection ended");
                }
                self.0 = None;
            }
            // What the driver has just read may be what the operation waits for.
            operation.as_mut().poll(context)
        })
        .await
    }
}

impl Manager {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let (config, tls) = postgres_tls::configure(settings)?;
        let timeout = settings.statement_timeout.as_millis();
        // Just-in-time compilation costs more than it saves on the short statements of an API. What decides how values are
        // written is what triggers and the log have too, whatever the role has been given.
        let session = format!(
            "set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; \
             set extra_float_digits = 1; set jit = off; set statement_timeout = {timeout}"
        );
        Ok(Self { config, tls, session })
    }

    /// Where sessions lead, for those that another library opens.
    pub(super) fn session_settings(&self) -> (&Config, &MakeRustlsConnect) {
        (&self.config, &self.tls)
    }

    /// Opens a connection; its driver has to be polled for anything to happen on it.
    pub(super) async fn open(&self) -> Result<(Client, SessionDriver), Error> {
        self.config.connect(self.tls.clone()).await.map_err(|error| classify(&error))
    }

    /// Sets what every session has.
    pub(super) async fn begin_session(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute(&self.session).await.map_err(|error| classify(&error))
    }

    /// Ends whatever runs on a connection.
    pub(super) fn cancel(&self, token: CancelToken) -> impl Future<Output = ()> + Send + use<> {
        let tls = self.tls.clone();
        async move {
            if let Err(error) = token.cancel_query(tls).await {
                tracing::debug!(%error, "cancelling a statement failed");
            }
        }
    }
}

impl Manage for Manager {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Error> {
        let (client, driver) = self.open().await?;
        let mut driver = Driver(Some(Box::pin(driver)));
        driver.drive(self.begin_session(&client)).await?;
        Ok(Connection { client, driver, prepared: LruCache::new(PREPARED_STATEMENTS) })
    }

    fn is_usable(&self, connection: &Connection) -> bool {
        connection.driver.0.is_some() && !connection.client.is_closed()
    }

    async fn abandon(&self, connection: Connection) {
        let Connection { client, driver, prepared } = connection;
        let token = client.cancel_token();
        drop((prepared, client));
        let Some(mut driver) = driver.0 else { return };
        // The driver takes leave once the statement has ended. A server forgets a cancel that comes before the statement
        // does, so it is told again until then; nobody else ever has this session.
        let mut pause = AGAIN;
        loop {
            let told = async {
                self.cancel(token.clone()).await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                ended = &mut driver => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a PostgreSQL connection that was given up ended");
                    }
                    return;
                }
                () = told => pause = (pause * 2).min(AT_LAST),
            }
        }
    }
}

impl Connection {
    /// The client with what is prepared, and the driver that must be polled beside it.
    fn parts(&mut self) -> (Session<'_>, &mut Driver) {
        (Session { client: &self.client, prepared: &mut self.prepared }, &mut self.driver)
    }
}

/// A client and its prepared statements.
struct Session<'a> {
    client: &'a Client,
    prepared: &'a mut LruCache<Box<str>, tokio_postgres::Statement>,
}

impl Session<'_> {
    async fn prepare(&mut self, text: &str) -> Result<tokio_postgres::Statement, Error> {
        if let Some(statement) = self.prepared.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await.map_err(|error| classify(&error))?;
        self.prepared.insert(text.into(), statement.clone());
        Ok(statement)
    }

    /// Begins to read. What was prepared before a column's type was changed is prepared anew; within a transaction, which has
    /// failed with that, the next one has it.
    async fn start(&mut self, statement: &Statement) -> Result<Pin<Box<RowStream>>, Error> {
        match self.begin(statement).await {
            Err(error @ Error::Unprepared(_)) => {
                self.prepared.remove(statement.text.as_str());
                self.begin(statement).await.map_err(|_| error)
            }
            begun => begun,
        }
    }

    async fn begin(&mut self, statement: &Statement) -> Result<Pin<Box<RowStream>>, Error> {
        let prepared = self.prepare(&statement.text).await?;
        let rows = self.client.query_raw(&prepared, statement.binds.iter().map(AsText)).await;
        rows.map(Box::pin).map_err(|error| classify(&error))
    }
}

/// Runs a statement on a pooled connection.
pub(super) async fn fetch(pool: &Pool<Manager>, statement: &Statement, deadline: Instant) -> Result<Fetched, Error> {
    let mut lease = pool.acquire(deadline).await?;
    lease.begin();
    let (mut session, driver) = lease.parts();
    let first = driver.drive(async {
        let mut rows = session.start(statement).await?;
        let first = read_chunk(&mut rows, &statement.row, statement.numbers).await;
        first.map(|chunk| (rows, chunk))
    });
    let outcome = timeout_at(deadline, first).await.unwrap_or(Err(Error::Deadline));
    let (rows, chunk) = outcome.inspect_err(|error| settle(&mut lease, error))?;
    if chunk.last {
        lease.finish();
        return Ok(Fetched { rows: chunk.rows, numbers: chunk.numbers, more: None });
    }
    let more = stream::try_unfold(Some((lease, rows, statement.row.clone())), move |state| async move {
        let Some((mut lease, mut rows, form)) = state else { return Ok(None) };
        let next = lease.driver.drive(read_chunk(&mut rows, &form, 0));
        let chunk = timeout_at(deadline, next).await.unwrap_or(Err(Error::Deadline))?;
        let next = if chunk.last {
            lease.finish();
            None
        } else {
            Some((lease, rows, form))
        };
        Ok(Some((chunk.rows, next)))
    });
    Ok(Fetched { rows: chunk.rows, numbers: chunk.numbers, more: Some(more.boxed()) })
}

/// Has the database read a statement; it is not kept.
pub(super) async fn prepare(pool: &Pool<Manager>, text: &str, deadline: Instant) -> Result<(), Error> {
    let mut lease = pool.acquire(deadline).await?;
    lease.begin();
    let (session, driver) = lease.parts();
    let prepared = timeout_at(deadline, driver.drive(session.client.prepare(text))).await;
    let outcome = match prepared {
        Ok(prepared) => prepared.map(|_| ()).map_err(|error| classify(&error)),
        Err(_) => Err(Error::Deadline),
    };
    match &outcome {
        Ok(()) => lease.finish(),
        Err(error) => settle(&mut lease, error),
    }
    outcome
}

/// A statement that failed by itself leaves its connection in order; anything else gives the connection up.
fn settle(lease: &mut Lease<Manager>, error: &Error) {
    if !matches!(error, Error::Deadline | Error::Unavailable(_)) {
        lease.finish();
    }
}

/// Runs a statement in a transaction and takes all its rows.
pub(super) async fn fetch_all(lease: &mut Lease<Manager>, statement: &Statement) -> Result<Fetched, Error> {
    let (mut session, driver) = lease.parts();
    let all = async {
        let mut rows = session.start(statement).await?;
        read_all(rows.as_mut(), &statement.row, statement.numbers).await
    };
    driver.drive(all).await
}

/// Takes all rows of a statement.
pub(super) async fn read_all(mut rows: Pin<&mut RowStream>, form: &RowForm, n_numbers: usize) -> Result<Fetched, Error> {
    let mut gather = Gather::default();
    let mut numbers = [None; MAX_NUMBERS];
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| classify(&error))?;
        read_row(&row, form, n_numbers, &mut gather, &mut numbers)?;
    }
    Ok(Fetched { rows: gather.take(), numbers, more: None })
}

/// Runs a statement that answers no rows; says how many it touched.
pub(super) async fn execute(lease: &mut Lease<Manager>, statement: &Statement) -> Result<u64, Error> {
    let (mut session, driver) = lease.parts();
    let run = async {
        let prepared = session.prepare(&statement.text).await?;
        let binds = statement.binds.iter().map(AsText);
        session.client.execute_raw(&prepared, binds).await.map_err(|error| classify(&error))
    };
    driver.drive(run).await
}

/// Runs a text without binds, such as `begin`.
pub(super) async fn batch(lease: &mut Lease<Manager>, text: &str) -> Result<(), Error> {
    let (session, driver) = lease.parts();
    driver.drive(session.client.batch_execute(text)).await.map_err(|error| classify(&error))
}

struct Chunk {
    rows: RowText,
    numbers: [Option<i64>; MAX_NUMBERS],
    last: bool,
}

async fn read_chunk(rows: &mut Pin<Box<RowStream>>, form: &RowForm, n_numbers: usize) -> Result<Chunk, Error> {
    let mut gather = Gather::default();
    let mut numbers = [None; MAX_NUMBERS];
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| classify(&error))?;
        read_row(&row, form, n_numbers, &mut gather, &mut numbers)?;
        if gather.is_full() {
            return Ok(Chunk { rows: gather.take(), numbers, last: false });
        }
    }
    Ok(Chunk { rows: gather.take(), numbers, last: true })
}

/// A value in the text form of whatever type the database expects.
#[derive(Debug)]
pub(super) struct AsText<'a>(pub(super) &'a Bind);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        use std::fmt::Write;
        match self.0 {
            Bind::Null => return Ok(IsNull::Yes),
            // What numbers read as well, by which a column may hold truth values.
            Bind::Bool(truth) => out.put_u8(if *truth { b'1' } else { b'0' }),
            Bind::Integer(number) => write!(out, "{number}")?,
            Bind::Float(number) => write!(out, "{number}")?,
            Bind::Text(text) => out.put_slice(text.as_bytes()),
            Bind::Bytes(bytes) => {
                out.put_slice(b"\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Reads what the database or the connection says.
pub(super) fn classify(error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        let text = full_text(error);
        return if error.is_closed()
            || std::error::Error::source(error).is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>)
        {
            Error::Unavailable(text)
        } else {
            Error::Statement(text)
        };
    };
    let text = db.to_string();
    let columns =
        || db.column().map_or_else(|| names_between(db.detail().unwrap_or_default(), '(', ')'), |name| vec![name.to_owned()]);
    let violation = |kind| Error::violation(kind, db.constraint(), columns(), &text);
    match db.code() {
        &SqlState::UNIQUE_VIOLATION | &SqlState::EXCLUSION_VIOLATION => violation(Violation::Unique),
        &SqlState::FOREIGN_KEY_VIOLATION | &SqlState::RESTRICT_VIOLATION => violation(Violation::ForeignKey),
        &SqlState::NOT_NULL_VIOLATION => violation(Violation::NotNull),
        // The last is what triggers and functions refuse with.
        &SqlState::CHECK_VIOLATION | &SqlState::WITH_CHECK_OPTION_VIOLATION | &SqlState::RAISE_EXCEPTION => {
            // Its detail has the row's values and no names.
            Error::violation(Violation::Check, db.constraint(), Vec::new(), &text)
        }
        &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::LOCK_NOT_AVAILABLE => {
            Error::Serialization(text)
        }
        &SqlState::QUERY_CANCELED => Error::Deadline,
        &SqlState::INSUFFICIENT_PRIVILEGE => Error::Permission(text),
        &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN => Error::Schema(text),
        // The second is a server that has become, or still is, a replica of another.
        &SqlState::TOO_MANY_CONNECTIONS | &SqlState::READ_ONLY_SQL_TRANSACTION => Error::Unavailable(text),
        // Such as a text that is too long for an index.
        &SqlState::PROGRAM_LIMIT_EXCEEDED => Error::Value(text),
        &SqlState::FEATURE_NOT_SUPPORTED if db.routine() == Some("RevalidateCachedQuery") => Error::Unprepared(text),
        // A pattern beside a collation to which different texts are the same.
        &SqlState::FEATURE_NOT_SUPPORTED if db.file() == Some("like.c") => Error::Incomparable(text),
        // Within a function, such as that of a trigger, it is the function's own fault.
        &SqlState::UNDEFINED_FUNCTION | &SqlState::AMBIGUOUS_FUNCTION
            if !matches!(db.position(), Some(ErrorPosition::Internal { .. })) =>
        {
            Error::Incomparable(text)
        }
        code => match code.code().get(..2) {
            Some("22") => Error::Value(text),
            Some("08" | "57") => Error::Unavailable(text),
            Some("28" | "3D") => Error::Configuration(text),
            _ => Error::Statement(format!("{text} ({})", code.code())),
        },
    }
}

fn full_text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", full_text(source)),
        None => error.to_string(),
    }
}
