//! The tree holds what ARCHITECTURE.md says: who knows which library, who imports whom, what every file begins with.

use std::fs;
use std::path::{Path, PathBuf};

/// A library and the parts that may know it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("async_nats", &["nats/", "event/bus/nats/", "store/nats"]),
    ("axum", &["transport/", "serve.rs", "ports.rs", "telemetry/", "auth/", "command/operator.rs"]),
    ("hyper", &["transport/"]),
    ("tungstenite", &["transport/ws/"]),
    ("tokio_rustls", &["transport/admission/"]),
    ("tonic", &["transport/grpc/"]),
    ("tonic_health", &["transport/grpc/"]),
    ("tonic_reflection", &["transport/grpc/"]),
    ("tonic_types", &["transport/grpc/"]),
    ("prost_types", &["transport/grpc/"]),
    ("rmqtt", &["broker/"]),
    ("tower", &["transport/"]),
    ("tower_http", &["transport/"]),
    ("tokio_postgres", &["database/"]),
    ("pgwire_replication", &["database/"]),
    ("sqlx", &["database/"]),
    ("rusqlite", &["database/"]),
    ("kube", &["manifest/", "catalog/compile/", "command/crds.rs", "operator/"]),
    ("k8s_openapi", &["manifest/", "operator/"]),
    ("clap", &["cli.rs", "config.rs", "config/", "main.rs", "telemetry/"]),
    ("prometheus", &["telemetry/"]),
    ("jsonwebtoken", &["auth/"]),
    ("notify", &["command/watch.rs"]),
    ("rumqttc_v4", &["transport/mqtt/wire/"]),
    ("rumqttc_v5", &["transport/mqtt/wire/"]),
];

/// A part and the parts that it may not import.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol/", &["manifest", "database", "catalog", "auth", "engine", "event", "transport", "serve", "command"]),
    ("manifest/", &["engine", "event", "transport", "serve", "command", "auth"]),
    ("database/", &["manifest", "catalog", "auth", "engine", "event", "transport", "serve", "command"]),
    ("catalog/", &["auth", "engine", "event", "transport", "serve", "command"]),
    ("auth/", &["manifest", "database", "catalog", "engine", "event", "transport", "serve", "command"]),
    ("engine/", &["manifest", "event", "transport", "serve", "command", "telemetry"]),
    ("nats/", &["manifest", "database", "catalog", "auth", "engine", "event", "store", "transport", "serve", "command"]),
    ("store/", &["manifest", "database", "catalog", "auth", "engine", "event", "transport", "serve", "command"]),
    ("event/", &["manifest", "transport", "serve", "command"]),
    (
        "broker/",
        &["manifest", "database", "catalog", "auth", "engine", "event", "store", "transport", "serve", "command", "config"],
    ),
    ("generation/", &["auth", "event", "transport", "serve", "command", "nats"]),
    ("operator/", &["engine", "transport", "serve", "command", "config", "nats", "cluster"]),
    ("readiness.rs", &["manifest", "database", "catalog", "auth", "engine", "event", "store", "transport", "serve", "command"]),
    ("transport/", &["manifest", "serve", "command", "database", "generation", "cluster"]),
    ("telemetry/", &["engine", "event", "transport", "serve", "command", "catalog", "database"]),
];

/// Lines that a source file may have; a flat table can have more, with its reason here.
const MAX_LINES: usize = 500;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    gather(&root, &mut files);
    let name = |path: &PathBuf| path.strip_prefix(&root).expect("below src").display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).expect("a readable file"))).collect()
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            gather(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_test(name: &str) -> bool {
    name.contains("test")
}

#[test]
fn every_file_says_what_it_is() {
    let bare: Vec<String> = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name).collect();
    assert!(bare.is_empty(), "these files do not begin with //!: {bare:?}");
}

#[test]
fn libraries_are_known_only_where_they_belong() {
    let mut faults = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        for (library, places) in LIBRARIES {
            let known = text.lines().any(|line| {
                let line = line.trim();
                !line.starts_with("//") && (line.contains(&format!("use {library}::")) || line.contains(&format!(" {library}::")))
            });
            if known && !places.iter().any(|place| name.starts_with(place)) {
                faults.push(format!("{name} knows {library}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn arrows_point_one_way() {
    let mut faults = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        for (part, forbidden) in ARROWS.iter().filter(|(part, _)| name.starts_with(part)) {
            for other in *forbidden {
                let imported = format!("crate::{other}::");
                let grouped = format!("crate::{other};");
                if text
                    .lines()
                    .any(|line| !line.trim().starts_with("//") && (line.contains(&imported) || line.contains(&grouped)))
                {
                    faults.push(format!("{name} in {part} imports {other}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn files_stay_short_enough_to_read() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| !is_test(name) && text.lines().count() > MAX_LINES)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_belongs_to_a_module() {
    let sources = sources();
    let declared = |name: &str| {
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let module = if stem == "mod" {
            Path::new(name).parent().and_then(Path::file_name).and_then(|stem| stem.to_str())
        } else {
            Some(stem)
        };
        let module = module.unwrap_or_default();
        stem == "main" || stem == "lib" || sources.iter().any(|(_, text)| text.contains(&format!("mod {module};")))
    };
    let orphans: Vec<&String> = sources.iter().map(|(name, _)| name).filter(|name| !declared(name)).collect();
    assert!(orphans.is_empty(), "no module declares {orphans:?}");
}
