//! A connection's frames: messages in by the decoder of tungstenite, frames out through one buffer.
//!
//! The decoder reads straight from the stream into its small buffer, and what it answers by itself (pongs, closes) goes
//! to the buffer of everything else, so that no two writers meet.

use super::outgoing::Outgoing;
use crate::transport::conversation::{Close, Ended, Line, NOTIFICATION, Notification, Received};
use bytes::Bytes;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// A stream of frames.
pub(super) struct Socket<I> {
    stream: I,
    frames: WebSocketContext,
    outgoing: Outgoing,
    max_message_bytes: usize,
    /// Bytes that the decoder got, and those of them that are known to have left it.
    fed: u64,
    taken: u64,
    /// Whether the decoder's buffer may have grown.
    swollen: bool,
    sent: u64,
    /// The number of the last ping.
    pings: u32,
}

/// The decoder's buffer; a larger one would be held by every connection at rest.
const READ_BYTES: usize = 2048;

/// Beyond this, the buffer that a message needed is given back after it.
const SWOLLEN_BYTES: usize = 16 * 1024;

/// How long both sides may take to say goodbye.
const CLOSE_TIME: Duration = Duration::from_secs(5);

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    /// Frames over a stream whose handshake is done.
    pub(super) fn new(stream: I, max_message_bytes: usize) -> Self {
        let frames = decoder(max_message_bytes);
        let outgoing = Outgoing::default();
        Self { stream, frames, outgoing, max_message_bytes, fed: 0, taken: 0, swollen: false, sent: 0, pings: 0 }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Line for Socket<I> {
    const PINGS: bool = true;

    fn answer(&mut self, text: Vec<u8>) {
        self.outgoing.whole(text);
    }

    fn notify(&mut self, Notification { subscription_id, tail }: &Notification) {
        self.outgoing.text(&[NOTIFICATION, subscription_id.as_bytes(), b"\",", tail]);
    }

    fn ping(&mut self) {
        self.pings = self.pings.wrapping_add(1);
        self.outgoing.ping(self.pings.to_be_bytes());
    }

    fn waiting(&self) -> usize {
        self.outgoing.waiting().len()
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        match self.poll_send(context) {
            Poll::Ready(Err(_)) => Err(Ended::Gone),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, deaf: bool) -> Poll<Result<Received, Ended>> {
        if !self.outgoing.is_empty() && self.poll_send(context).map_err(|_| Ended::Gone)?.is_ready() {
            return Poll::Ready(Ok(Received::Sent));
        }
        if deaf {
            return Poll::Pending;
        }
        match self.read(context) {
            Ok(Message::Text(text)) => Poll::Ready(Ok(self.message(text.into()))),
            Ok(Message::Binary(bytes)) => Poll::Ready(Ok(self.message(bytes))),
            Ok(Message::Ping(data)) => {
                self.count(data.len());
                Poll::Ready(Ok(Received::Control))
            }
            Ok(Message::Pong(data)) => {
                self.count(data.len());
                let answers = *data == self.pings.to_be_bytes();
                Poll::Ready(Ok(if answers { Received::Pong } else { Received::Control }))
            }
            // The decoder answers the close when it is asked again, and then says that it is closed.
            Ok(Message::Close(_) | Message::Frame(_)) => Poll::Ready(Err(match self.read(context) {
                Err(Error::ConnectionClosed) => Ended::Client,
                _ => Ended::Gone,
            })),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.shrink();
                if !self.outgoing.is_empty() && self.poll_send(context).map_err(|_| Ended::Gone)?.is_ready() {
                    return Poll::Ready(Ok(Received::Sent));
                }
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(ended(&error))),
        }
    }

    /// Waits for the client's goodbye as well.
    async fn end(mut self, ended: &Ended) {
        match ended {
            Ended::Gone => return,
            Ended::Client => {}
            Ended::Here(close) => self.outgoing.close(close.code(), &close.reason()),
        }
        let goodbye = async {
            std::future::poll_fn(|context| self.poll_send(context)).await?;
            self.stream.shutdown().await?;
            // A stream that is dropped with something unread in it is reset, and the client might not see the close.
            let mut rest = [0; 1024];
            while self.stream.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        if !matches!(tokio::time::timeout(CLOSE_TIME, goodbye).await, Ok(Ok(()))) {
            tracing::debug!("a client went away without a goodbye");
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, self.outgoing.waiting()))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(count);
            self.sent += count as u64;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn read(&mut self, context: &mut Context<'_>) -> tungstenite::Result<Message> {
        let Self { stream, frames, outgoing, fed, .. } = self;
        frames.read(&mut Through { stream, context, outgoing, fed })
    }

    fn message(&mut self, bytes: Bytes) -> Received {
        self.count(bytes.len());
        self.swollen |= bytes.len() > SWOLLEN_BYTES;
        Received::Message(Ok(bytes))
    }

    /// A frame of this payload has left the decoder, with its header and mask.
    fn count(&mut self, payload: usize) {
        let length = match payload {
            ..126 => 0,
            126..65536 => 2,
            _ => 8,
        };
        self.taken += (2 + length + 4 + payload) as u64;
    }

    /// Replaces a decoder that holds a large buffer and nothing in it. Fragments and padded lengths are counted as less than
    /// they were; then it never seems to be empty and is kept.
    fn shrink(&mut self) {
        if self.swollen && self.fed == self.taken {
            self.frames = decoder(self.max_message_bytes);
            self.swollen = false;
        }
    }
}

fn decoder(max_message_bytes: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    WebSocketContext::new(Role::Server, Some(config))
}

fn ended(error: &Error) -> Ended {
    tracing::debug!(%error, "a connection ends");
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ended::Client,
        Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ended::Gone,
        Error::Protocol(_) | Error::AttackAttempt => Ended::Here(Close::Protocol),
        Error::Capacity(_) => Ended::Here(Close::TooLarge),
        Error::Utf8(_) => Ended::Here(Close::NotText),
        Error::Tls(_) | Error::WriteBufferFull(_) | Error::Url(_) | Error::Http(_) | Error::HttpFormat(_) => {
            Ended::Here(Close::Failed)
        }
    }
}

/// The stream as the decoder sees it while a task polls: reads come from it, writes wait with all others.
struct Through<'a, 'c, I> {
    stream: &'a mut I,
    context: &'a mut Context<'c>,
    outgoing: &'a mut Outgoing,
    fed: &'a mut u64,
}

impl<I: AsyncRead + Unpin> Read for Through<'_, '_, I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut into) {
            Poll::Ready(outcome) => outcome.map(|()| into.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
        .inspect(|count| *self.fed += *count as u64)
    }
}

