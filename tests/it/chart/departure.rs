//! The end of a release: what lets DataSources go comes after everything else, has the least rights for it, and leaves nothing.

use super::{EXAMPLES, is_hook, list, name_of, of_kind, only, render, resources, text};
use serde_json::{Value, json};

fn last(resources: &[Value]) -> Vec<&Value> {
    resources.iter().filter(|one| one["metadata"]["annotations"]["helm.sh/hook"] == "post-delete").collect()
}

#[test]
fn it_comes_after_everything_else_and_leaves_nothing() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        let last = last(&rendered);
        let mut kinds: Vec<&str> = last.iter().map(|one| text(&one["kind"])).collect();
        kinds.dedup();
        assert!(["ServiceAccount", "Role", "RoleBinding", "Job"].iter().all(|kind| kinds.contains(kind)), "{example}: {kinds:?}");
        for one in last {
            let annotations = &one["metadata"]["annotations"];
            // One that fails stays, to be looked at.
            assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded", "{}", name_of(one));
            let weight = if one["kind"] == "Job" { Value::Null } else { json!("-1") };
            assert_eq!(annotations["helm.sh/hook-weight"], weight, "{} has its rights first", name_of(one));
        }
    }
    let without = resources(&render("minimal", &["operator.enabled=false"]));
    assert!(last(&without).is_empty(), "nobody holds anything");
}

#[test]
fn it_goes_where_the_operator_went_and_no_further() {
    let job = |rendered: &[Value]| {
        let container = of_kind(rendered, "Job").next().expect("a job")["spec"]["template"]["spec"]["containers"][0].clone();
        (container["args"].clone(), container["env"].clone())
    };
    let served = |names: &str| json!([{"name": "RESOLVESPEC_NAMESPACES", "value": names}]);
    assert_eq!(job(&resources(&render("minimal", &[]))), (json!(["release"]), served("shop")));
    assert_eq!(job(&resources(&render("full", &[]))), (json!(["release"]), served("shop,shop-staging")));
    let all = resources(&render("minimal", &["operator.watchAllNamespaces=true"]));
    assert_eq!(job(&all), (json!(["release", "--all-namespaces"]), Value::Null));
    let role = of_kind(&all, "ClusterRole").find(|role| is_hook(role)).expect("a role");
    assert_eq!(text(&role["metadata"]["name"]), "shop-api-resolvespec-departure");
}

#[test]
fn it_may_take_a_finalizer_off_and_say_so() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for role in of_kind(&rendered, "Role").filter(|role| is_hook(role)) {
            let rules = json!([
                {"apiGroups": ["resolvespec.dev"], "resources": ["datasources"], "verbs": ["list", "patch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
            ]);
            assert_eq!(role["rules"], rules, "{example}");
        }
    }
    // Whoever it is, it is no account of the release, which is gone by then.
    let full = resources(&render("full", &[]));
    let account = &of_kind(&full, "Job").next().expect("a job")["spec"]["template"]["spec"]["serviceAccountName"];
    assert!(is_hook(only(&full, "ServiceAccount", text(account))));
    assert!(!list(&of_kind(&full, "Job").next().expect("a job")["spec"]["template"]["spec"]["containers"]).is_empty());
}
