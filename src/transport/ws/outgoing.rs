//! What waits to be written: frames one after the other in one buffer, so that any number of them goes out with one write.
//!
//! A server's frame is a short header before the text. The buffer is given back when everything is written.

use crate::transport::conversation::HEADROOM;
use std::io;

/// Frames that wait to be written.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

impl Outgoing {
    /// Appends a text frame that is put together from parts.
    pub(super) fn text(&mut self, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum();
        let (header, used) = header(TEXT, length);
        self.bytes.reserve(used + length);
        self.bytes.extend_from_slice(&header[..used]);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Appends a text frame; the text begins after `HEADROOM` free bytes. It is not copied if nothing else waits.
    pub(super) fn whole(&mut self, mut text: Vec<u8>) {
        let (header, used) = header(TEXT, text.len() - HEADROOM);
        let start = HEADROOM - used;
        text[start..HEADROOM].copy_from_slice(&header[..used]);
        if self.is_empty() {
            self.bytes = text;
            self.written = start;
        } else {
            self.bytes.extend_from_slice(&text[start..]);
        }
    }

    /// Appends a ping, whose data the answer has too.
    pub(super) fn ping(&mut self, data: [u8; 4]) {
        self.bytes.extend_from_slice(&[PING, 4]);
        self.bytes.extend_from_slice(&data);
    }

    /// Appends a close frame.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        let (header, used) = header(CLOSE, 2 + reason.len());
        self.bytes.extend_from_slice(&header[..used]);
        self.bytes.extend_from_slice(&code.to_be_bytes());
        self.bytes.extend_from_slice(reason.as_bytes());
    }

    /// What is to be written next.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// So many bytes of it are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Takes what the frames' decoder answers by itself: pongs and closes.
impl io::Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The header of a last, unmasked frame, and how many of its bytes are used.
fn header(kind: u8, length: usize) -> ([u8; HEADROOM], usize) {
    let mut header = [0; HEADROOM];
    header[0] = kind;
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(length as u64).to_be_bytes());
        (header, HEADROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};

    /// The messages in bytes, as a client's decoder reads them.
    fn read(bytes: &[u8]) -> Vec<Message> {
        let mut client = WebSocket::from_raw_socket(io::Cursor::new(bytes.to_vec()), Role::Client, None);
        std::iter::from_fn(|| client.read().ok()).collect()
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(texts in prop::collection::vec((0_usize..70_000, any::<bool>()), 1..6)) {
            let mut outgoing = Outgoing::default();
            let mut expected = Vec::new();
            for (length, whole) in texts {
                let text = "x".repeat(length);
                if whole {
                    outgoing.whole([vec![0; HEADROOM], text.clone().into_bytes()].concat());
                } else {
                    let (left, right) = text.as_bytes().split_at(length / 2);
                    outgoing.text(&[left, right]);
                }
                expected.push(Message::text(text));
            }
            prop_assert_eq!(read(outgoing.waiting()), expected);
        }
    }

    #[test]
    fn the_buffer_is_given_back_when_all_is_written() {
        let mut outgoing = Outgoing::default();
        outgoing.ping([0, 0, 0, 1]);
        outgoing.close(1012, "reconnect");
        let messages = read(outgoing.waiting());
        assert!(matches!(&messages[..], [Message::Ping(_), Message::Close(Some(frame))] if frame.reason == "reconnect"));
        outgoing.advance(2);
        assert!(!outgoing.is_empty());
        outgoing.advance(outgoing.waiting().len());
        assert!(outgoing.is_empty() && outgoing.bytes.capacity() == 0);
    }
}
