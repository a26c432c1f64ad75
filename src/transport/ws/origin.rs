//! Which web pages may connect. A browser sends its user's credentials along with any page's connection and says which
//! page it was; whoever sends no Origin is no browser and passes.

use axum::http::HeaderValue;
use std::sync::Arc;
use url::{Host, Url};

/// The pages that may connect.
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

    /// Whether a page of this origin may connect.
    #[must_use]
    pub fn admits(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin else { return true };
        self.listed.contains(origin) || (self.loopback == Loopback::Admitted && is_loopback(origin))
    }
}

fn is_loopback(origin: &HeaderValue) -> bool {
    let url = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
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
}
