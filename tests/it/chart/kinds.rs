//! The chart brings the kinds as the program prints them, and keeps them.

use super::{of_kind, read, render, resources};

#[test]
fn the_chart_has_the_kinds_of_the_program() {
    let advice = "cp crds/resolvespec.yaml charts/resolvespec/files/crds.yaml";
    assert!(read("crds/resolvespec.yaml") == read("charts/resolvespec/files/crds.yaml"), "they differ: {advice}");
}

#[test]
fn kinds_are_rendered_unchanged_and_kept() {
    let rendered = resources(&render("minimal", &[]));
    let committed = resources(&read("crds/resolvespec.yaml"));
    let mut kinds: Vec<_> = of_kind(&rendered, "CustomResourceDefinition").cloned().collect();
    assert_eq!(kinds.len(), 3);
    for kind in &mut kinds {
        let annotations = kind["metadata"].as_object_mut().expect("an object").remove("annotations").expect("annotations");
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        assert!(committed.contains(kind), "{} is not the committed one", kind["metadata"]["name"]);
    }
    let without = resources(&render("minimal", &["crds.install=false"]));
    assert_eq!(of_kind(&without, "CustomResourceDefinition").count(), 0);
}
