//! What the pods are told is what the program takes: every variable is one of its own, every value that names a flag is one.

use super::{EXAMPLES, list, pods, read, render, resources, text};
use crate::support::process::Finish;
use serde_json::Value;
use std::process::Command;

fn help(subcommand: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_resolvespec")).args([subcommand, "--help"]).finished();
    assert!(output.status.success(), "{subcommand}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn takes(help: &str, variable: &str) -> bool {
    [']', '='].iter().any(|end| help.contains(&format!("[env: {variable}{end}")))
}

#[test]
fn variables_are_settings_of_the_program() {
    for example in EXAMPLES {
        let rendered = render(example, &["replicas.extraEnv=null"]);
        let resources = resources(&rendered);
        for (whose, _, spec) in pods(&resources) {
            for container in list(&spec["containers"]).iter().filter(|one| one["args"].is_array()) {
                let subcommand = text(&container["args"][0]);
                if !["serve", "operator", "release"].contains(&subcommand) {
                    continue;
                }
                let help = help(subcommand);
                let names: Vec<&str> = list(&container["env"]).iter().map(|variable| text(&variable["name"])).collect();
                let strange: Vec<&&str> = names.iter().filter(|name| !takes(&help, name)).collect();
                assert!(strange.is_empty(), "{whose} of {example} has {strange:?}, which {subcommand} does not take");
                let mut once = names.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), names.len(), "{whose} of {example} has a variable twice: {names:?}");
            }
        }
    }
}

#[test]
fn flags_that_values_name_are_flags() {
    let schema: Value = serde_json::from_str(&read("charts/resolvespec/values.schema.json")).expect("JSON");
    let flags = schema["properties"]["replicas"]["properties"]["settings"]["properties"].as_object().expect("an object").clone();
    let help = help("serve");
    assert!(flags.len() > 20, "{flags:?}");
    for flag in flags.keys() {
        assert!(help.contains(&format!("--{flag} ")), "--{flag} is no flag of serve");
        let variable = format!("RESOLVESPEC_{}", flag.to_uppercase().replace('-', "_"));
        assert!(takes(&help, &variable), "--{flag} is not {variable}");
    }
}

#[test]
fn every_limit_of_the_program_can_be_set() {
    let schema: Value = serde_json::from_str(&read("charts/resolvespec/values.schema.json")).expect("JSON");
    let flags = &schema["properties"]["replicas"]["properties"]["settings"]["properties"];
    let help = help("serve");
    let limits = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(" <")).map(|(flag, _)| flag);
    let limits = limits.filter(|flag| ["http-", "http2-", "ws-", "max-"].iter().any(|start| flag.starts_with(start)));
    let missing: Vec<&str> = limits.filter(|flag| flags.get(flag).is_none()).collect();
    assert!(missing.is_empty(), "replicas.settings lacks {missing:?}");
}
