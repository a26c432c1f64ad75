//! The door of a port: takes connections while there are seats, and tells the rest to come again.

use crate::protocol::{Code, Error};
use crate::telemetry::ConnectionMetrics;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long taking connections rests when the system has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Clients without a seat that are told so at once; more of them are closed without a word.
const TOLD: usize = 64;
/// How long one of them has for its request and for taking the answer.
const TELLING: Duration = Duration::from_secs(1);

/// Takes connections.
pub struct Door {
    listener: TcpListener,
    seats: Arc<Semaphore>,
    told: Arc<Semaphore>,
    telling: TaskTracker,
    metrics: ConnectionMetrics,
}

/// A connection that has a seat.
pub struct Arrived {
    /// The connection.
    pub stream: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Given back when it is dropped.
    pub seat: OwnedSemaphorePermit,
}

impl Door {
    /// A door with so many seats.
    #[must_use]
    pub fn new(listener: TcpListener, seats: usize, metrics: ConnectionMetrics) -> Self {
        Self {
            listener,
            seats: Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS))),
            told: Arc::new(Semaphore::new(TOLD)),
            telling: TaskTracker::new(),
            metrics,
        }
    }

    /// The next connection.
    pub async fn next(&self) -> Arrived {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match Arc::clone(&self.seats).try_acquire_owned() {
                    Ok(seat) => return Arrived { stream, peer, seat },
                    Err(_) => self.turn_away(stream),
                },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "connections can't be taken");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn turn_away(&self, stream: TcpStream) {
        self.metrics.refused();
        // Dropped, and so closed, where enough others are being told.
        let Ok(permit) = Arc::clone(&self.told).try_acquire_owned() else { return };
        self.telling.spawn(async move {
            if let Ok(Err(error)) = timeout(TELLING, tell(stream)).await {
                tracing::debug!(%error, "a client that was turned away did not listen");
            }
            drop(permit);
        });
    }
}

/// Waits for a request, since clients do not expect to be answered before, and answers it whatever it is.
async fn tell(mut stream: TcpStream) -> io::Result<()> {
    let mut ignored = [0; 4096];
    if stream.read(&mut ignored).await? == 0 {
        return Ok(());
    }
    let message = "this replica has as many connections as it may have; try again";
    let error = serde_json::json!({ "success": false, "error": Error::new(Code::Unavailable, message) }).to_string();
    let length = error.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\r\n{error}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with bytes unread would take the answer away from who has not read it yet.
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
