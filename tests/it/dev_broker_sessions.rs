//! The broker of `dev` while a client comes back again and again in the middle of what it is sent: nothing is lost, and nothing
//! comes before what was sent earlier. The client is made here of bytes, so that it acknowledges exactly what it has heard.

use crate::dev_broker::Dev;
use crate::support::process::ended;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

const USER: &str = "back";
const TOPIC: &str = "spec/back/numbers";
/// How often it comes back, and how many numbers are sent for each time.
const TIMES: usize = 150;
const EACH: usize = 20;

/// A connection in one of the versions, 4 or 5, whose session the broker keeps.
struct Client {
    socket: TcpStream,
    version: u8,
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    [&[head, u8::try_from(body.len()).ok().filter(|length| *length < 128).expect("short")], body].concat()
}

impl Client {
    fn enter(dev: &Dev, version: u8) -> Self {
        let socket = TcpStream::connect(format!("127.0.0.1:{}", dev.port)).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
        let mut client = Self { socket, version };
        // In version 5 a session is kept for as long as its client says.
        let kept = if version == 5 { [&[5, 0x11][..], &600_u32.to_be_bytes()].concat() } else { Vec::new() };
        let asked =
            [&text("MQTT")[..], &[version, 0x80, 0, 60], &kept, &text(&format!("{USER}-{version}")), &text(USER)].concat();
        client.send(&packet(0x10, &asked));
        let (head, answer) = client.receive();
        assert_eq!((head, answer[1]), (0x20, 0), "it is let in: {answer:?}");
        client
    }

    fn subscribe(&mut self) {
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        self.send(&packet(0x82, &[&[0, 1], properties, &text(TOPIC), &[1]].concat()));
        let (head, answer) = self.receive();
        assert_eq!((head, answer.last()), (0x90, Some(&1)), "{answer:?}");
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("sent");
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut byte = [0; 1];
        self.socket.read_exact(&mut byte).expect("a packet");
        let (head, mut length, mut shift) = (byte[0], 0_usize, 0);
        loop {
            self.socket.read_exact(&mut byte).expect("a length");
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).expect("a whole packet");
        (head, body)
    }

    /// Whether something has come.
    fn has_mail(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a mode");
        let seen = self.socket.peek(&mut [0; 1]);
        self.socket.set_nonblocking(false).expect("a mode");
        match seen {
            Ok(count) => count > 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next number, which is acknowledged.
    fn hear(&mut self) -> usize {
        let (head, body) = self.receive();
        assert_eq!(head & 0xf6, 0x32, "a message with QoS 1: {head:#x} {body:?}");
        let after = 2 + TOPIC.len();
        let id = [body[after], body[after + 1]];
        let payload = after + 2 + if self.version == 5 { 1 + usize::from(body[after + 2]) } else { 0 };
        self.send(&packet(0x40, &id));
        std::str::from_utf8(&body[payload..]).expect("a text").parse().expect("a number")
    }
}

#[test]
fn nothing_is_lost_and_the_order_is_kept_while_a_client_comes_back() {
    let mut dev = Dev::start("sessions");
    for version in [4, 5] {
        Client::enter(&dev, version).subscribe();
        let arguments = ["-i", "writer", "-u", USER, "-t", TOPIC, "-l"];
        let mut writer = dev.client("mosquitto_pub", "5", &arguments).stdin(Stdio::piped()).spawn().expect("mosquitto_pub runs");
        let mut lines = writer.stdin.take().expect("piped");
        let mut next = 0;
        let mut take = |number: usize| {
            assert!(number <= next, "{number} comes before {next}, version {version}");
            next = next.max(number + 1);
            next
        };
        for time in 0..TIMES {
            let numbers: Vec<String> = (time * EACH..(time + 1) * EACH).map(|number| format!("{number}\n")).collect();
            lines.write_all(numbers.concat().as_bytes()).expect("it reads");
            let mut client = Client::enter(&dev, version);
            // Now and then it hears nothing and goes at once, with something on its way.
            for _ in 0..time % 8 {
                take(client.hear());
            }
            while time % 5 == 0 && client.has_mail() {
                take(client.hear());
            }
        }
        drop(lines);
        assert!(ended(&mut writer).success());
        let (mut client, deadline) = (Client::enter(&dev, version), Instant::now() + Duration::from_secs(30));
        while take(client.hear()) < TIMES * EACH {
            assert!(Instant::now() < deadline, "it takes too long");
        }
    }
    dev.process.end();
}
