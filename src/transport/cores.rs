//! One runtime a core: a connection stays on the core that took it, with its database connections beside it.
//!
//! A request that moves between threads costs more in wake-ups than in work. Here the thread that reads a request also
//! speaks with the database and writes the answer. Connections go to the core that has the fewest. What is not a client's
//! connection (capture, watching, the admin port) stays on the runtime of the process.

use super::http::{self, Arrived, Door};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Threads that serve connections. They end when this is dropped.
pub struct Cores {
    cores: Vec<Core>,
    ending: CancellationToken,
}

struct Core {
    hand: mpsc::UnboundedSender<Handed>,
    connections: Arc<AtomicUsize>,
    served: oneshot::Receiver<()>,
}

struct Handed {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    seat: OwnedSemaphorePermit,
    place: Place,
}

/// A connection's place on its core.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cores {
    /// Starts a thread for each core that this process may use. Each serves its connections by `serve` until that ends.
    pub fn start<S, F>(serve: S) -> io::Result<Self>
    where
        S: Fn(Connections) -> F + Clone + Send + 'static,
        F: Future<Output = ()>,
    {
        let ending = CancellationToken::new();
        // Before any thread is started, so that those that did start end if a later one can't.
        let mut started = Self { cores: Vec::new(), ending };
        for place in 0..std::thread::available_parallelism()?.get() {
            let (hand, handed) = mpsc::unbounded_channel();
            let (tell, served) = oneshot::channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (serve, ending) = (serve.clone(), started.ending.clone());
            let run = move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = serve(Connections { handed }) => {}
                        () = ending.cancelled() => return,
                    }
                    // Nobody listens if the process is already on its way out.
                    _ = tell.send(());
                    // Database connections that were opened here are driven here until all is closed.
                    ending.cancelled().await;
                });
            };
            std::thread::Builder::new().name(format!("core-{place}")).spawn(run)?;
            started.cores.push(Core { hand, connections: Arc::default(), served });
        }
        Ok(started)
    }

    /// Takes connections until `closed`, and then waits until every core has served its own.
    pub async fn run(&mut self, door: Door, closed: impl Future<Output = ()>) -> io::Result<()> {
        tokio::select! {
            () = self.take(&door) => {}
            () = closed => {}
        }
        drop(door);
        for core in &mut self.cores {
            (&mut core.served).await.map_err(|_| io::Error::other("a serving thread ended before its time"))?;
        }
        Ok(())
    }

    async fn take(&self, door: &Door) {
        loop {
            self.hand_on(door.next().await);
        }
    }

    fn hand_on(&self, arrived: Arrived) {
        let Some(core) = self.cores.iter().min_by_key(|core| core.connections.load(Ordering::Relaxed)) else { return };
        let Arrived { stream, peer, seat } = arrived;
        match stream.into_std() {
            Ok(stream) => {
                core.connections.fetch_add(1, Ordering::Relaxed);
                // A core that does not take connections any more closes this one by dropping it.
                _ = core.hand.send(Handed { stream, peer, seat, place: Place(Arc::clone(&core.connections)) });
            }
            Err(error) => tracing::debug!(%error, "a connection could not be handed on"),
        }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

/// The connections of one core.
pub struct Connections {
    handed: mpsc::UnboundedReceiver<Handed>,
}

impl http::Connections for Connections {
    async fn next(&mut self) -> (Connection, Peer, OwnedSemaphorePermit) {
        loop {
            let Some(Handed { stream, peer, seat, place }) = self.handed.recv().await else {
                // The end is told in another way.
                return std::future::pending().await;
            };
            match TcpStream::from_std(stream).and_then(|stream| Connection::new(stream, Some(place))) {
                Ok(connection) => return (connection, Peer(peer), seat),
                Err(error) => tracing::debug!(%error, "a connection was lost before it was served"),
            }
        }
    }
}

/// The connections of a port that is served by the runtime of the process.
impl http::Connections for Door {
    async fn next(&mut self) -> (Connection, Peer, OwnedSemaphorePermit) {
        loop {
            let Arrived { stream, peer, seat } = Door::next(self).await;
            match Connection::new(stream, None) {
                Ok(connection) => return (connection, Peer(peer), seat),
                Err(error) => tracing::debug!(%error, "a connection was lost before it was served"),
            }
        }
    }
}

/// A client's connection, counted on its core until it is dropped.
pub struct Connection {
    pub(super) stream: TcpStream,
    _place: Option<Place>,
}

impl Connection {
    fn new(stream: TcpStream, place: Option<Place>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, _place: place })
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);
