//! The settings of letting DataSources go.

use crate::telemetry::LogFormat;
use clap::Args;

/// Every setting of letting DataSources go, as flag and variable.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// A namespace whose DataSources are let go; can be repeated. The one that the kubeconfig or the pod is in unless given.
    #[arg(long = "namespace", env = "RESOLVESPEC_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Those of all namespaces.
    #[arg(long, conflicts_with = "namespaces")]
    pub all_namespaces: bool,
    /// What is logged, such as `info,resolvespec=debug`.
    #[arg(long, env = "RESOLVESPEC_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// How logs are written. [default: text]
    #[arg(long, env = "RESOLVESPEC_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}
