//! Rights: the operator has those that it needs, and nobody else has any.

use super::{EXAMPLES, is_hook, list, name_of, of_kind, only, render, resources, text};
use serde_json::{Value, json};

fn rules(resources: &[Value]) -> Vec<(String, Value)> {
    let roles = resources.iter().filter(|one| one["kind"] == "Role" || one["kind"] == "ClusterRole");
    roles.flat_map(|role| list(&role["rules"]).iter().map(|rule| (name_of(role), rule.clone()))).collect()
}

#[test]
fn nothing_is_given_by_a_star() {
    for (example, more) in
        EXAMPLES.map(|example| (example, &[][..])).into_iter().chain([("minimal", &["operator.watchAllNamespaces=true"][..])])
    {
        let rendered = resources(&render(example, more));
        let rules = rules(&rendered);
        assert!(rules.len() >= 9, "{rules:?}");
        for (role, rule) in rules {
            for part in ["apiGroups", "resources", "verbs"] {
                assert!(!list(&rule[part]).contains(&json!("*")), "{role}: {rule}");
            }
            assert!(list(&rule["verbs"]).iter().all(|verb| verb != "delete" && verb != "deletecollection"), "{role}: {rule}");
        }
    }
}

#[test]
fn secrets_are_read_one_at_a_time() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for (role, rule) in rules(&rendered).iter().filter(|(_, rule)| list(&rule["resources"]).contains(&json!("secrets"))) {
            let verbs = list(&rule["verbs"]);
            assert!(verbs.iter().all(|verb| verb != "list" && verb != "watch"), "{role}: {rule}");
            let is_named = !list(&rule["resourceNames"]).is_empty();
            assert!(is_named || *verbs == [json!("get")], "{role} writes any Secret: {rule}");
        }
    }
    let full = resources(&render("full", &[]));
    let served = of_kind(&full, "Role").filter(|role| role["metadata"]["name"] == "shop-shop-api-operator-served");
    let rules: Vec<&Value> = served.flat_map(|role| list(&role["rules"])).collect();
    let secrets: Vec<&Value> = rules.into_iter().filter(|rule| list(&rule["resources"]).contains(&json!("secrets"))).collect();
    assert_eq!(secrets.len(), 2, "one in each namespace that is served");
    assert!(secrets.iter().all(|rule| rule["resourceNames"] == json!(["shop-database", "stock-database"])), "{secrets:?}");
}

#[test]
fn rights_reach_no_further_than_what_is_served() {
    let own = resources(&render("minimal", &[]));
    assert_eq!(of_kind(&own, "ClusterRole").count(), 0);
    assert!(of_kind(&own, "Role").all(|role| role["metadata"]["namespace"] == "shop"));
    let all = resources(&render("minimal", &["operator.watchAllNamespaces=true"]));
    let (last, others): (Vec<&Value>, Vec<&Value>) = of_kind(&all, "ClusterRole").partition(|role| is_hook(role));
    assert_eq!((others.len(), last.len()), (1, 1), "the operator's, and that of who lets sources go after it");
    let two = resources(&render("full", &[]));
    let namespaces = |is: bool| {
        let roles = of_kind(&two, "Role").filter(|role| is_hook(role) == is);
        let mut namespaces: Vec<&str> = roles.map(|role| text(&role["metadata"]["namespace"])).collect();
        namespaces.sort_unstable();
        namespaces
    };
    assert_eq!(namespaces(false), ["shop", "shop", "shop-staging"]);
    assert_eq!(namespaces(true), ["shop", "shop-staging"]);
}

#[test]
fn only_the_operator_is_bound() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        let account = match example {
            "full" => "shop-api-keeper",
            _ => "api-resolvespec-operator",
        };
        let last = if example == "full" { "shop-api-departure" } else { "api-resolvespec-departure" };
        for (bound, is) in [(account, false), (last, true)] {
            let bindings = rendered.iter().filter(|one| text(&one["kind"]).ends_with("RoleBinding") && is_hook(one) == is);
            let subjects: Vec<&Value> = bindings.flat_map(|binding| list(&binding["subjects"])).collect();
            assert!(!subjects.is_empty());
            for subject in subjects {
                assert_eq!(*subject, json!({"kind": "ServiceAccount", "name": bound, "namespace": "shop"}), "{example}");
            }
            assert_eq!(is_hook(only(&rendered, "ServiceAccount", bound)), is, "{bound} of {example}");
        }
    }
    let without = resources(&render("minimal", &["operator.enabled=false"]));
    assert!(rules(&without).is_empty());
    assert_eq!(of_kind(&without, "Secret").count(), 0);
}
