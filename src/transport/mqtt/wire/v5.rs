//! MQTT 5 by its library.

use super::{Ack, Broken, Client, Event, EventLoop, Failure, Message, OVERHEAD, Outgoing, Refusal, Session};
use crate::transport::mqtt::settings::{Server, Settings};
use futures_util::future::BoxFuture;
use rumqttc_v5::mqttbytes::{Error as MqttError, QoS};
use rumqttc_v5::{
    AckMode, AsyncClient, Broker, ConnectReturnCode, ConnectionError, DisconnectProperties, IncomingPacketSizeLimit, MqttOptions,
    Packet, PersistedAckMode, PersistedSession, PublishNotice, PublishNoticeError, PublishOptions, PublishProperties,
    SessionStore, SessionStoreError, SessionStoreKey, StateError, SubscribeNotice, SubscribeNoticeError, TlsConfiguration,
    Transport, UnsubscribeNotice, UnsubscribeNoticeError,
};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn open(server: &Server, settings: &Settings) -> (Client, EventLoop) {
    let mut options = MqttOptions::new(settings.client_id.clone(), Broker::tcp(server.host.clone(), server.port));
    if let Some(tls) = &server.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
    }
    if let Some(user) = &server.user {
        options.set_credentials(user.name.clone(), user.password.text().unwrap_or_default().to_owned());
    }
    let kept = settings.session_expiry;
    options
        .set_keep_alive(settings.keep_alive)
        .set_ack_mode(AckMode::Manual)
        .set_clean_start(kept.is_zero())
        .set_connect_timeout(settings.connect_timeout)
        .set_session_expiry_interval(Some(u32::try_from(kept.as_secs()).unwrap_or(u32::MAX)))
        .set_receive_maximum(Some(settings.max_in_flight))
        // The client has a place for each from the start.
        .set_outgoing_inflight_upper_limit(settings.max_in_flight)
        .set_network_options(super::network())
        .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(
            u32::try_from(settings.max_message_bytes.saturating_mul(2).saturating_add(OVERHEAD)).unwrap_or(u32::MAX),
        ))
        .set_max_request_batch(64);
    if !kept.is_zero() {
        options.set_session_store(NothingOutgoing {
            expiry: options.session_expiry_interval(),
            in_flight: options.get_outgoing_inflight_upper_limit(),
        });
    }
    let (client, events) = AsyncClient::builder(options).unbounded().build();
    (Client::V5(client), EventLoop::V5(Box::new(events)))
}

pub(super) async fn poll(events: &mut rumqttc_v5::EventLoop) -> Result<Event, Broken> {
    match events.poll().await {
        Ok(rumqttc_v5::Event::Incoming(Packet::ConnAck(told))) => {
            // It has said that there is nothing of ours to send again, and would otherwise be told of every packet.
            events.options.clear_session_store();
            let properties = told.properties.as_ref();
            Ok(Event::Connected(Session {
                resumed: told.session_present,
                max_packet_bytes: properties.and_then(|said| said.max_packet_size).and_then(|bytes| usize::try_from(bytes).ok()),
                shares: properties.and_then(|said| said.shared_subscription_available) != Some(0),
            }))
        }
        Ok(rumqttc_v5::Event::Incoming(Packet::Publish(message))) => Ok(Event::Message(Box::new(received(message)))),
        Ok(_) => Ok(Event::Other),
        Err(error) => Err(broken(&error)),
    }
}

fn received(message: rumqttc_v5::Publish) -> Message {
    let properties = message.properties.unwrap_or_default();
    let ack = match message.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(Ack::V5(rumqttc_v5::ManualAck::PubAck(rumqttc_v5::PubAck::new(message.pkid, None)))),
        QoS::ExactlyOnce => Some(Ack::V5(rumqttc_v5::ManualAck::PubRec(rumqttc_v5::PubRec::new(message.pkid, None)))),
    };
    Message {
        topic: message.topic,
        payload: message.payload,
        left_out: None,
        again: message.dup,
        retained: message.retain,
        response_topic: properties.response_topic,
        correlation: properties.correlation_data,
        properties: properties.user_properties,
        ack,
    }
}

fn broken(error: &ConnectionError) -> Broken {
    let refusal = match error {
        // The answer of an older broker is too short to be read, and then the connection is closed.
        ConnectionError::MqttState(StateError::ConnectionAborted) => Refusal::Closed,
        ConnectionError::MqttState(StateError::Deserialization(MqttError::Io(error))) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Refusal::Closed,
            _ => Refusal::Other,
        },
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion,
        )
        | ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(StateError::Deserialization(_)) => Refusal::OfVersion,
        _ => Refusal::Other,
    };
    Broken { reason: error.to_string(), refusal }
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<PublishNotice, Failure> {
    let mut options = PublishOptions::at_least_once();
    if message.correlation.is_some() {
        options = options.properties(PublishProperties { correlation_data: message.correlation, ..PublishProperties::default() });
    }
    client.try_publish_tracked(message.topic, message.payload, options).map_err(|error| refused_or_lost(&error))
}

fn refused_or_lost(error: &rumqttc_v5::ClientError) -> Failure {
    match error {
        rumqttc_v5::ClientError::InvalidRequest(_) => Failure::Refused("the topic can't be published to".to_owned()),
        _ => Failure::Lost,
    }
}

pub(super) fn subscribe(client: &AsyncClient, filter: &str) -> Result<SubscribeNotice, Failure> {
    client.try_subscribe_tracked(filter, QoS::AtLeastOnce).map_err(|error| refused_or_lost(&error))
}

pub(super) fn unsubscribe(client: &AsyncClient, filter: &str) -> Result<UnsubscribeNotice, Failure> {
    client.try_unsubscribe_tracked(filter).map_err(|error| refused_or_lost(&error))
}

pub(super) fn disconnect(client: &AsyncClient, within: Duration) {
    let properties = DisconnectProperties { session_expiry_interval: Some(0), ..no_properties() };
    // Whoever is not connected has nothing to say goodbye to.
    _ = client.try_disconnect_with_properties_timeout(rumqttc_v5::DisconnectReasonCode::NormalDisconnection, properties, within);
}

fn no_properties() -> DisconnectProperties {
    DisconnectProperties {
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    }
}

pub(super) async fn acknowledged(notice: PublishNotice) -> Result<(), Failure> {
    notice.wait_completion_async().await.map_err(|error| match error {
        PublishNoticeError::V5PubAck(reason) => Failure::Refused(format!("{reason:?}")),
        _ => Failure::Lost,
    })
}

pub(super) async fn subscribed(notice: SubscribeNotice) -> Result<(), Failure> {
    notice.wait_completion_async().await.map_err(|error| match error {
        SubscribeNoticeError::V5SubAckFailure(reasons) => Failure::Refused(format!("{reasons:?}")),
        _ => Failure::Lost,
    })
}

pub(super) async fn unsubscribed(notice: UnsubscribeNotice) -> Result<(), Failure> {
    notice.wait_completion_async().await.map_err(|error| match error {
        UnsubscribeNoticeError::V5UnsubAckFailure(reasons) => Failure::Refused(format!("{reasons:?}")),
        _ => Failure::Lost,
    })
}

/// Says of a session that the broker has kept that we have nothing of our own to send again in it: what we had published is
/// either told anew when its request comes again, or published anew by whoever did not hear of its acknowledgement.
#[derive(Debug)]
struct NothingOutgoing {
    expiry: Option<u32>,
    in_flight: Option<u16>,
}

type Stored<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for NothingOutgoing {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: self.expiry,
            outgoing_inflight_upper_limit: self.in_flight,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
