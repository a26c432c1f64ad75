//! The broker of `dev`: where it listens, how the service enters it, and what to try with it.

use crate::auth::Secret;
use crate::broker::Broker;
use crate::catalog::Entity;
use crate::cli::Error;
use crate::config::Place;
use crate::transport::mqtt::{Server, Settings, User};
use serde_json::json;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

/// A client id that the broker lets nobody else have.
const CLIENT_ID: &str = "$resolvespec";

/// A broker in this process that has its port.
pub(super) struct OwnBroker {
    broker: Broker,
    /// The port that it could not have.
    taken: Option<SocketAddr>,
}

/// Takes the port, or another one where that is allowed.
pub(super) async fn open(place: Place) -> Result<Option<OwnBroker>, Error> {
    let usual = Settings::new(Vec::new(), CLIENT_ID.to_owned());
    let bind = async |address| Broker::bind(address, &usual.prefix, usual.max_message_bytes).await;
    let refused = |address, error| Error::new(format!("the MQTT broker can't listen at {address}: {error}"));
    match place {
        Place::Nowhere => Ok(None),
        Place::Exactly(address) => {
            let broker = bind(address).await.map_err(|error| refused(address, error))?;
            Ok(Some(OwnBroker { broker, taken: None }))
        }
        Place::Rather(address) => match bind(address).await {
            Ok(broker) => Ok(Some(OwnBroker { broker, taken: None })),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let other = SocketAddr::new(address.ip(), 0);
                let broker = bind(other).await.map_err(|error| refused(other, error))?;
                Ok(Some(OwnBroker { broker, taken: Some(address) }))
            }
            Err(error) => Err(refused(address, error)),
        },
    }
}

impl OwnBroker {
    /// How the service enters it.
    pub(super) fn settings(&self) -> Settings {
        let address = self.broker.address();
        let (name, password) = self.broker.service();
        let server = Server {
            name: address.to_string(),
            host: address.ip().to_string(),
            port: address.port(),
            tls: None,
            user: Some(User { name: name.to_owned(), password: Secret::new(password) }),
        };
        Settings::new(vec![server], CLIENT_ID.to_owned())
    }

    /// Prints where it is and what to try.
    pub(super) fn welcome(&self, out: &mut impl Write, entity: &Entity) -> io::Result<()> {
        let address = self.broker.address();
        match self.taken {
            Some(taken) => writeln!(out, "\n{taken} is taken, so MQTT is at {address}. For example:\n")?,
            None => writeln!(out, "\nMQTT is at {address}. For example:\n")?,
        }
        let (host, port) = (address.ip(), address.port());
        let at = format!("-h {host} -p {port} -u me");
        let request = json!({
            "id": "1", "type": "request", "operation": "read", "schema": entity.schema, "entity": entity.name,
            "options": {"limit": 3},
        });
        // A quote would end the shell's text.
        let request = request.to_string().replace('\'', "'\\''");
        writeln!(out, "  mosquitto_sub {at} -q 1 -t 'spec/me/response' -t 'spec/me/notify/#' &")?;
        writeln!(out, "  mosquitto_pub {at} -q 1 -t 'spec/me/request' -m '{request}'\n")
    }

    /// Serves for as long as it is polled.
    pub(super) async fn run(self) -> Result<(), Error> {
        self.broker.run().await?;
        Err(Error::new("the MQTT broker has ended"))
    }
}
