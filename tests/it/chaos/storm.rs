//! The storm itself: who is killed when, and for how long.

use super::world::{Victim, World};
use std::fmt;
use std::time::{Duration, Instant};

/// How often each was killed.
#[derive(Default)]
pub(super) struct Faults {
    replicas: usize,
    nats: usize,
    databases: usize,
    brokers: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, nats, databases, brokers } = self;
        write!(out, "killed: replicas {replicas} times, NATS {nats}, databases {databases}, Mosquitto {brokers}")
    }
}

/// Kills and starts again until the time is over. Who relays is whoever a database lets, so relays die with their replicas
/// and lose their hold with their database.
pub(super) async fn rage(world: &mut World, random: &mut fastrand::Rng, length: Duration) -> Faults {
    let (began, mut faults) = (Instant::now(), Faults::default());
    while began.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(random.u64(500..4000))).await;
        let victim = match random.u8(0..12) {
            0..5 => Victim::Replica(random.usize(0..3)),
            5..7 => Victim::Nats,
            7 | 8 => Victim::Postgres,
            9 | 10 => Victim::Mosquitto,
            _ => Victim::Mariadb,
        };
        match victim {
            Victim::Replica(_) => faults.replicas += 1,
            Victim::Nats => faults.nats += 1,
            Victim::Postgres | Victim::Mariadb => faults.databases += 1,
            Victim::Mosquitto => faults.brokers += 1,
        }
        world.kill(victim);
        tokio::time::sleep(Duration::from_millis(random.u64(50..2500))).await;
        world.restore(victim);
    }
    faults
}
