//! Which web pages may call, and by which names a service may be called.
//!
//! A browser lets every page of the web send requests to wherever its user can: to this machine, and behind the firewall. It says
//! which page it was; whoever sends no Origin is no browser and passes.

use axum::http::HeaderValue;
use axum::http::uri::Authority;
use std::net::IpAddr;
use std::sync::Arc;
use url::{Host, Url};

/// The pages that may call.
#[derive(Debug, Clone)]
pub struct Origins {
    listed: Arc<[HeaderValue]>,
    loopback: Loopback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loopback {
    Admitted,
    Refused,
}

impl Origins {
    /// These, and no others.
    #[must_use]
    pub fn listed(listed: Arc<[HeaderValue]>) -> Self {
        Self { listed, loopback: Loopback::Refused }
    }

    /// These, and every page of this machine.
    #[must_use]
    pub fn with_loopback(self) -> Self {
        Self { loopback: Loopback::Admitted, ..self }
    }

    /// Whether a page of this origin may call.
    #[must_use]
    pub fn admits(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin else { return true };
        self.listed.contains(origin) || (self.loopback == Loopback::Admitted && is_loopback(origin))
    }

    /// Whether a page of this origin may call a service by this name; one that came from there itself may.
    #[must_use]
    pub fn admits_at(&self, host: Option<&HeaderValue>, origin: Option<&HeaderValue>) -> bool {
        self.admits(origin) || host.zip(origin).is_some_and(|(host, origin)| is_at(host, origin))
    }
}

fn is_loopback(origin: &HeaderValue) -> bool {
    let url = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
    url.as_ref().and_then(Url::host).is_some_and(|host| is_of_this_machine(&host))
}

/// Whether an origin is that host and port; a proxy may have ended TLS in between.
fn is_at(host: &HeaderValue, origin: &HeaderValue) -> bool {
    let origin = origin.as_bytes();
    let named = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    named.is_some_and(|named| named.eq_ignore_ascii_case(host.as_bytes()))
}

fn is_of_this_machine<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost" || name.as_ref().ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// The names by which a service may be called. A page can have its own name lead to this machine (DNS rebinding), and its browser
/// takes whatever answers there for the page's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Any: what serves others is reached by names that it does not know.
    Any,
    /// Those of this machine, and the address where it listens.
    OfThisMachine(IpAddr),
}

impl Hosts {
    /// Whether it may be called by the name in a Host header; browsers always send one.
    #[must_use]
    pub fn admits(self, host: Option<&HeaderValue>) -> bool {
        let (Hosts::OfThisMachine(own), Some(host)) = (self, host) else { return true };
        let authority = Authority::try_from(host.as_bytes()).ok();
        let host = authority.and_then(|authority| Host::parse(authority.host()).ok());
        host.is_some_and(|host| is_of_this_machine(&host) || is_address(&host, own))
    }
}

fn is_address(host: &Host, address: IpAddr) -> bool {
    match host {
        Host::Domain(_) => false,
        Host::Ipv4(host) => *host == address,
        Host::Ipv6(host) => *host == address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origins: &Origins, origin: &'static str) -> bool {
        origins.admits(Some(&HeaderValue::from_static(origin)))
    }

    #[test]
    fn a_page_is_admitted_by_its_exact_origin() {
        let origins = Origins::listed(Arc::new([HeaderValue::from_static("https://example.com")]));
        assert!(origins.admits(None), "no browser");
        assert!(admits(&origins, "https://example.com"));
        for other in
            ["http://example.com", "https://example.com.evil.test", "https://example.com:8443", "null", "http://localhost"]
        {
            assert!(!admits(&origins, other), "{other}");
        }
    }

    #[test]
    fn every_page_of_this_machine_can_be_admitted() {
        let origins = Origins::listed(Arc::new([])).with_loopback();
        for own in ["http://localhost:5173", "https://app.localhost", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            assert!(admits(&origins, own), "{own}");
        }
        for other in ["https://example.com", "http://localhost.example.com", "http://10.0.0.1", "null", "file://"] {
            assert!(!admits(&origins, other), "{other}");
        }
    }

    #[test]
    fn a_page_that_the_service_served_may_call_it() {
        let origins = Origins::listed(Arc::new([]));
        let at = |host: &'static str, origin: &'static str| {
            origins.admits_at(Some(&HeaderValue::from_static(host)), Some(&HeaderValue::from_static(origin)))
        };
        assert!(at("api.example:8080", "http://api.example:8080") && at("API.example", "https://api.example"));
        for other in ["http://api.example", "http://api.example:80800", "https://evil.example", "null", "api.example:8080"] {
            assert!(!at("api.example:8080", other), "{other}");
        }
        assert!(origins.admits_at(None, None), "no browser");
        assert!(!origins.admits_at(None, Some(&HeaderValue::from_static("https://evil.example"))));
    }

    #[test]
    fn a_service_of_this_machine_is_called_by_its_names() {
        let hosts = Hosts::OfThisMachine([192, 0, 2, 7].into());
        let admits = |host: &'static str| hosts.admits(Some(&HeaderValue::from_static(host)));
        for own in ["localhost", "LOCALHOST:8080", "app.localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "192.0.2.7:8080"]
        {
            assert!(admits(own), "{own}");
        }
        for other in ["evil.example:8080", "localhost.evil.example", "192.0.2.8", "0.0.0.0:8080", "[::2]", "x y", ""] {
            assert!(!admits(other), "{other}");
        }
        assert!(hosts.admits(None), "no browser");
        assert!(Hosts::Any.admits(Some(&HeaderValue::from_static("evil.example"))));
    }
}
