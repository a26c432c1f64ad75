//! What `helm install` says in the end: every command in it is one that a shell, kubectl and helm can read, and is about something
//! that the release has.

use super::cluster::{Namespace, kubectl, wait_for_kind};
use super::{EXAMPLES, RELEASE, chart, of_kind, render_in, resources, text};
use crate::operator::stage::KINDS;
use crate::support::process::Finish;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the release says. Helm says it to whoever installs only, so a copy of the chart has it as a text of a resource as well.
fn notes(namespace: &str, example: &str, more: &[&str]) -> String {
    let copy = std::env::temp_dir().join(format!("resolvespec-notes-chart-{}-{example}", std::process::id()));
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(&copy).status().expect("cp runs");
    assert!(copied.success());
    std::fs::copy(copy.join("templates/NOTES.txt"), copy.join("files/notes.txt")).expect("copied");
    let shown = "templates/zz-notes.yaml";
    std::fs::write(copy.join(shown), "notes: {{ tpl (.Files.Get \"files/notes.txt\") . | toJson }}\n").expect("written");
    let values = copy.join(format!("ci/{example}-values.yaml")).display().to_string();
    let place = copy.display().to_string();
    let mut arguments = vec!["template", RELEASE, &place, "--namespace", namespace, "--kube-version", "1.34"];
    arguments.extend(["--values", &values, "--show-only", shown]);
    arguments.extend(more.iter().flat_map(|one| ["--set", one]));
    let output = super::helm(&arguments);
    _ = std::fs::remove_dir_all(&copy);
    let said = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert!(output.status.success(), "{example}: {}", said(&output.stderr));
    let resource: Value = serde_saphyr::from_str(&said(&output.stdout)).expect("YAML");
    text(&resource["notes"]).to_owned()
}

/// One command as its program gets it.
#[derive(Debug)]
struct Said {
    words: Vec<String>,
    input: String,
}

/// A folder with programs that write down how they are called.
struct Recorders(PathBuf);

impl Recorders {
    const PROGRAMS: [&str; 4] = ["kubectl", "helm", "curl", "open"];

    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("resolvespec-notes-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for program in Self::PROGRAMS {
            let file = folder.join(program);
            // Words end with a zero, and what comes in after another one.
            let text = format!(
                "#!/bin/bash\nfile=$(mktemp {folder}/said.XXXXXX)\nprintf '%s\\0' {program} \"$@\" >$file.words\n\
                 [[ \" $* \" != *' -f - '* ]] || cat >$file.input\n",
                folder = folder.display()
            );
            std::fs::write(&file, text).expect("a file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
        }
        Self(folder)
    }

    /// Runs a script, by a shell that ends at the first fault.
    fn run(&self, script: &str) -> Vec<Said> {
        let mut command = Command::new("bash");
        command.args(["-eu"]).env("PATH", format!("{}:/usr/bin:/bin", self.0.display())).env("TOKEN", "a.b.c");
        let output = command.fed(format!("{script}\nwait\n"));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaint.is_empty(), "{complaint}\n{script}");
        let files = std::fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry").path());
        let words = files.filter(|file| file.extension().is_some_and(|end| end == "words"));
        words.map(|file| said(&file)).collect()
    }
}

impl Drop for Recorders {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(file: &Path) -> Said {
    let words = std::fs::read_to_string(file).expect("UTF-8");
    let words = words.trim_end_matches('\0').split('\0').map(ToOwned::to_owned).collect();
    Said { words, input: std::fs::read_to_string(file.with_extension("input")).unwrap_or_default() }
}

/// What is indented is to be typed, and as it stands there: nobody takes two spaces away who copies it.
fn script(notes: &str) -> String {
    notes.lines().filter(|line| line.starts_with("  ")).fold(String::new(), |script, line| script + line + "\n")
}

#[test]
fn every_command_is_one() {
    // Others change the kinds, and must not meanwhile.
    let _kinds = KINDS.blocking_read();
    let namespace = Namespace::new();
    for kind in resources(&super::read("crds/resolvespec.yaml")) {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager", "tests", "-f", "-"];
        kubectl(&arguments, Some(&kind));
        wait_for_kind(text(&kind["metadata"]["name"]));
    }
    let name = namespace.0.as_str();
    let watched = format!("operator.watchNamespaces={{{name}}}");
    for example in EXAMPLES {
        let notes = notes(name, example, &[&watched]);
        assert!(!notes.contains("<no value>") && !notes.contains("%!"), "{notes}");
        let rendered = resources(&render_in(name, example, &[&watched]).expect("rendered"));
        let recorders = Recorders::new(example);
        let all = recorders.run(&script(&notes));
        let programs = |program: &str| all.iter().filter(|said| said.words[0] == program).count();
        assert!(programs("kubectl") >= 6 && programs("helm") >= 2 && programs("curl") == 1, "{example}: {all:#?}");
        for said in &all {
            is_good(said, name, &rendered);
        }
        // Each line that has to be typed is one of them, and no other is hidden in words.
        for program in Recorders::PROGRAMS {
            let begins = |line: &&str| line.trim_start_matches(['\'', '|', ' ']).split(' ').next() == Some(program);
            assert_eq!(programs(program), script(&notes).lines().filter(begins).count(), "{program} of {example}");
        }
    }
}

fn is_good(said: &Said, namespace: &str, rendered: &[Value]) {
    let words: Vec<&str> = said.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["kubectl", "-n", place, rest @ ..] => {
            assert_eq!(*place, namespace, "{words:?}");
            kubectl_is_good(rest, said, namespace, rendered);
        }
        ["helm", "-n", place, "test" | "uninstall", release] => assert_eq!((*place, *release), (namespace, RELEASE)),
        ["curl", "-s", url, rest @ ..] => {
            assert!(url.starts_with("http://127.0.0.1:8080/api/"), "{url}");
            let body = rest.iter().position(|word| *word == "-d").map(|place| rest[place + 1]).expect("a body");
            let body: Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["operation"], "read");
        }
        ["open", url] => assert!(url.starts_with("http://127.0.0.1:8080/"), "{url}"),
        other => panic!("nobody knows {other:?}"),
    }
}

fn kubectl_is_good(rest: &[&str], said: &Said, namespace: &str, rendered: &[Value]) {
    let has =
        |kind: &str, name: &str| assert!(of_kind(rendered, kind).any(|one| text(&one["metadata"]["name"]) == name), "{rest:?}");
    // What changes something is tried and not done.
    let try_it = |input: Option<&Value>| {
        let mut arguments = vec!["-n", namespace];
        arguments.extend(rest);
        arguments.push("--dry-run=server");
        kubectl(&arguments, input)
    };
    match rest {
        ["rollout", "status", what] => has("Deployment", what.strip_prefix("deployment/").expect("a deployment")),
        ["port-forward", what, port] => {
            let service = what.strip_prefix("service/").expect("a service");
            has("Service", service);
            let ports = of_kind(rendered, "Service").filter(|one| text(&one["metadata"]["name"]) == service);
            let ports: Vec<&Value> = ports.flat_map(|one| super::list(&one["spec"]["ports"])).map(|one| &one["port"]).collect();
            assert!(ports.iter().any(|one| one.to_string() == **port), "{ports:?}");
        }
        ["create", "secret", ..] | ["delete", ..] => _ = try_it(None),
        ["apply", "-f", "-"] => {
            for resource in resources(&said.input) {
                try_it(Some(&resource));
            }
        }
        ["get", ..] => {
            let mut arguments = vec!["-n", namespace];
            arguments.extend(rest);
            kubectl(&arguments, None);
        }
        other => panic!("nobody knows {other:?}"),
    }
}