impl<I> Write for Through<'_, '_, I> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::SinkExt as _;
    use tokio_tungstenite::WebSocketStream;

    #[tokio::test]
    async fn a_buffer_that_grew_is_given_back_and_nothing_is_lost_by_it() {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let mut socket = Socket::new(server, 1 << 20);
        let large = "x".repeat(1 << 19);
        for _ in 0..3 {
            let say = async {
                for text in [large.as_str(), "small"] {
                    client.send(Message::text(text)).await.unwrap();
                }
            };
            let hear = async {
                for length in [large.len(), 5] {
                    match std::future::poll_fn(|context| socket.poll_receive(context, false)).await.unwrap() {
                        Received::Message(Ok(message)) => assert_eq!(message.len(), length),
                        other => panic!("{other:?}"),
                    }
                    assert!(socket.swollen || length == 5, "a large message leaves a large buffer");
                }
            };
            tokio::join!(say, hear);
            std::future::poll_fn(|context| Poll::Ready(socket.poll_receive(context, false).is_pending())).await;
            assert!(!socket.swollen, "the decoder is a new one");
        }
    }

    #[tokio::test]
    async fn only_the_answer_to_the_last_ping_says_what_the_client_has() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut socket = Socket::new(server, 1024);
        for _ in 0..2 {
            socket.ping();
        }
        std::future::poll_fn(|context| Poll::Ready(socket.send(context))).await.unwrap();
        let mut pings = [0; 12];
        client.read_exact(&mut pings).await.unwrap();
        // The first two are what some clients send to stay alive, without being asked.
        let pongs: [&[u8]; 4] = [&[], &[0; 4], &pings[2..6], &pings[8..]];
        for data in pongs {
            let header = [0x8a, 0x80 | u8::try_from(data.len()).unwrap(), 0, 0, 0, 0];
            client.write_all(&[header.as_slice(), data].concat()).await.unwrap();
        }
        let mut heard = Vec::new();
        for _ in 0..4 {
            let received = std::future::poll_fn(|context| socket.poll_receive(context, false)).await.unwrap();
            heard.push(matches!(received, Received::Pong));
        }
        assert_eq!(heard, [false, false, false, true]);
    }
}
