//! Pods: the level `restricted` of the pod security standards for each, and times that fit each other.

use super::{EXAMPLES, list, only, pods, render, resources, text};
use serde_json::Value;

#[test]
fn every_pod_is_restricted() {
    let mut seen = 0;
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for (whose, _, spec) in pods(&rendered) {
            seen += 1;
            let of = format!("{whose} of {example}");
            let pod = &spec["securityContext"];
            assert_eq!(pod["runAsNonRoot"], true, "{of}");
            assert!(pod["runAsUser"].as_u64().is_some_and(|user| user > 0), "{of}");
            assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{of}");
            for shared in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec[shared].is_null(), "{of} has {shared}");
            }
            for volume in list(&spec["volumes"]) {
                let kinds = ["secret", "configMap", "emptyDir", "persistentVolumeClaim"];
                assert!(kinds.iter().any(|kind| volume.get(*kind).is_some()), "{of} has {volume}");
            }
            for container in list(&spec["containers"]) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{of}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{of}");
                assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{of}");
                assert!(security["capabilities"].get("add").is_none() && security.get("privileged").is_none(), "{of}");
                assert!(list(&container["ports"]).iter().all(|port| port.get("hostPort").is_none()), "{of}");
                assert!(!container["resources"]["requests"]["memory"].is_null(), "{of} asks for no memory");
                assert!(!container["resources"]["limits"]["memory"].is_null(), "{of} has no limit of memory");
            }
        }
    }
    assert!(seen > 8, "{seen} pods");
}

#[test]
fn only_the_operator_and_who_comes_after_it_have_a_token() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        for (whose, _, spec) in pods(&rendered) {
            let has = spec["automountServiceAccountToken"] == true;
            let operates =
                list(&spec["containers"]).iter().any(|one| one["args"][0] == "operator" || one["args"][0] == "release");
            assert_eq!(has, operates, "{whose} of {example}");
            assert_eq!(spec["enableServiceLinks"], false, "{whose} of {example}");
        }
    }
}

fn variable<'p>(pod: &'p Value, name: &str) -> &'p str {
    let variables = list(&pod["containers"][0]["env"]);
    text(&variables.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}"))["value"])
}

#[test]
fn a_replica_is_not_killed_before_it_has_ended() {
    for more in [&[][..], &["replicas.leaveSeconds=40", "replicas.drainSeconds=600"]] {
        let rendered = resources(&render("minimal", more));
        let pod = &only(&rendered, "Deployment", "api-resolvespec")["spec"]["template"]["spec"];
        let seconds = |name| variable(pod, name).parse::<u64>().expect("a number");
        let needed = seconds("RESOLVESPEC_LEAVE_SECONDS") + seconds("RESOLVESPEC_DRAIN_SECONDS");
        let granted = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(granted >= needed + 5, "{granted} s for {needed} s");
        // What a load balancer takes to see that a replica is not ready is within the time that it answers on.
        let probe = &pod["containers"][0]["readinessProbe"];
        assert_eq!(probe["httpGet"]["path"], "/ready");
        assert_eq!(pod["containers"][0]["livenessProbe"]["httpGet"]["path"], "/health");
    }
}

#[test]
fn replicas_find_what_the_operator_hands_over() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &[]));
        let all = pods(&rendered);
        let pod = |args: &str| {
            all.iter()
                .map(|(_, _, spec)| *spec)
                .find(|spec| spec["containers"][0]["args"] == serde_json::json!([args]))
                .expect("a pod")
        };
        let (replica, operator) = (pod("serve"), pod("operator"));
        let folder = variable(operator, "RESOLVESPEC_DATABASES_PATH");
        assert_eq!(variable(replica, "RESOLVESPEC_DATABASES_PATH"), folder);
        let mounts = list(&replica["containers"][0]["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).expect("it is mounted");
        let volume = list(&replica["volumes"]).iter().find(|volume| volume["name"] == mount["name"]).expect("a volume");
        assert_eq!(volume["secret"]["secretName"], variable(operator, "RESOLVESPEC_DATABASES_SECRET"));
        for name in ["RESOLVESPEC_NATS_SERVERS", "RESOLVESPEC_NATS_NAME"] {
            assert_eq!(variable(replica, name), variable(operator, name), "they meet in NATS");
        }
    }
}

#[test]
fn every_mount_has_its_volume() {
    for example in EXAMPLES {
        let rendered = resources(&render(example, &["nats.storage.enabled=false"]));
        for (whose, _, spec) in pods(&rendered) {
            let volumes: Vec<&Value> = list(&spec["volumes"]).iter().map(|volume| &volume["name"]).collect();
            for container in list(&spec["containers"]) {
                let mounts: Vec<&Value> = list(&container["volumeMounts"]).iter().map(|mount| &mount["name"]).collect();
                assert!(mounts.iter().all(|name| volumes.contains(name)), "{whose}: {mounts:?} of {volumes:?}");
                assert!(volumes.iter().all(|name| mounts.contains(name)), "{whose}: {mounts:?} of {volumes:?}");
            }
        }
    }
}
