//! The metrics of one process, with a registry of their own.
//!
//! What happens often is counted through a handle that was looked up once: `RequestMetrics` for a route, `QueryMetrics`
//! for an operation on an entity. What happens rarely has a method here.

use super::call::CallMetrics;
use super::capture::CaptureMetrics;
use super::connection::ConnectionMetrics;
use super::durable::DurableMetrics;
use super::family::{Family, families};
use super::live::LiveMetrics;
use super::mqtt::MqttMetrics;
use super::operator::OperatorMetrics;
use super::query::QueryMetrics;
use super::request::{RequestMetrics, RequestTimer, Routes};
use super::session::SessionMetrics;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder};
use std::sync::Arc;

families! {
    /// Requests that were answered, or whose client went away (status 499).
    requests: IntCounterVec = "http_requests_total" { "method", "path", "status" };
    /// Time from the arrival of a request to its answer.
    request_duration: HistogramVec = "http_request_duration_seconds" { "method", "path", "status" };
    /// Requests that are being worked on.
    requests_in_flight: IntGauge = "http_requests_in_flight" {};
    /// HTTP connections that are open, without those that became WebSocket.
    connections_open: IntGauge = "http_connections" {};
    /// HTTP connections that were turned away, since there were as many as there may be.
    connections_refused: IntCounter = "http_connections_refused_total" {};
    /// HTTP connections that were closed since their client was too slow: idle, in the head of a request, or in taking an answer.
    connections_timed_out: IntCounterVec = "http_connections_timed_out_total" { "phase" };
    /// Bytes of the answers' bodies, before any compression.
    response_bytes: IntCounter = "resolvespec_response_bytes_total" {};
    /// Statements on an entity, by what they do and how they ended: ok, error, or cancelled since nobody waited any more.
    queries: IntCounterVec = "db_queries_total" { "operation", "source", "entity", "status" };
    /// Time that a statement took, with waiting for its connection.
    query_duration: HistogramVec = "db_query_duration_seconds" { "operation", "source", "entity" };
    /// Panics that were caught, a fault of a hook or of this program, by what was being done.
    panics: IntCounterVec = "panics_total" { "method" };
    /// Connections to a database: all that are open, and those that are busy.
    connections: IntGaugeVec = "resolvespec_database_connections" { "source", "state" };
    /// Statements and transactions that wait for a connection to a database, since all that there may be are busy.
    connections_awaited: IntGaugeVec = "resolvespec_database_waiting" { "source" };
    /// WebSocket connections that are open.
    sessions: IntGauge = "resolvespec_ws_connections" {};
    /// WebSocket connections that were opened.
    sessions_opened: IntCounter = "resolvespec_ws_connections_opened_total" {};
    /// WebSocket connections that ended, by the code that this side closed with, `client` if the client closed, or `gone`.
    sessions_closed: IntCounterVec = "resolvespec_ws_connections_closed_total" { "code" };
    /// WebSocket connections that were not let in, by the code of the error.
    sessions_refused: IntCounterVec = "resolvespec_ws_connections_refused_total" { "code" };
    /// Messages of WebSocket connections.
    messages: IntCounterVec = "resolvespec_ws_messages_total" { "direction" };
    /// Bytes of WebSocket connections' messages.
    message_bytes: IntCounterVec = "resolvespec_ws_message_bytes_total" { "direction" };
    /// Time from the beginning of work on a WebSocket request to its answer.
    session_request_duration: HistogramVec = "resolvespec_ws_request_duration_seconds" { "operation", "status" };
    /// Whether the connection to an MQTT broker stands.
    mqtt_connected: IntGaugeVec = "resolvespec_mqtt_connected" { "broker" };
    /// Messages from and to an MQTT broker.
    mqtt_messages: IntCounterVec = "resolvespec_mqtt_messages_total" { "broker", "direction" };
    /// Bytes of the payloads of an MQTT broker's messages.
    mqtt_message_bytes: IntCounterVec = "resolvespec_mqtt_message_bytes_total" { "broker", "direction" };
    /// Messages that an MQTT broker has sent again, since they were not acknowledged before.
    mqtt_redelivered: IntCounterVec = "resolvespec_mqtt_redelivered_total" { "broker" };
    /// MQTT messages that were answered and not worked on, by the code of the answer.
    mqtt_refused: IntCounterVec = "resolvespec_mqtt_refused_total" { "broker", "code" };
    /// MQTT requests that wait, are worked on, or whose answer is not acknowledged.
    mqtt_in_flight: IntGaugeVec = "resolvespec_mqtt_in_flight" { "broker" };
    /// Time from the beginning of work on an MQTT request to its answer.
    mqtt_request_duration: HistogramVec = "resolvespec_mqtt_request_duration_seconds" { "operation", "status" };
    /// Calls of gRPC and requests in its streams that are being worked on.
    grpc_in_flight: IntGauge = "resolvespec_grpc_requests_in_flight" {};
    /// Requests in WebSocket connections that are being worked on.
    session_in_flight: IntGauge = "resolvespec_ws_requests_in_flight" {};
    /// Calls of gRPC by method and code; a stream counts when it begins.
    grpc_requests: IntCounterVec = "resolvespec_grpc_requests_total" { "method", "code" };
    /// Time from the arrival of a call of gRPC to its answer, or to the beginning of its stream.
    grpc_request_duration: HistogramVec = "resolvespec_grpc_request_duration_seconds" { "method", "code" };
    /// Streams of gRPC that are open.
    grpc_streams: IntGauge = "resolvespec_grpc_streams" {};
    /// Streams of gRPC that were opened.
    grpc_streams_opened: IntCounter = "resolvespec_grpc_streams_opened_total" {};
    /// Streams of gRPC that ended, by the codes of WebSocket connections.
    grpc_streams_closed: IntCounterVec = "resolvespec_grpc_streams_closed_total" { "code" };
    /// Streams of gRPC that were not let in, by the code of the error.
    grpc_streams_refused: IntCounterVec = "resolvespec_grpc_streams_refused_total" { "code" };
    /// Messages of streams of gRPC.
    grpc_messages: IntCounterVec = "resolvespec_grpc_messages_total" { "direction" };
    /// Bytes of the JSON of messages of streams of gRPC.
    grpc_message_bytes: IntCounterVec = "resolvespec_grpc_message_bytes_total" { "direction" };
    /// Time from the beginning of work on a request in a stream of gRPC to its answer.
    grpc_message_duration: HistogramVec = "resolvespec_grpc_message_duration_seconds" { "operation", "status" };
    /// Parts of an MQTT broker's notifications that this replica tells.
    mqtt_parts: IntGaugeVec = "resolvespec_mqtt_parts" { "broker" };
    /// Durable subscriptions of an MQTT broker's clients.
    mqtt_subscriptions: IntGaugeVec = "resolvespec_mqtt_subscriptions" { "broker" };
    /// Notifications that an MQTT broker has acknowledged.
    mqtt_notifications: IntCounterVec = "resolvespec_mqtt_notifications_total" { "broker" };
    /// Notifications that an MQTT broker has refused. Their subscribers are told to read again.
    mqtt_notifications_refused: IntCounterVec = "resolvespec_mqtt_notifications_refused_total" { "broker" };
    /// Changes between what is told and what an MQTT broker has acknowledged, of a part that this replica tells.
    mqtt_part_lag: IntGaugeVec = "resolvespec_mqtt_part_lag_changes" { "broker", "part" };
    /// Entities that are served.
    catalog_entities: IntGauge = "resolvespec_catalog_entities" {};
    /// Catalogs that were compiled, by whether they are served or were refused for the last good one.
    catalog_reloads: IntCounterVec = "resolvespec_catalog_reloads_total" { "result" };
    /// Generations of the catalog: the one that is published, and the one that is served; 0 is none.
    catalog_generation: IntGaugeVec = "resolvespec_catalog_generation" { "state" };
    /// Whether the connection to NATS stands; not there without NATS.
    nats_connected: IntGaugeVec = "resolvespec_nats_connected" {};
    /// Committed changes that the relay has put on the bus.
    capture_published: IntCounterVec = "events_published_total" { "source", "event_type" };
    /// Times that the relay could not go on, for its database or its bus, and began anew.
    capture_failures: IntCounterVec = "resolvespec_capture_failures_total" { "source" };
    /// Rows of the outbox that could not be read; whoever follows their entity was told to read again.
    capture_unreadable: IntCounterVec = "resolvespec_capture_unreadable_rows_total" { "source" };
    /// Rows that wait in the outbox, counted up to 100,000.
    capture_waiting: IntGaugeVec = "resolvespec_capture_waiting_rows" { "source" };
    /// How long the first of the waiting changes has waited.
    capture_lag: IntGaugeVec = "resolvespec_capture_lag_seconds" { "source" };
    /// Bytes of its log that PostgreSQL keeps for the slot.
    capture_retained: IntGaugeVec = "resolvespec_capture_retained_bytes" { "source" };
    /// Bytes of PostgreSQL's log, by all of its databases, since the last place that was confirmed.
    capture_unconfirmed: IntGaugeVec = "resolvespec_capture_unconfirmed_bytes" { "source" };
    /// Slots that were lost and made anew, with a new epoch each.
    capture_slots_lost: IntCounterVec = "resolvespec_capture_slots_lost_total" { "source" };
    /// Times that the changes which waited in an outbox were too many and were given up.
    capture_outboxes_given_up: IntCounterVec = "resolvespec_capture_outboxes_given_up_total" { "source" };
    /// Turns of the operator over everything, by how they ended.
    operator_turns: IntCounterVec = "resolvespec_operator_reconciles_total" { "result" };
    /// Time that a turn of the operator took.
    operator_turn_duration: HistogramVec = "resolvespec_operator_reconcile_duration_seconds" { "result" };
    /// Statuses that the operator has written.
    operator_writes: IntCounterVec = "resolvespec_operator_status_writes_total" { "kind" };
    /// Resources that the API server asked the webhook about, by kind and by what was said.
    operator_admissions: IntCounterVec = "resolvespec_operator_admission_requests_total" { "kind", "outcome" };
    /// Whether this operator leads; not there in a replica.
    operator_leader: IntGaugeVec = "resolvespec_operator_leader" {};
    /// Subscriptions of connected clients.
    live_subscriptions: IntGauge = "resolvespec_live_subscriptions" {};
    /// Changes that came from the bus.
    live_events: IntCounter = "resolvespec_live_events_total" {};
    /// Filters that a change met, before or after; equal filters count once.
    live_matched: IntCounter = "resolvespec_live_matched_total" {};
    /// Notifications that were put before connections.
    live_notifications: IntCounter = "resolvespec_live_notifications_total" {};
    /// Connections that were closed since they did not take what was told to them.
    live_slow_consumers: IntCounter = "resolvespec_live_slow_consumers_total" {};
    /// Times that every subscriber had to read again, since the bus had lost what came next.
    live_resyncs: IntCounter = "resolvespec_live_resyncs_total" {};
    /// Replays of what the bus kept, each for all who were behind at the time.
    live_replays: IntCounter = "resolvespec_live_replays_total" {};
    /// Time from a change in its database to its notifications.
    live_lag: HistogramVec = "resolvespec_live_lag_seconds" {};
}

