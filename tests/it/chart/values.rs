//! The schema of values is closed and complete: what is misspelled is refused, and what can be set is in values.yaml.

use super::{list, read, try_render};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&read("charts/resolvespec/values.schema.json")).expect("JSON")
}

/// Every part of the schema that names properties, with its path.
fn objects<'s>(path: &str, part: &'s Value, found: &mut Vec<(String, &'s Value)>) {
    let Some(properties) = part["properties"].as_object() else { return };
    found.push((path.to_owned(), part));
    for (name, property) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        objects(&path, property, found);
        objects(&path, &property["items"], found);
    }
}

#[test]
fn every_object_is_closed() {
    let schema = schema();
    let mut found = Vec::new();
    objects("", &schema, &mut found);
    assert!(found.len() > 30, "{} objects", found.len());
    let open: Vec<&String> =
        found.iter().filter(|(_, part)| part["additionalProperties"] != false).map(|(path, _)| path).collect();
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn what_is_misspelled_is_refused() {
    let schema = schema();
    let mut found = Vec::new();
    objects("", &schema, &mut found);
    let top = ["replica.count=2", "replicas.cuont=2", "nats.credentials.password=x", "replicas.settings.ws-max-conections=1"];
    for more in
        top.into_iter().chain(["monitoring.rules.errorrate=1", "gateway.parentRefs[0].names=x", "networkPolicy.egress.on=true"])
    {
        let error = try_render("minimal", &[more]).expect_err(more);
        assert!(error.contains("additional properties"), "{more}: {error}");
    }
}

#[test]
fn what_has_the_wrong_type_is_refused() {
    for more in
        ["replicas.count=many", "replicas.count=0", "nats.replicas=2", "image.pullPolicy=Sometimes", "operator.surveySeconds=0"]
    {
        assert!(try_render("minimal", &[more]).is_err(), "{more} is taken");
    }
}

#[test]
fn every_value_has_a_default_that_can_be_read() {
    let (schema, values): (Value, Value) =
        (schema(), serde_saphyr::from_str(&read("charts/resolvespec/values.yaml")).expect("YAML"));
    let mut found = Vec::new();
    objects("", &schema, &mut found);
    let mut missing = Vec::new();
    // Flags are told by `resolvespec serve --help`, and what is in lists by their comments.
    for (path, part) in found.iter().filter(|(path, _)| path != "replicas.settings" && !is_item(&schema, path)) {
        let place = path.split('.').filter(|step| !step.is_empty()).fold(&values, |at, step| &at[step]);
        let names = part["properties"].as_object().expect("an object").keys();
        missing.extend(names.filter(|name| *name != "global" && place.get(*name).is_none()).map(|name| format!("{path}.{name}")));
    }
    assert!(missing.is_empty(), "not in values.yaml: {missing:?}");
}

fn is_item(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        at = &at["properties"][step];
        if at["type"] == "array" || list(&at["type"]).iter().any(|one| one == "array") {
            return true;
        }
    }
    false
}
