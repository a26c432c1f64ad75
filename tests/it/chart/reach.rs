//! Who reaches whom: Services find their pods and ports, routes find their Services, policies and budgets select what they say.

use super::{EXAMPLES, list, name_of, of_kind, only, pods, render, resources, text};
use serde_json::Value;

fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("a selector");
    assert!(!selector.is_empty());
    selector.iter().all(|(key, value)| labels[key] == *value)
}

/// The pods that a selector finds, none of which may be another component's.
fn found<'r>(resources: &'r [Value], selector: &Value) -> Vec<(String, &'r Value)> {
    pods(resources).into_iter().filter(|(_, labels, _)| selects(selector, labels)).map(|(whose, _, spec)| (whose, spec)).collect()
}

#[test]
fn services_find_one_kind_of_pods_and_their_ports() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        assert!(of_kind(&rendered, "Service").count() >= 3);
        for service in of_kind(&rendered, "Service") {
            let found = found(&rendered, &service["spec"]["selector"]);
            assert_eq!(found.len(), 1, "{} finds {found:?}", name_of(service));
            let ports = list(&found[0].1["containers"][0]["ports"]);
            for port in list(&service["spec"]["ports"]) {
                assert!(ports.iter().any(|one| one["name"] == port["targetPort"]), "{}: {port}", name_of(service));
            }
        }
    }
}

#[test]
fn budgets_policies_and_deployments_select_one_kind_of_pods() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for resource in &rendered {
            let selector = match text(&resource["kind"]) {
                "Deployment" | "StatefulSet" | "PodDisruptionBudget" => &resource["spec"]["selector"]["matchLabels"],
                "NetworkPolicy" => &resource["spec"]["podSelector"]["matchLabels"],
                _ => continue,
            };
            assert_eq!(found(&rendered, selector).len(), 1, "{} of {example}", name_of(resource));
        }
    }
}

#[test]
fn routes_find_their_service() {
    let rendered = resources(&render("full", &[]));
    let has = |name: &Value, port: &dyn Fn(&Value) -> bool| {
        list(&only(&rendered, "Service", text(name))["spec"]["ports"])
            .iter()
            .filter(|one| port(one))
            .map(|one| text(&one["name"]).to_owned())
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for route in rendered.iter().filter(|one| text(&one["kind"]).ends_with("Route")) {
        for backend in list(&route["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"])) {
            seen.push((text(&route["kind"]), has(&backend["name"], &|port| port["port"] == backend["port"])));
        }
    }
    for ingress in of_kind(&rendered, "Ingress") {
        for path in list(&ingress["spec"]["rules"]).iter().flat_map(|rule| list(&rule["http"]["paths"])) {
            let service = &path["backend"]["service"];
            seen.push((
                text(&ingress["metadata"]["name"]),
                has(&service["name"], &|port| port["name"] == service["port"]["name"]),
            ));
        }
    }
    seen.sort();
    let expected = [("GRPCRoute", "grpc"), ("HTTPRoute", "http"), ("shop-api", "http"), ("shop-api-grpc", "grpc")];
    assert_eq!(seen, expected.map(|(route, port)| (route, vec![port.to_owned()])));
}

#[test]
fn autoscaling_decides_alone() {
    let fixed = resources(&render("minimal", &[]));
    assert_eq!(only(&fixed, "Deployment", "api-resolvespec")["spec"]["replicas"], 3);
    let scaled = resources(&render("full", &[]));
    let deployment = only(&scaled, "Deployment", "shop-api");
    assert!(deployment["spec"].get("replicas").is_none(), "where there is none yet, the scaler says how many");
    let scaler = only(&scaled, "HorizontalPodAutoscaler", "shop-api");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "shop-api");
    let metrics: Vec<&str> = list(&scaler["spec"]["metrics"]).iter().map(|metric| text(&metric["type"])).collect();
    assert_eq!(metrics, ["Resource", "Pods", "Pods"]);
}

#[test]
fn the_admin_ports_are_never_public() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for service in of_kind(&rendered, "Service") {
            let is_admin = list(&service["spec"]["ports"]).iter().any(|port| port["targetPort"] == "admin");
            assert!(!is_admin || service["spec"].get("type").is_none_or(|kind| kind == "ClusterIP"), "{}", name_of(service));
        }
        for policy in of_kind(&rendered, "NetworkPolicy") {
            for rule in list(&policy["spec"]["ingress"]).iter().filter(|rule| rule["ports"][0]["port"] == "admin") {
                assert!(!list(&rule["from"]).is_empty(), "{} lets everybody to the admin port", name_of(policy));
            }
        }
    }
}
