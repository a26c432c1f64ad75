//! Whoever pings without end over HTTP/2: counted by looking at the heads of frames as they come.
//!
//! A client may ping to see whether its connection lives, and libraries do to measure it while they are sent something. So
//! only pings between which nothing but their answers was written are counted, and only so many in a time are too many.

use std::time::Duration;
use tokio::time::Instant;

/// What every connection over HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// A ping and its answer are as long as this.
const PING: usize = HEAD + 8;
const TYPE_PING: u8 = 6;
const FLAG_ACK: u8 = 1;

/// How long they are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// What is known of a connection's pings.
pub(super) struct Pings {
    place: Place,
    since: Instant,
    /// Since then and since anything else was written.
    count: u32,
    /// More of them are too many.
    most: u32,
    /// Bytes of answers that are still to be written.
    owed: usize,
}

/// Where in the frames the next byte is.
enum Place {
    /// So much of the preface has come.
    Preface(usize),
    /// So much of a head.
    Head([u8; HEAD], usize),
    /// So much is left of a frame.
    Rest(usize),
    /// It is not HTTP/2.
    Elsewhere,
}

impl Pings {
    pub(super) fn new(most: u32, now: Instant) -> Self {
        Self { place: Place::Preface(0), since: now, count: 0, most, owed: 0 }
    }

    /// Bytes came; whether there are too many pings.
    pub(super) fn came(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Elsewhere => return false,
                Place::Preface(there) => {
                    let taken = bytes.len().min(PREFACE.len() - *there);
                    if bytes[..taken] != PREFACE[*there..*there + taken] {
                        self.place = Place::Elsewhere;
                        return false;
                    }
                    *there += taken;
                    if *there == PREFACE.len() {
                        self.place = Place::Head([0; HEAD], 0);
                    }
                    taken
                }
                Place::Head(head, there) => {
                    let taken = bytes.len().min(HEAD - *there);
                    head[*there..*there + taken].copy_from_slice(&bytes[..taken]);
                    *there += taken;
                    if *there == HEAD {
                        let head = *head;
                        self.frame(head, now);
                    }
                    taken
                }
                Place::Rest(left) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.place = Place::Head([0; HEAD], 0);
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        self.count > self.most
    }

    fn frame(&mut self, head: [u8; HEAD], now: Instant) {
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap_or(usize::MAX);
        self.place = if length == 0 { Place::Head([0; HEAD], 0) } else { Place::Rest(length) };
        if head[3] == TYPE_PING && head[4] & FLAG_ACK == 0 {
            if now.duration_since(self.since) > WINDOW {
                (self.since, self.count) = (now, 0);
            }
            self.count += 1;
            self.owed += PING;
        }
    }

    /// Bytes were written: something else than answers to pings, if there are more of them than of those.
    pub(super) fn written(&mut self, bytes: usize) {
        if bytes > self.owed {
            (self.owed, self.count) = (0, 0);
        } else {
            self.owed -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 100;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        frame.resize(HEAD + payload, 7);
        frame
    }

    #[test]
    fn pings_are_counted_wherever_reads_end() {
        let ping = frame(TYPE_PING, 0, 8);
        let other = [frame(4, 0, 0), frame(0, 0, 300), frame(TYPE_PING, FLAG_ACK, 8)].concat();
        let sent = [PREFACE.to_vec(), other, ping.repeat(MOST as usize)].concat();
        for size in [1, 2, 7, 24, 64, 10_000] {
            let now = Instant::now();
            let mut pings = Pings::new(MOST, now);
            assert!(!sent.chunks(size).any(|bytes| pings.came(bytes, now)), "not yet too many, by {size}");
            assert!(pings.came(&ping, now), "one too many, by {size}");
        }
    }

    #[test]
    fn those_in_a_conversation_and_those_over_a_long_time_are_not() {
        let ping = frame(TYPE_PING, 0, 8);
        let mut now = Instant::now();
        let mut pings = Pings::new(MOST, now);
        assert!(!pings.came(PREFACE, now));
        for _ in 0..MOST * 10 {
            assert!(!pings.came(&ping, now));
            pings.written(PING + 100);
        }
        for _ in 0..MOST * 10 {
            now += Duration::from_secs(1);
            assert!(!pings.came(&ping, now));
            pings.written(PING);
        }
        let mut plain = Pings::new(MOST, now);
        let answer = b"GET / HTTP/1.1\r\n\r\n".repeat(1000);
        assert!(!plain.came(&answer, now) && !plain.came(&ping.repeat(1000), now));
    }
}
