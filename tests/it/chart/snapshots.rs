//! What the examples come to, as files: a change of a template shows what it changes.

use super::{EXAMPLES, chart, helm, render, repository};

#[test]
fn examples_render_as_committed() {
    let update = std::env::var_os("TEST_UPDATE_SNAPSHOTS").is_some();
    let mut changed = Vec::new();
    for example in EXAMPLES {
        // The kinds and the dashboard are files of their own.
        let rendered = render(example, &["crds.install=false", "monitoring.dashboard.enabled=false"]);
        let file = repository().join(format!("tests/it/chart/snapshots/{example}.yaml"));
        if update {
            std::fs::write(&file, &rendered).expect("the snapshot can be written");
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        let differs = committed.lines().zip(rendered.lines()).position(|(one, other)| one != other);
        if let Some(line) = differs.or((committed.lines().count() != rendered.lines().count()).then_some(0)) {
            let at = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
            changed.push(format!("{example}, line {}:\n- {}\n+ {}", line + 1, at(&committed), at(&rendered)));
        }
    }
    let advice = "if that is meant: TEST_UPDATE_SNAPSHOTS=1 ./tests/run -- --test it -- chart::snapshots";
    assert!(changed.is_empty(), "{}\n{advice}", changed.join("\n"));
}

#[test]
fn helm_lint_has_nothing_to_say() {
    let chart = chart();
    let place = chart.display().to_string();
    for example in EXAMPLES {
        let values = chart.join(format!("ci/{example}-values.yaml")).display().to_string();
        let output = helm(&["lint", "--strict", "--kube-version", "1.34", &place, "--values", &values]);
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
