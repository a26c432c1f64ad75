//! HTTPS for the API server, which asks whether a resource may be applied: a body in, an answer out.
//!
//! It stands between the network and whoever judges, of which it knows a function. Anybody in the cluster may well reach it, so that
//! connections, bodies and the times of both have bounds; there is nothing to be learned here but what is wrong with what was sent.

mod certificate;

pub use certificate::{Certificate, Files, Problem};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, error};

/// Where the API server asks.
pub const PATH: &str = "/admit";
/// The API server takes requests of 3 MiB, and a review has the resource as it was as well, which etcd has in 1.5 MiB.
const LONGEST_BODY: usize = 4 << 20;
/// Connections that are open at once; others wait, and bodies take no more memory than these have.
const CONNECTIONS: usize = 32;
/// Resources that are judged at once: a body takes many times its length while it is read.
const JUDGED: usize = 2;
/// How long a client may take for the beginning of TLS, and for a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may wait for a request and its head. API servers keep connections, and open others.
const IDLE: Duration = Duration::from_mins(1);
/// How long taking connections rests when that fails.
const REST: Duration = Duration::from_millis(100);
/// How long what has begun may take when the end has come.
const END: Duration = Duration::from_secs(2);

/// Judges a body: the answer, as JSON, or words for whoever sent something else.
pub type Judge = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// Takes connections and answers until the end, and then what has begun, for a little while.
pub async fn serve(listener: TcpListener, certificate: Certificate, judge: Judge, end: CancellationToken) -> Result<(), Problem> {
    let acceptor = TlsAcceptor::from(Arc::new(certificate.config()?));
    let tasks = TaskTracker::new();
    let judging = Judging { judge, turns: Arc::new(Semaphore::new(JUDGED)), tasks: tasks.clone() };
    let router = Router::new().route(PATH, post(answer)).with_state(judging);
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let taking = async {
        loop {
            // Never closed, so that there is always one to wait for.
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    error!(%error, "connections of the API server can't be taken");
                    sleep(REST).await;
                    continue;
                }
            };
            let (acceptor, router, end) = (acceptor.clone(), router.clone(), end.clone());
            tasks.spawn(async move {
                connection(stream, acceptor, router, end).await;
                drop(seat);
            });
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = taking => {}
        never = certificate.follow() => match never {},
    }
    drop(listener);
    tasks.close();
    _ = timeout(END, tasks.wait()).await;
    Ok(())
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, end: CancellationToken) {
    let Ok(entered) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let stream = match entered {
        Ok(stream) => stream,
        // A port scan and a stranger to the certificate look the same.
        Err(error) => return debug!(%error, "TLS did not begin"),
    };
    let service =
        service_fn(move |request: axum::http::Request<hyper::body::Incoming>| router.clone().oneshot(request.map(Body::new)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = end.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection of the API server broke");
    }
}

/// Whoever judges, and how many at once.
#[derive(Clone)]
struct Judging {
    judge: Judge,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

async fn answer(State(judging): State<Judging>, request: Request) -> Response<Body> {
    let body = match timeout(PATIENCE, Limited::new(request.into_body(), LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return words(StatusCode::PAYLOAD_TOO_LARGE, format!("a review may have {LONGEST_BODY} bytes"));
        }
        Ok(Err(error)) => return words(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}")),
        Err(_) => return words(StatusCode::REQUEST_TIMEOUT, "the body took too long".to_owned()),
    };
    // On a thread of its own, since an expression can take a while to be read.
    let Ok(_turn) = judging.turns.acquire().await else {
        return words(StatusCode::SERVICE_UNAVAILABLE, "the operator ends".to_owned());
    };
    match judging.tasks.spawn_blocking(move || (judging.judge)(&body)).await {
        Ok(Ok(review)) => respond(StatusCode::OK, "application/json", review.into()),
        Ok(Err(reason)) => words(StatusCode::BAD_REQUEST, reason),
        Err(error) => {
            error!(%error, "a resource could not be judged");
            words(StatusCode::INTERNAL_SERVER_ERROR, "the resource could not be judged; the operator's log says why".to_owned())
        }
    }
}

fn words(status: StatusCode, reason: String) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", reason.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
