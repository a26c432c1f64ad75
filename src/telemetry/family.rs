//! One metric with its name, its help and its labels, of whichever kind.
//!
//! The `families` macro makes a struct of them, so that the comment on a field is also the help text that a scraper gets.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// A metric that can be made from its description.
pub(super) trait Family: Collector + Clone + Sized + 'static {
    fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

/// Declares the metrics as `field: Kind = "name" { "label", … };`.
macro_rules! families {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty = $name:literal { $($label:literal),* };)+) => {
        /// Every metric of the service; the comments are their help texts.
        pub(super) struct Families {
            pub(super) registry: prometheus::Registry,
            $($(#[doc = $help])+ pub(super) $field: $kind,)+
        }

        impl Families {
            /// The name and the help text of every metric, for documents made from this table.
            pub(super) const DESCRIPTIONS: &[(&str, &str)] = &[$(($name, concat!($($help),+).trim_ascii()),)+];

            pub(super) fn new() -> prometheus::Result<Self> {
                let registry = prometheus::Registry::new();
                $(
                    let $field = <$kind as Family>::new($name, concat!($($help),+).trim_ascii(), &[$($label),*])?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { registry, $($field,)+ })
            }
        }
    };
}
pub(super) use families;

/// From half a millisecond, as long as a small read takes, to the usual deadline of a request.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Family for IntCounter {
    fn new(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Family for IntCounterVec {
    fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Family for IntGauge {
    fn new(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Family for IntGaugeVec {
    fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Family for HistogramVec {
    fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
    }
}
