//! What `tests/bench/mqtt` loads a broker with: clients that ask, and clients by the thousand that are told. It says what it
//! sees on its standard output, and measures nothing of service and broker themselves.
//!
//! - `ask PORT PREFIX CLIENTS AT_ONCE RATE SECONDS USERS`: requests of so many clients, each with so many at once, or all
//!   together so many a second; prints how many were answered, and percentiles of the time to the answer in milliseconds.
//! - `told PORT COUNT`: so many clients subscribe to everything through the service; then obeys `hear N` and `show`.
//! - `bare PORT COUNT FILE`: so many clients of one topic; then obeys `hear N` by publishing the file's bytes there.

mod asking;
mod crowd;
mod station;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ask", port, prefix, clients, at_once, rate, seconds, users] => {
            let load = asking::Load {
                port: port.parse()?,
                prefix: (*prefix).to_owned(),
                clients: clients.parse()?,
                at_once: at_once.parse()?,
                rate: rate.parse()?,
                seconds: seconds.parse()?,
                users: users.parse()?,
            };
            say(&asking::ask(load).await?);
            Ok(())
        }
        ["told", port, count] => crowd::told(port.parse()?, count.parse()?).await,
        ["bare", port, count, file] => crowd::bare(port.parse()?, count.parse()?, std::fs::read(file)?.into()).await,
        _ => Err("see the head of tests/bench/mqtt_load/main.rs".into()),
    }
}

#[expect(clippy::print_stdout, reason = "the driver reads it")]
fn say(line: &str) {
    println!("{line}");
}

/// The lines of the standard input, read by a thread of its own.
fn lines() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
