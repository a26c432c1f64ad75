//! The requests to one route: counted, timed, and never lost when a client goes away.
//!
//! A route looks up its counters when it first answers with a status, and keeps them; after that, a request costs a few
//! atomic additions. Methods and statuses that are not in the tables here share the label `other`, as do paths beyond a
//! number that no set of templates reaches.

use super::metrics::Families;
use prometheus::{Histogram, IntCounter};
use std::collections::HashMap;
use std::iter;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

/// The requests to one route. Cheap to clone.
#[derive(Clone)]
pub struct RequestMetrics {
    route: Arc<Route>,
}

/// A request that is being worked on. Dropped without `finish`, it counts as one whose client went away.
#[must_use]
pub struct RequestTimer {
    route: Arc<Route>,
    method: usize,
    status: u16,
    started: Instant,
}

/// The routes that were asked for so far.
pub(super) struct Routes {
    families: Arc<Families>,
    routes: RwLock<HashMap<Box<str>, RequestMetrics>>,
}

struct Route {
    families: Arc<Families>,
    path: Box<str>,
    /// One for each method and status, in the order of the tables.
    outcomes: Box<[OnceLock<Outcome>]>,
}

struct Outcome {
    requests: IntCounter,
    duration: Histogram,
}

const METHODS: &[&str] = &["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "other"];

/// In ascending order; what is missing becomes `other`, which stands at the end.
const STATUSES: &[(u16, &str)] = &[
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (428, "428"),
    (429, "429"),
    (CLIENT_CLOSED_REQUEST, "499"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (u16::MAX, "other"),
];

/// Each path is a label; a caller who names raw paths by mistake must not fill the memory.
const MAXIMUM_ROUTES: usize = 256;

/// What proxies log when a client does not wait for its answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl RequestMetrics {
    fn new(families: Arc<Families>, path: &str) -> Self {
        let outcomes = iter::repeat_with(OnceLock::new).take(METHODS.len() * STATUSES.len()).collect();
        Self { route: Arc::new(Route { families, path: path.into(), outcomes }) }
    }

    /// A request has arrived.
    pub fn start(&self, method: impl AsRef<str>) -> RequestTimer {
        self.route.families.requests_in_flight.inc();
        let method = METHODS.iter().position(|known| *known == method.as_ref()).unwrap_or(METHODS.len() - 1);
        RequestTimer { route: Arc::clone(&self.route), method, status: CLIENT_CLOSED_REQUEST, started: Instant::now() }
    }
}

impl RequestTimer {
    /// The request is answered with this status.
    pub fn finish(mut self, status: impl Into<u16>) {
        self.status = status.into();
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let outcome = self.route.outcome(self.method, self.status);
        outcome.requests.inc();
        outcome.duration.observe(self.started.elapsed().as_secs_f64());
        self.route.families.requests_in_flight.dec();
    }
}

impl Routes {
    pub(super) fn new(families: Arc<Families>) -> Self {
        Self { families, routes: RwLock::default() }
    }

    pub(super) fn find(&self, path: &str) -> RequestMetrics {
        if let Some(route) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return route.clone();
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let path = if routes.len() < MAXIMUM_ROUTES { path } else { "other" };
        routes.entry(path.into()).or_insert_with(|| RequestMetrics::new(Arc::clone(&self.families), path)).clone()
    }
}

impl Route {
    fn outcome(&self, method: usize, status: u16) -> &Outcome {
        let status = STATUSES.binary_search_by_key(&status, |(known, _)| *known).unwrap_or(STATUSES.len() - 1);
        self.outcomes[method * STATUSES.len() + status].get_or_init(|| {
            let labels = [METHODS[method], &self.path, STATUSES[status].1];
            Outcome {
                requests: self.families.requests.with_label_values(&labels),
                duration: self.families.request_duration.with_label_values(&labels),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_bounded() {
        let routes = Routes::new(Arc::new(Families::new().unwrap()));
        for number in 0..2 * MAXIMUM_ROUTES {
            let route = routes.find(&number.to_string());
            assert_eq!(&*route.route.path == "other", number >= MAXIMUM_ROUTES);
        }
        assert!(routes.routes.read().unwrap().len() <= MAXIMUM_ROUTES + 1);
    }

    #[test]
    fn the_statuses_are_in_order() {
        assert!(STATUSES.is_sorted_by_key(|(status, _)| *status));
        assert!(STATUSES[..STATUSES.len() - 1].iter().all(|(status, label)| status.to_string() == *label));
    }
}
