//! The MQTT broker that `dev` runs inside the process, so that nothing has to be installed.
//!
//! It is a broker like any other: the service connects to it over TCP as to one elsewhere. It holds everything in memory. `access` is who may use which topic, `retained` and `sharing`
//! are what the library leaves to its user, `takeover` and `lines` what it loses when a client comes back.

mod access;
mod lines;
mod retained;
mod sharing;
mod takeover;

use access::{Access, Secret};
use lines::Lines;
use rmqtt::context::ServerContext;
use rmqtt::hook::Type;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;
use takeover::Sessions;

/// Clients that may be connected at once.
const MAX_CONNECTIONS: usize = 1_000;
/// What a packet has beside its message: topic and properties.
const BESIDE_MESSAGE: usize = 64 * 1024;
/// Messages that wait for a client; the oldest are given up beyond it.
const MAX_WAITING: usize = 10_000;
/// Messages that a client has and has not acknowledged.
const MAX_UNACKNOWLEDGED: NonZeroU16 = NonZeroU16::new(256).expect("not 0");
/// Subscriptions of a client.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// How long a session without a client, and a message for it, are kept.
const KEPT: Duration = Duration::from_hours(24);

/// A broker that has its port and does not listen yet.
pub struct Broker {
    server: MqttServer,
    address: SocketAddr,
    secret: Secret,
}

impl Broker {
    /// Takes the port. Clients may use the topics below the prefix and their own name.
    pub async fn bind(listen: SocketAddr, prefix: &str, max_message_bytes: usize) -> io::Result<Self> {
        // A machine that is busy with something else is no reason to refuse a client.
        let context = ServerContext::new().busy_check_enable(false).task_exec_workers(64).build().await;
        let access = Access::new(prefix);
        let secret = access.secret().clone();
        let hooks = context.extends.hook_mgr().register();
        for kind in [Type::ClientAuthenticate, Type::ClientSubscribeCheckAcl, Type::MessagePublishCheckAcl] {
            hooks.add(kind, Box::new(access.clone())).await;
        }
        let lines = Lines::default();
        for kind in [Type::MessageDelivered, Type::MessageAcked, Type::SessionTerminated] {
            hooks.add(kind, Box::new(lines.clone())).await;
        }
        hooks.start().await;
        *context.extends.shared_mut().await = Box::new(Sessions::new(&context, lines));
        *context.extends.retain_mut().await = Box::new(retained::Retained::default());
        *context.extends.shared_subscription_mut().await = Box::new(sharing::Turns::default());
        let listener = Builder::new()
            .name("dev")
            .laddr(listen)
            .reuseaddr(Some(true))
            .nodelay(true)
            // Everybody is asked about by the hooks, those without a name too.
            .allow_anonymous(false)
            .max_connections(MAX_CONNECTIONS)
            .max_packet_size(u32::try_from(max_message_bytes + BESIDE_MESSAGE).unwrap_or(u32::MAX))
            .max_mqueue_len(MAX_WAITING)
            .max_inflight(MAX_UNACKNOWLEDGED)
            .max_subscriptions(MAX_SUBSCRIPTIONS)
            .session_expiry_interval(KEPT)
            .max_session_expiry_interval(KEPT)
            .message_expiry_interval(KEPT)
            .bind()
            .and_then(rmqtt::net::Listener::tcp)
            .map_err(into_io)?;
        let address = listener.local_addr().map_err(into_io)?;
        let server = MqttServer::new(context).listener_by_id(listener, 1).build();
        Ok(Self { server, address, secret })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The only name and password that may use every topic: those of the service.
    #[must_use]
    pub fn service(&self) -> (&str, &str) {
        (&self.secret.user, &self.secret.password)
    }

    /// Serves for as long as it is polled; clients that are connected by then go on until the process ends.
    pub async fn run(self) -> io::Result<()> {
        self.server.run().await.map_err(into_io)
    }
}

/// The error of the system below the library's own, which tells whether a port is taken.
fn into_io(error: rmqtt::Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(io::Error::other)
}
