//! A hub for tests: over nothing, and followed by nobody.

use super::{Hub, Parts, Settings};
use crate::catalog::test_shop::catalog;
use crate::engine::{Engine, Served};
use crate::event::bus::{MemoryBus, MemorySettings};
use crate::observed::Observed;
use crate::store::Bucket;
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::sync::Arc;

/// A hub that keeps sessions in a bucket.
pub(super) fn hub(sessions: Arc<dyn Bucket>) -> Hub {
    let metrics = Metrics::new().expect("metrics have names of their own");
    let served = Served { catalog: catalog(&[]), databases: HashMap::new() };
    Hub::new(Parts {
        engine: Engine::new(served, Vec::new(), Arc::new(Observed(metrics.clone()))),
        bus: Arc::new(MemoryBus::new(MemorySettings::default())),
        sessions,
        metrics: metrics.live(),
        settings: Settings::default(),
    })
}
