//! The image as it goes to a registry: small, of nobody, and nothing in it but what the Dockerfile says.

use super::release::told;
use crate::support::process::Finish;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// What all files of the image may come to.
const MOST_BYTES: u64 = 64 << 20;

/// A member of an archive.
fn member(archive: &str, name: &str) -> Vec<u8> {
    let output = Command::new("tar").args(["--extract", "--to-stdout", "--file", archive, name]).finished();
    assert!(output.status.success(), "{name} of {archive}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn json_of(archive: &str, name: &str) -> Value {
    serde_json::from_slice(&member(archive, name)).expect("JSON")
}

/// The files of a layer, each with its permissions and its size; folders are left out.
fn files(layer: &[u8]) -> BTreeMap<String, (String, u64)> {
    let mut command = Command::new("tar");
    command.args(["--list", "--verbose", "--file", "-"]);
    let output = command.fed(layer);
    assert!(output.status.success());
    let line = |line: &str| {
        let [mode, _, size, _, _, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        (!mode.starts_with('d'))
            .then(|| (name.trim_start_matches("./").to_owned(), (mode.to_owned(), size.parse().expect("a size"))))
    };
    String::from_utf8(output.stdout).expect("UTF-8").lines().filter_map(line).collect()
}

#[test]
#[ignore = "it takes an image, which tests/run makes with buildah"]
#[expect(clippy::print_stderr, reason = "how large it is is for whoever runs it")]
fn the_image_is_small_and_of_nobody() {
    let archive = told("TEST_IMAGE");
    let manifest = json_of(&archive, "manifest.json").as_array_mut().expect("a list").remove(0);
    let config = json_of(&archive, manifest["Config"].as_str().expect("a name"));
    let config = &config["config"];
    // By number, so that Kubernetes sees that it is not root.
    let user = config["User"].as_str().expect("a user");
    for number in user.split(':') {
        assert!(number.parse::<u32>().is_ok_and(|number| number > 0), "the user is {user}");
    }
    assert_eq!(config["Entrypoint"], json!(["/resolvespec"]));
    let layers = manifest["Layers"].as_array().expect("a list");
    let mut all = BTreeMap::new();
    for layer in layers {
        all.extend(files(&member(&archive, layer.as_str().expect("a name"))));
    }
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["etc/ssl/certs/ca-certificates.crt", "resolvespec"], "no shell and no library");
    for (name, (mode, _)) in &all {
        assert!(mode.starts_with('-') && !mode.contains(['s', 't', 'S', 'T']), "{name}: {mode}");
        assert_eq!(mode.as_bytes()[8], b'-', "{name} can be written by everybody: {mode}");
    }
    let bytes: u64 = all.values().map(|(_, size)| size).sum();
    eprintln!("the image has {} KiB", bytes >> 10);
    assert!(bytes <= MOST_BYTES, "the image has {bytes} bytes");
}
