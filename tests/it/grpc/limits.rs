//! What gRPC costs a replica is bounded and told: compressed messages, pings without end, streams among the connections.

use crate::live::Stage;
use crate::support::client::{Call, Client};
use crate::support::database::Kind;
use crate::support::grpc::{Talk, connect, message, reason, value};
use axum::http::Method;
use resolvespec::config::Config;
use resolvespec::transport::http;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::codec::CompressionEncoding;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_be_compressed_both_ways_and_its_limit_holds_for_what_is_in_it() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut plain = connect(stage.first.address).await;
    let gzip = CompressionEncoding::Gzip;
    let mut client = connect(stage.first.address).await.send_compressed(gzip).accept_compressed(gzip);
    for id in 0..200 {
        let row = json!({"operation": "create", "entity": "boxes", "data": {"id": id, "size": 7}});
        client.call(message(&row)).await.expect("it is written");
    }
    let read = json!({"operation": "read", "entity": "boxes", "options": {"sort": [{"column": "id"}]}});
    let answer = client.call(message(&read)).await.expect("rows");
    assert_eq!(answer.metadata().get("grpc-encoding").map(tonic::metadata::MetadataValue::as_bytes), Some(&b"gzip"[..]));
    let same = plain.call(message(&read)).await.expect("rows");
    assert!(same.metadata().get("grpc-encoding").is_none(), "who does not ask for it gets none");
    assert_eq!(value(answer.into_inner())["data"], value(same.into_inner())["data"]);
    // Small when it comes, large when it is read.
    let text = "x".repeat(64 << 20);
    let bomb = json!({"operation": "read", "entity": "boxes", "options": {"columns": [text]}});
    let refused = client.call(message(&bomb)).await.expect_err("it is larger than a message may be");
    assert_eq!(reason(&refused)["code"], "payload_too_large", "{refused:?}");
    let session = Talk::begin(&mut client).await;
    session.say(&json!({"id": "b", "type": "ping", "padding": text})).await;
    let large = session.ended().await.expect_err("a stream does not end in order for that");
    assert_eq!(reason(&large)["code"], "payload_too_large", "{large:?}");
    // What is told to many is not compressed for each.
    let subscribe = json!({"operation": "subscribe", "entity": "boxes"});
    let told = client.subscribe(Request::new(message(&subscribe))).await.expect("a stream");
    assert!(told.metadata().get("grpc-encoding").is_none());
    drop(told);
    stage.close().await;
}

const TYPE_SETTINGS: u8 = 4;
const TYPE_PING: u8 = 6;
const TYPE_WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// The type and the flags of the next frame; none if the connection has ended.
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).expect("it fits");
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some((head[3], head[4]))
}

/// How many pings are answered, of so many at most that are sent one after the other's answer.
async fn answered(address: std::net::SocketAddr, pings: usize) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.expect("it listens");
    // What is written in the beginning is no answer to a ping, and counting begins after it.
    let mut beginning = vec![(TYPE_SETTINGS, 0), (TYPE_SETTINGS, ACK), (TYPE_WINDOW_UPDATE, 0)];
    while !beginning.is_empty() {
        let came = frame(&mut stream).await.expect("these come first");
        beginning.remove(beginning.iter().position(|frame| *frame == came).expect("nothing else comes"));
    }
    for number in 0..pings {
        if stream.write_all(PING).await.is_err() {
            return number;
        }
        match frame(&mut stream).await {
            Some(frame) => assert_eq!(frame, (TYPE_PING, ACK)),
            None => return number,
        }
    }
    pings
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pings_without_end_is_sent_away() {
    let stage = Stage::open(Kind::Sqlite).await;
    let address = stage.first.address;
    assert_eq!(http::Settings::default().max_pings, 100);
    assert_eq!(answered(address, 1000).await, 101, "a hundred are welcome, and the one after them is the last");
    let page = Client::new(address).send(&Call::new(Method::GET, "/metrics")).await.expect("an answer").body;
    let counted = page.as_str().is_some_and(|text| text.lines().any(|line| line.contains("\"pings\"") && line.ends_with(" 1")));
    assert!(counted, "{page}");
    stage.close().await;
    let strict = |config| Config { http: http::Settings { max_pings: 20, ..http::Settings::default() }, ..config };
    let stage = Stage::with(Kind::Sqlite, strict, Vec::new()).await;
    assert_eq!(answered(stage.first.address, 1000).await, 21, "so many are welcome by its setting");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_among_the_connections_and_what_it_works_on_in_flight() {
    let stage = Stage::open(Kind::Sqlite).await;
    let client = Client::new(stage.first.address);
    let mut talk = Talk::begin(&mut connect(stage.first.address).await).await;
    assert_eq!(talk.ask(&json!({"id": "p", "type": "ping"})).await["type"], "pong");
    let listed = client.send(&Call::new(Method::GET, "/admin/connections")).await.expect("an answer").body;
    assert_eq!(listed["connections"][0]["transport"], "grpc", "{listed}");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = client.send(&Call::new(Method::GET, "/metrics")).await.expect("an answer").body;
        let idle = page.as_str().is_some_and(|text| text.lines().any(|line| line == "resolvespec_grpc_requests_in_flight 0"));
        if idle {
            break;
        }
        assert!(Instant::now() < deadline, "{page}");
    }
    drop(talk);
    stage.close().await;
}
