//! What `tests/bench/live` measures with: clients by the thousand, a bare broadcast to compare with, and a writer whose
//! commits are timed. It says what it sees on its standard output, and measures nothing of the service itself.
//!
//! - `clients ADDRESS COUNT COLUMN`: connects and subscribes so many, each to a value of the column or, for `-`, all to
//!   everything; then obeys `hear N`, `show` and the end of its input.
//! - `churn ADDRESS COUNT COLUMN`: connects, subscribes and leaves, so many times.
//! - `bare COUNT FILE`: a bare broadcast; then obeys `send N`.
//! - `latency ADDRESS DATABASE_URL RATE SECONDS`: prints percentiles of commit to notification.

mod bare;
mod client;
mod crowd;
mod latency;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The service's own allocator, so that the bare broadcast has no better or worse one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["clients", address, count, column] => crowd::hear(address.parse()?, count.parse()?, column).await,
        ["churn", address, count, column] => crowd::churn(address.parse()?, count.parse()?, column).await,
        ["bare", count, file] => bare::serve(count.parse()?, std::fs::read_to_string(file)?).await,
        ["latency", address, url, rate, seconds] => {
            latency::measure(address.parse()?, url, rate.parse()?, seconds.parse()?).await
        }
        _ => Err("see the head of tests/bench/live_load/main.rs".into()),
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
