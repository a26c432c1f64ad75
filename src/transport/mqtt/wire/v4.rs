//! MQTT 3.1.1 by its library.

use super::{Ack, Broken, Client, Event, EventLoop, Failure, Message, Outgoing, Refusal, Session};
use crate::transport::mqtt::settings::{Server, Settings};
use rumqttc_v4::mqttbytes::QoS;
use rumqttc_v4::{
    AckMode, AsyncClient, Broker, ClientError, ConnectReturnCode, ConnectionError, MqttOptions, Packet, PublishNotice,
    PublishOptions, SubscribeNotice, SubscribeNoticeError, TlsConfiguration, Transport, UnsubscribeNotice,
};
use std::sync::Arc;

/// The largest packet of the protocol. A broker can't be told a limit in this version, and a message beyond ours has to be
/// read to be refused: closing the connection for it would bring it again. It is not kept for that (`lanes`).
const MAX_PACKET_BYTES: usize = 268_435_455;

pub(super) fn open(server: &Server, settings: &Settings) -> (Client, EventLoop) {
    let mut options = MqttOptions::new(settings.client_id.clone(), Broker::tcp(server.host.clone(), server.port));
    if let Some(tls) = &server.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
    }
    if let Some(user) = &server.user {
        options.set_credentials(user.name.clone(), user.password.text().unwrap_or_default().to_owned());
    }
    options
        .set_keep_alive(settings.keep_alive)
        .set_ack_mode(AckMode::Manual)
        .set_clean_session(settings.session_expiry.is_zero())
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES)
        .set_inflight(settings.max_in_flight)
        .set_max_request_batch(64);
    let (client, mut events) = AsyncClient::builder(options).unbounded().build();
    let mut network = super::network();
    network.set_connection_timeout(settings.connect_timeout.as_secs().max(1));
    events.set_network_options(network);
    (Client::V4(client), EventLoop::V4(Box::new(events)))
}

pub(super) async fn poll(events: &mut rumqttc_v4::EventLoop) -> Result<Event, Broken> {
    match events.poll().await {
        Ok(rumqttc_v4::Event::Incoming(Packet::ConnAck(told))) => {
            Ok(Event::Connected(Session { resumed: told.session_present, max_packet_bytes: None, shares: true }))
        }
        Ok(rumqttc_v4::Event::Incoming(Packet::Publish(message))) => Ok(Event::Message(Box::new(received(message)))),
        Ok(_) => Ok(Event::Other),
        Err(error) => {
            let of_version = matches!(error, ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion));
            let refusal = if of_version { Refusal::OfVersion } else { Refusal::Other };
            Err(Broken { reason: error.to_string(), refusal })
        }
    }
}

fn received(message: rumqttc_v4::Publish) -> Message {
    let ack = match message.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(Ack::V4(rumqttc_v4::ManualAck::PubAck(rumqttc_v4::PubAck::new(message.pkid)))),
        QoS::ExactlyOnce => Some(Ack::V4(rumqttc_v4::ManualAck::PubRec(rumqttc_v4::PubRec::new(message.pkid)))),
    };
    Message {
        topic: message.topic,
        payload: message.payload,
        left_out: None,
        again: message.dup,
        retained: message.retain,
        response_topic: None,
        correlation: None,
        properties: Vec::new(),
        ack,
    }
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<PublishNotice, Failure> {
    let options = PublishOptions::at_least_once();
    client.try_publish_tracked(message.topic, message.payload, options).map_err(|error| refused_or_lost(&error))
}

fn refused_or_lost(error: &ClientError) -> Failure {
    match error {
        ClientError::InvalidRequest(_) => Failure::Refused("the topic can't be published to".to_owned()),
        _ => Failure::Lost,
    }
}

pub(super) fn subscribe(client: &AsyncClient, filter: &str) -> Result<SubscribeNotice, Failure> {
    client.try_subscribe_tracked(filter, QoS::AtLeastOnce).map_err(|error| refused_or_lost(&error))
}

pub(super) fn unsubscribe(client: &AsyncClient, filter: &str) -> Result<UnsubscribeNotice, Failure> {
    client.try_unsubscribe_tracked(filter).map_err(|error| refused_or_lost(&error))
}

pub(super) async fn subscribed(notice: SubscribeNotice) -> Result<(), Failure> {
    notice.wait_completion_async().await.map_err(|error| match error {
        SubscribeNoticeError::V4SubAckFailure(reasons) => Failure::Refused(format!("{reasons:?}")),
        _ => Failure::Lost,
    })
}