/// The metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    families: Arc<Families>,
    routes: Arc<Routes>,
}

impl Metrics {
    /// The name and the help text of every metric, for documents made from this table.
    pub const DESCRIPTIONS: &[(&str, &str)] = Families::DESCRIPTIONS;

    /// All metrics, at zero. It fails only if two of them have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let families = Arc::new(Families::new()?);
        Ok(Self { routes: Arc::new(Routes::new(Arc::clone(&families))), families })
    }

    /// The same metrics, found by a core of its own.
    #[must_use]
    pub fn of_core(&self) -> Self {
        Self { routes: Arc::new(Routes::new(Arc::clone(&self.families))), families: Arc::clone(&self.families) }
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.families.registry.gather()).unwrap_or_else(|error| {
            ::tracing::error!(%error, "the metrics can't be written as text");
            String::new()
        })
    }

    /// The handle for the requests to a route, named by its template such as `/api/{schema}/{entity}`. Keep it.
    #[must_use]
    pub fn requests(&self, path: &str) -> RequestMetrics {
        self.routes.find(path)
    }

    /// A request to a route has arrived, for who sees the requests to all routes.
    pub fn request(&self, method: impl AsRef<str>, path: &str) -> RequestTimer {
        self.routes.find(path).start(method)
    }

    /// The handle for HTTP connections. Keep it.
    #[must_use]
    pub fn http_connections(&self) -> ConnectionMetrics {
        ConnectionMetrics::new(Arc::clone(&self.families))
    }

    /// Requests that are being worked on, of HTTP, WebSocket and gRPC.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        let Families { requests_in_flight, session_in_flight, grpc_in_flight, .. } = &*self.families;
        requests_in_flight.get() + session_in_flight.get() + grpc_in_flight.get()
    }

    /// The handle for one operation on one entity. Keep it as long as the catalog that names the entity.
    #[must_use]
    pub fn queries(&self, operation: &'static str, source: &str, entity: &str) -> QueryMetrics {
        QueryMetrics::new(&self.families, operation, source, entity)
    }

    /// What was being done has panicked.
    pub fn panicked(&self, method: &str) {
        self.families.panics.with_label_values(&[method]).inc();
    }

    /// The handle for WebSocket connections. Keep it.
    #[must_use]
    pub fn sessions(&self) -> SessionMetrics {
        SessionMetrics::ws(&self.families)
    }

    /// The handle for streams of gRPC. Keep it.
    #[must_use]
    pub fn streams(&self) -> SessionMetrics {
        SessionMetrics::grpc(&self.families)
    }

    /// The handle for calls of gRPC. Keep it.
    #[must_use]
    pub fn calls(&self) -> CallMetrics {
        CallMetrics::new(Arc::clone(&self.families))
    }

    /// The handle for an MQTT broker. Keep it.
    #[must_use]
    pub fn mqtt(&self, broker: &str) -> MqttMetrics {
        MqttMetrics::new(Arc::clone(&self.families), broker)
    }

    /// The handle for durable subscriptions. Keep it.
    #[must_use]
    pub fn durable(&self) -> DurableMetrics {
        DurableMetrics::new(Arc::clone(&self.families))
    }

    /// The handle for the relay of a source.
    #[must_use]
    pub fn capture(&self, source: &str) -> CaptureMetrics {
        CaptureMetrics::new(&self.families, source)
    }

    /// The handle for an operator. Keep it.
    #[must_use]
    pub fn operator(&self) -> OperatorMetrics {
        OperatorMetrics::new(&self.families)
    }

    /// The handle for subscriptions. Keep it.
    #[must_use]
    pub fn live(&self) -> LiveMetrics {
        LiveMetrics::new(&self.families)
    }

    /// Counts the bytes of an answer's body.
    pub fn add_response_bytes(&self, bytes: u64) {
        self.families.response_bytes.inc_by(bytes);
    }

    /// How many connections to a database are open, how many of them are busy, and how many more are waited for.
    pub fn connections(&self, source: &str, open: usize, busy: usize, waiting: usize) {
        self.families.connections_awaited.with_label_values(&[source]).set(gauge_value(waiting));
        for (state, count) in [("open", open), ("busy", busy)] {
            self.families.connections.with_label_values(&[source, state]).set(gauge_value(count));
        }
    }

    /// A catalog with so many entities is served, or `None`: it was refused, and the last good one is served on.
    pub fn catalog(&self, entities: Option<usize>) {
        let result = if entities.is_some() { "served" } else { "refused" };
        self.families.catalog_reloads.with_label_values(&[result]).inc();
        if let Some(count) = entities {
            self.families.catalog_entities.set(gauge_value(count));
        }
    }
}

