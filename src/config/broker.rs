//! The settings of the broker that `dev` runs.

use crate::cli::Error;
use clap::Args;
use std::net::SocketAddr;
use std::str::FromStr;

/// The settings of the broker that `dev` runs, as flag and variable.
#[derive(Debug, Clone, Default, Args)]
pub struct BrokerArgs {
    /// Where the MQTT broker of `dev` listens on loopback, or `off`. [default: 127.0.0.1:1883, or any port if that one is taken]
    #[arg(long = "mqtt-listen", env = "RESOLVESPEC_MQTT_LISTEN", value_name = "ADDRESS|off", help_heading = "MQTT")]
    listen: Option<Listen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    Off,
    At(SocketAddr),
}

/// Where a broker listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: there is none.
    Nowhere,
    /// There and nowhere else.
    Exactly(SocketAddr),
    /// There, or at another port if it is taken.
    Rather(SocketAddr),
}

const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1883);

impl BrokerArgs {
    /// Where to listen. Whoever names brokers elsewhere gets none here, and can't ask for both.
    pub fn place(&self, elsewhere: bool) -> Result<Place, Error> {
        match self.listen {
            Some(Listen::At(_)) if elsewhere => {
                Err(Error::new("--mqtt-listen runs a broker here and --mqtt-broker names one elsewhere; leave one of them out"))
            }
            Some(Listen::At(address)) => Ok(Place::Exactly(address)),
            Some(Listen::Off) => Ok(Place::Nowhere),
            None if elsewhere => Ok(Place::Nowhere),
            None => Ok(Place::Rather(USUAL)),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        let address: SocketAddr = text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:1883, or `off`")?;
        if !address.ip().is_loopback() {
            return Err("it is open to everybody who reaches it, so it listens on loopback alone".to_owned());
        }
        Ok(Listen::At(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(listen: Option<&str>, elsewhere: bool) -> Result<Place, String> {
        let listen = listen.map(str::parse).transpose()?;
        BrokerArgs { listen }.place(elsewhere).map_err(|_| "both".to_owned())
    }

    #[test]
    fn it_listens_where_it_is_told_and_rather_at_the_usual_port() {
        let other = SocketAddr::from(([127, 0, 0, 1], 1884));
        assert_eq!(place(None, false), Ok(Place::Rather(USUAL)));
        assert_eq!(place(None, true), Ok(Place::Nowhere));
        assert_eq!(place(Some("off"), false), Ok(Place::Nowhere));
        assert_eq!(place(Some("127.0.0.1:1884"), false), Ok(Place::Exactly(other)));
        assert_eq!(place(Some("127.0.0.1:1884"), true), Err("both".to_owned()));
        assert!(place(Some("0.0.0.0:1883"), false).is_err_and(|error| error.contains("loopback")));
        assert!(place(Some("1883"), false).is_err());
    }
}
