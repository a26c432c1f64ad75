//! Limits and times of connections, over HTTP and WebSocket, out of what was given.

use super::Settings;
use crate::cli::Error;
use crate::event::hub;
use crate::transport::{http, ws};
use std::time::Duration;

impl Settings {
    pub(super) fn http(&self) -> http::Settings {
        let usual = http::Settings::default();
        let time = |seconds: Option<u64>, usual| seconds.map_or(usual, Duration::from_secs);
        http::Settings {
            max_connections: self.http_max_connections.unwrap_or(usual.max_connections),
            header_time: time(self.http_header_seconds, usual.header_time),
            body_time: time(self.http_body_seconds, usual.body_time),
            idle_time: time(self.http_idle_seconds, usual.idle_time),
            max_streams: self.http2_max_streams.unwrap_or(usual.max_streams),
            ping_interval: time(self.http2_ping_seconds, usual.ping_interval),
            ping_time: time(self.http2_pong_seconds, usual.ping_time),
            max_pings: self.http2_max_pings.unwrap_or(usual.max_pings),
        }
    }

    /// Refuses limits with which nothing works, in flags and in the file alike.
    pub(super) fn check(&self) -> Result<(), Error> {
        let count = |limit: Option<usize>| limit.is_none_or(|limit| limit > 0);
        let seconds = |limit: Option<u64>| limit.is_none_or(|limit| limit > 0);
        let limits = [
            ("http-max-connections", count(self.http_max_connections)),
            ("http-header-seconds", seconds(self.http_header_seconds)),
            ("http-body-seconds", seconds(self.http_body_seconds)),
            ("http-idle-seconds", seconds(self.http_idle_seconds)),
            ("http2-max-streams", self.http2_max_streams.is_none_or(|limit| limit > 0)),
            ("http2-ping-seconds", seconds(self.http2_ping_seconds)),
            ("http2-pong-seconds", seconds(self.http2_pong_seconds)),
            ("http2-max-pings", self.http2_max_pings.is_none_or(|limit| limit > 0)),
            ("ws-max-connections", count(self.ws_max_connections)),
            ("ws-max-message-bytes", count(self.ws_max_message_bytes)),
            ("ws-max-answer-bytes", count(self.ws_max_answer_bytes)),
            ("ws-max-subscriptions", count(self.ws_max_subscriptions)),
            ("ws-max-subscription-bytes", count(self.ws_max_subscription_bytes)),
            ("ws-max-session-bytes", count(self.ws_max_session_bytes)),
            ("ws-max-waiting", count(self.ws_max_waiting)),
            ("ws-max-waiting-bytes", count(self.ws_max_waiting_bytes)),
            ("ws-session-seconds", seconds(self.ws_session_seconds)),
            ("ws-ping-seconds", seconds(self.ws_ping_seconds)),
            ("ws-write-seconds", seconds(self.ws_write_seconds)),
            ("ws-max-queued", count(self.ws_max_queued)),
        ];
        match limits.iter().find(|(_, works)| !works) {
            Some((name, _)) => Err(Error::new(format!("--{name} must be at least 1"))),
            None => Ok(()),
        }
    }

    pub(super) fn ws(&self) -> ws::Settings {
        let usual = ws::Settings::default();
        ws::Settings {
            max_connections: self.ws_max_connections.unwrap_or(usual.max_connections),
            max_message_bytes: self.ws_max_message_bytes.unwrap_or(usual.max_message_bytes),
            max_answer_bytes: self.ws_max_answer_bytes.unwrap_or(usual.max_answer_bytes),
            ping_interval: self.ws_ping_seconds.map_or(usual.ping_interval, Duration::from_secs),
            write_time: self.ws_write_seconds.map_or(usual.write_time, Duration::from_secs),
            max_queued: self.ws_max_queued.unwrap_or(usual.max_queued),
        }
    }

    pub(super) fn live(&self) -> hub::Settings {
        let usual = hub::Settings::default();
        hub::Settings {
            max_subscriptions: self.ws_max_subscriptions.unwrap_or(usual.max_subscriptions),
            max_subscription_bytes: self.ws_max_subscription_bytes.unwrap_or(usual.max_subscription_bytes),
            max_session_bytes: self.ws_max_session_bytes.unwrap_or(usual.max_session_bytes),
            max_waiting: self.ws_max_waiting.unwrap_or(usual.max_waiting),
            max_waiting_bytes: self.ws_max_waiting_bytes.unwrap_or(usual.max_waiting_bytes),
            session_lifetime: self.ws_session_seconds.map_or(usual.session_lifetime, Duration::from_secs),
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_with_which_nothing_works_are_refused_in_a_file_too() {
        for name in [
            "ws-max-connections",
            "ws-max-subscriptions",
            "ws-max-session-bytes",
            "ws-max-waiting",
            "ws-write-seconds",
            "ws-max-queued",
            "http-idle-seconds",
        ] {
            let file: Settings =
                serde_saphyr::from_str(&format!("manifests: [shop.yaml]\nallow-anonymous: true\n{name}: 0\n")).unwrap();
            match Settings::default().over(file).resolve() {
                Err(Error::Other(text)) => assert_eq!(text, format!("--{name} must be at least 1")),
                other => panic!("an error was expected, and {other:?} came"),
            }
        }
    }

    #[test]
    fn a_connection_s_limits_come_from_the_file_and_flags_come_first() {
        let file: Settings = serde_saphyr::from_str("ws-write-seconds: 3\nws-max-queued: 7\n").unwrap();
        let given = Settings { ws_max_queued: Some(5), ..Settings::default() };
        let ws = given.over(file).ws();
        assert_eq!((ws.write_time, ws.max_queued), (Duration::from_secs(3), 5));
    }
}