impl Metrics {
    /// The numbers of the catalog's generations.
    pub fn generation(&self, wanted: Option<u64>, served: Option<u64>) {
        for (state, number) in [("wanted", wanted), ("served", served)] {
            let number = i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
            self.families.catalog_generation.with_label_values(&[state]).set(number);
        }
    }

    /// Whether the connection to NATS stands.
    pub fn nats_connected(&self, connected: bool) {
        self.families.nats_connected.with_label_values::<&str>(&[]).set(i64::from(connected));
    }
}

/// A count as a gauge takes it.
fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The samples of a text that begin with this.
    fn samples<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.starts_with(start)).collect()
    }

    #[test]
    fn the_comment_on_a_field_is_the_help_text() {
        let metrics = Metrics::new().unwrap();
        metrics.catalog(Some(3));
        let text = metrics.render();
        assert!(text.contains("# HELP resolvespec_catalog_entities Entities that are served.\n"), "{text}");
        assert!(text.contains("# TYPE resolvespec_catalog_entities gauge\nresolvespec_catalog_entities 3\n"), "{text}");
        assert!(Metrics::DESCRIPTIONS.iter().all(|(name, help)| !name.is_empty() && help.ends_with('.')));
    }

    #[test]
    fn a_request_is_counted_when_it_ends() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.requests("/api/{schema}/{entity}");
        let timer = route.start("POST");
        assert_eq!(samples(&metrics.render(), "http_requests_in_flight"), ["http_requests_in_flight 1"]);
        assert_eq!(metrics.in_flight(), 1);
        timer.finish(axum::http::StatusCode::OK);
        drop(route.start("POST"));
        metrics.request("BREW", "/api/{schema}/{entity}").finish(418_u16);
        let text = metrics.render();
        let mut counted = samples(&text, "http_requests_total");
        counted.sort_unstable();
        assert_eq!(
            counted,
            [
                r#"http_requests_total{method="POST",path="/api/{schema}/{entity}",status="200"} 1"#,
                r#"http_requests_total{method="POST",path="/api/{schema}/{entity}",status="499"} 1"#,
                r#"http_requests_total{method="other",path="/api/{schema}/{entity}",status="other"} 1"#,
            ]
        );
        assert_eq!(samples(&text, "http_request_duration_seconds_count").len(), 3);
        assert_eq!(samples(&text, "http_requests_in_flight"), ["http_requests_in_flight 0"]);
    }

    #[test]
    fn a_statement_is_counted_by_how_it_ended() {
        let metrics = Metrics::new().unwrap();
        let reads = metrics.queries("SELECT", "main", "public.users");
        let took = std::time::Duration::from_millis(2);
        reads.succeeded(took);
        reads.succeeded(took);
        reads.failed(took);
        reads.cancelled(took);
        let text = metrics.render();
        for (status, count) in [("ok", 2), ("error", 1), ("cancelled", 1)] {
            let line = format!(
                r#"db_queries_total{{entity="public.users",operation="SELECT",source="main",status="{status}"}} {count}"#
            );
            assert_eq!(samples(&text, &line).len(), 1, "{text}");
        }
        let line = r#"db_query_duration_seconds_count{entity="public.users",operation="SELECT",source="main"} 4"#;
        assert_eq!(samples(&text, line).len(), 1, "{text}");
    }

    #[test]
    fn rare_things_are_counted_too() {
        let metrics = Metrics::new().unwrap();
        metrics.connections("main", 5, 3, 2);
        metrics.catalog(None);
        metrics.add_response_bytes(70);
        let text = metrics.render();
        for line in [
            r#"resolvespec_database_connections{source="main",state="busy"} 3"#,
            r#"resolvespec_database_connections{source="main",state="open"} 5"#,
            r#"resolvespec_database_waiting{source="main"} 2"#,
            r#"resolvespec_catalog_reloads_total{result="refused"} 1"#,
            "resolvespec_response_bytes_total 70",
        ] {
            assert_eq!(samples(&text, line), [line], "{text}");
        }
    }
}
