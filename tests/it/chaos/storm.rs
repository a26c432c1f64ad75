//! The storm itself: who is killed when, and for how long.

use super::world::{Victim, World};
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Milliseconds of calm before somebody is killed.
const CALM: Range<u64> = 500..4000;

/// The same while the first of each kind are killed, so that a short storm has the time for all of them.
const FIRST_CALM: Range<u64> = 500..2000;

/// Milliseconds for which somebody is gone.
const GONE: Range<u64> = 50..2500;

/// How often each was killed.
#[derive(Default)]
pub(super) struct Faults {
    replicas: usize,
    nats: usize,
    postgres: usize,
    mariadb: usize,
    brokers: usize,
}

impl Faults {
    fn note(&mut self, victim: Victim) {
        let count = match victim {
            Victim::Replica(_) => &mut self.replicas,
            Victim::Nats => &mut self.nats,
            Victim::Postgres => &mut self.postgres,
            Victim::Mariadb => &mut self.mariadb,
            Victim::Mosquitto => &mut self.brokers,
        };
        *count += 1;
    }

    /// Whether one of each kind was killed.
    pub(super) fn spared_nobody(&self) -> bool {
        let Self { replicas, nats, postgres, mariadb, brokers } = self;
        [replicas, nats, postgres, mariadb, brokers].into_iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, nats, postgres, mariadb, brokers } = self;
        write!(
            out,
            "killed: replicas {replicas} times, NATS {nats}, PostgreSQL {postgres}, MariaDB {mariadb}, Mosquitto {brokers}"
        )
    }
}

/// One of each kind, in any order.
fn one_of_each(random: &mut fastrand::Rng) -> Vec<Victim> {
    let replica = Victim::Replica(random.usize(0..3));
    let mut victims = vec![replica, Victim::Nats, Victim::Postgres, Victim::Mariadb, Victim::Mosquitto];
    random.shuffle(&mut victims);
    victims
}

fn any(random: &mut fastrand::Rng) -> Victim {
    match random.u8(0..12) {
        0..5 => Victim::Replica(random.usize(0..3)),
        5..7 => Victim::Nats,
        7 | 8 => Victim::Postgres,
        9 | 10 => Victim::Mosquitto,
        _ => Victim::Mariadb,
    }
}

/// Kills and starts again: first one of each kind, and then anybody until the time is over. Who relays is whoever a database
/// lets, so relays die with their replicas and lose their hold with their database.
pub(super) async fn rage(world: &mut World, random: &mut fastrand::Rng, length: Duration) -> Faults {
    let (began, mut faults) = (Instant::now(), Faults::default());
    let mut first = one_of_each(random).into_iter();
    loop {
        let (victim, calm) = match first.next() {
            Some(victim) => (victim, FIRST_CALM),
            None if began.elapsed() < length => (any(random), CALM),
            None => return faults,
        };
        tokio::time::sleep(Duration::from_millis(random.u64(calm))).await;
        faults.note(victim);
        world.kill(victim);
        tokio::time::sleep(Duration::from_millis(random.u64(GONE))).await;
        world.restore(victim);
    }
}
