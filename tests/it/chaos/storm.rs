//! The storm itself: who is killed when, and for how long.

use super::world::{SOURCES, Victim, World};
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Milliseconds of calm before somebody is killed.
const CALM: Range<u64> = 500..4000;

/// The same while the first of each kind are killed, so that a short storm has the time for all of them.
const FIRST_CALM: Range<u64> = 500..2000;

/// Milliseconds for which somebody is gone.
const GONE: Range<u64> = 50..2500;

/// Who is to be killed.
#[derive(Clone, Copy)]
enum Aim {
    At(Victim),
    /// Whichever replica tells the changes of this source.
    Relay(usize),
}

/// How often each was killed.
#[derive(Default)]
pub(super) struct Faults {
    replicas: usize,
    relays: usize,
    nats: usize,
    postgres: usize,
    mariadb: usize,
    brokers: usize,
}

impl Faults {
    fn note(&mut self, aim: Aim) {
        let count = match aim {
            Aim::Relay(_) => &mut self.relays,
            Aim::At(Victim::Replica(_)) => &mut self.replicas,
            Aim::At(Victim::Nats) => &mut self.nats,
            Aim::At(Victim::Postgres) => &mut self.postgres,
            Aim::At(Victim::Mariadb) => &mut self.mariadb,
            Aim::At(Victim::Mosquitto) => &mut self.brokers,
        };
        *count += 1;
    }

    /// Whether one of each kind was killed.
    pub(super) fn spared_nobody(&self) -> bool {
        let Self { replicas, relays, nats, postgres, mariadb, brokers } = self;
        [replicas, relays, nats, postgres, mariadb, brokers].into_iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, relays, nats, postgres, mariadb, brokers } = self;
        write!(
            out,
            "killed: replicas {replicas} times, and as those with a relay {relays}, NATS {nats}, PostgreSQL {postgres}, MariaDB \
             {mariadb}, Mosquitto {brokers}"
        )
    }
}

/// One of each kind, in any order.
fn one_of_each(random: &mut fastrand::Rng) -> Vec<Aim> {
    let servers = [Victim::Nats, Victim::Postgres, Victim::Mariadb, Victim::Mosquitto].map(Aim::At);
    let mut aims = vec![Aim::At(Victim::Replica(random.usize(0..3))), Aim::Relay(random.usize(0..SOURCES.len()))];
    aims.extend(servers);
    random.shuffle(&mut aims);
    aims
}

fn any(random: &mut fastrand::Rng) -> Aim {
    match random.u8(0..12) {
        0..3 => Aim::At(Victim::Replica(random.usize(0..3))),
        3 | 4 => Aim::Relay(random.usize(0..SOURCES.len())),
        5..7 => Aim::At(Victim::Nats),
        7 | 8 => Aim::At(Victim::Postgres),
        9 | 10 => Aim::At(Victim::Mosquitto),
        _ => Aim::At(Victim::Mariadb),
    }
}

/// Kills and starts again: first one of each kind, and then anybody until the time is over. Who relays is whoever a database
/// lets, so relays die with their replicas, on purpose and by chance, and lose their hold with their database.
pub(super) async fn rage(world: &mut World, random: &mut fastrand::Rng, length: Duration) -> Faults {
    let (began, mut faults) = (Instant::now(), Faults::default());
    let mut first = one_of_each(random).into_iter();
    loop {
        let (aim, calm) = match first.next() {
            Some(aim) => (aim, FIRST_CALM),
            None if began.elapsed() < length => (any(random), CALM),
            None => return faults,
        };
        tokio::time::sleep(Duration::from_millis(random.u64(calm))).await;
        faults.note(aim);
        let victim = match aim {
            Aim::At(victim) => victim,
            Aim::Relay(source) => Victim::Replica(world.relay(source)),
        };
        world.kill(victim);
        tokio::time::sleep(Duration::from_millis(random.u64(GONE))).await;
        world.restore(victim);
    }
}
