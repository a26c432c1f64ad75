//! Which version of MQTT a replica speaks, whatever happens before its broker can answer.

use super::{Shop, read, until};
use crate::support::mqtt::{Spoken, Station, shared};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use url::Url;

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum Fate {
    Closed,
    /// Answered as a broker of 3.1.1 answers a version that it does not know.
    Refused,
    Passed,
}

/// A door before the broker that all tests share, which notes the versions of MQTT that are spoken there.
struct Door {
    url: String,
    spoken: Arc<Mutex<Vec<u8>>>,
    cut: Arc<Notify>,
}

impl Door {
    /// The first connections have these fates, later ones are passed.
    async fn open(fates: &'static [Fate]) -> Self {
        let behind: Url = shared().parse().expect("a URL");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let mut url = behind.clone();
        url.set_port(Some(listener.local_addr().expect("an address").port())).expect("a URL with a host");
        let (spoken, cut) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::new(Notify::new()));
        let door = Self { url: url.to_string(), spoken: Arc::clone(&spoken), cut: Arc::clone(&cut) };
        let address = format!("{}:{}", behind.host_str().expect("a host"), behind.port().unwrap_or(1883));
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            let mut fates = fates.iter().copied();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 2048];
                let count = stream.read(&mut head).await.unwrap_or(0);
                spoken.lock().expect("no panic").extend(version(&head[..count]));
                match fates.next().unwrap_or(Fate::Passed) {
                    Fate::Closed => {}
                    Fate::Refused => stream.write_all(&[0x20, 2, 0, 1]).await.expect("it listens"),
                    Fate::Passed => {
                        let (address, cut) = (address.clone(), Arc::clone(&cut));
                        tasks.spawn(async move {
                            let mut broker = TcpStream::connect(address).await.expect("the broker is there");
                            broker.write_all(&head[..count]).await.expect("it listens");
                            tokio::select! {
                                _ = copy_bidirectional(&mut stream, &mut broker) => {}
                                () = cut.notified() => {}
                            }
                        });
                    }
                }
            }
        });
        door
    }

    fn spoken(&self) -> Vec<u8> {
        self.spoken.lock().expect("no panic").clone()
    }
}

/// The version in the first packet of a connection.
fn version(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"\0\x04MQTT";
    let place = packet.windows(NAME.len()).position(|window| window == NAME)?;
    packet.get(place + NAME.len()).copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_before_any_answer_changes_no_version() {
    let door = Door::open(&[Fate::Closed]).await;
    let shop = Shop::open(&door.url, |settings| settings).await;
    until("the second connection", async || !shop.is_degraded().await).await;
    assert_eq!(door.spoken(), [5, 5]);
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    assert_eq!(station.ask(&read("1")).await["success"], true);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refused_a_version_is_asked_for_it_again() {
    let door = Door::open(&[Fate::Refused, Fate::Refused, Fate::Refused]).await;
    let shop = Shop::open(&door.url, |settings| settings).await;
    until("a connection of the older version", async || !shop.is_degraded().await).await;
    assert_eq!(door.spoken(), [5, 5, 5, 4]);
    door.cut.notify_waiters();
    until("another connection", async || door.spoken().len() > 4 && !shop.is_degraded().await).await;
    assert_eq!(door.spoken(), [5, 5, 5, 4, 5]);
    shop.close().await;
}
