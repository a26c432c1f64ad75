//! What `tests/bench/grpc` loads a service with: the same reads as calls of gRPC or as requests of REST, by one program, so
//! that both pay the same for their client. It says how many were answered, and measures nothing of the service itself.
//!
//!   grpc_load rest|rest2|grpc ADDRESS CONNECTIONS AT_ONCE SECONDS single|page USERS CITIES
//!
//! `rest` is HTTP/1.1, with one request at a time on a connection, and `rest2` is HTTP/2.

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use resolvespec::transport::grpc::proto::Message;
use resolvespec::transport::grpc::proto::message::Form;
use resolvespec::transport::grpc::proto::resolve_spec_client::ResolveSpecClient;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One way to the service.
#[derive(Clone)]
enum Way {
    Rest(Client<HttpConnector, Full<Bytes>>, String),
    Grpc(ResolveSpecClient<Channel>),
}

/// What is read.
#[derive(Clone, Copy)]
enum Question {
    Single { users: u64 },
    Page { cities: u64 },
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the driver reads it")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [way, address, connections, at_once, seconds, question, users, cities] = words[..] else {
        return Err("see the head of tests/bench/grpc_load.rs".into());
    };
    let (connections, at_once): (u64, u64) = (connections.parse()?, at_once.parse()?);
    let question = match question {
        "single" => Question::Single { users: users.parse()? },
        "page" => Question::Page { cities: cities.parse()? },
        other => return Err(format!("there is no question {other}").into()),
    };
    let mut ways = Vec::new();
    for _ in 0..connections {
        ways.push(connect(way, address).await?);
    }
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let tasks = TaskTracker::new();
    let asking = (0..connections * at_once).map(|number| {
        let way = ways[usize::try_from(number % connections).unwrap_or_default()].clone();
        tasks.spawn(ask_until(end, way, question, number))
    });
    let asking: Vec<_> = asking.collect();
    let mut answered = 0;
    for one in asking {
        answered += one.await??;
    }
    println!("{answered}");
    Ok(())
}

async fn connect(way: &str, address: &str) -> Outcome<Way> {
    let http = |two| {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client::builder(TokioExecutor::new()).http2_only(two).build(connector)
    };
    Ok(match way {
        "rest" => Way::Rest(http(false), format!("http://{address}/api/bench/users")),
        "rest2" => Way::Rest(http(true), format!("http://{address}/api/bench/users")),
        "grpc" => Way::Grpc(ResolveSpecClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)),
        other => return Err(format!("there is no way {other}").into()),
    })
}

async fn ask_until(end: Instant, mut way: Way, question: Question, seed: u64) -> Outcome<u64> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut answered = 0;
    while Instant::now() < end {
        let (key, options) = match question {
            Question::Single { users } => (Some(chance.u64(1..=users)), String::new()),
            Question::Page { cities } => {
                let city = chance.u64(0..cities);
                let filters = format!(r#"[{{"column":"city","operator":"eq","value":"City {city}"}}]"#);
                let options =
                    format!(r#","options":{{"filters":{filters},"sort":[{{"column":"id"}}],"limit":50,"skip_count":true}}"#);
                (None, options)
            }
        };
        let bytes = way.ask(key, &options).await?;
        if bytes < 50 {
            return Err("an answer is too short to be one".into());
        }
        answered += 1;
    }
    Ok(answered)
}

impl Way {
    /// Asks, and answers how long the answer is.
    async fn ask(&mut self, key: Option<u64>, options: &str) -> Outcome<usize> {
        match self {
            Way::Rest(client, base) => {
                let url = key.map_or_else(|| base.clone(), |key| format!("{base}/{key}"));
                let body = Full::from(format!(r#"{{"operation":"read"{options}}}"#));
                let request = Request::post(url).header("content-type", "application/json").body(body)?;
                let answer = client.request(request).await?;
                if !answer.status().is_success() {
                    return Err(format!("status {}", answer.status()).into());
                }
                Ok(answer.into_body().collect().await?.to_bytes().len())
            }
            Way::Grpc(client) => {
                let key = key.map_or_else(String::new, |key| format!(r#","record_id":{key}"#));
                let json = format!(r#"{{"operation":"read","schema":"bench","entity":"users"{key}{options}}}"#);
                let answer = client.call(Message { form: Some(Form::Json(json.into())) }).await?.into_inner();
                match answer.form {
                    Some(Form::Json(text)) => Ok(text.len()),
                    _ => Err("JSON is what was asked for".into()),
                }
            }
        }
    }
}
