//! What has to be said and what can't be said together: refused before anything is installed, in words that help.

use super::{render, try_render};

fn refused(example: &str, more: &[&str], advice: &str) {
    match try_render(example, more) {
        Ok(_) => panic!("{example} with {more:?} is taken"),
        Err(error) => assert!(error.contains(advice), "{more:?}: {error}"),
    }
}

#[test]
fn who_may_enter_has_to_be_said() {
    refused("minimal", &["authentication.jwks="], "authentication.jwtSecret.name");
    refused("minimal", &["authentication.jwtSecret.name=tokens"], "not both");
    render("minimal", &["authentication.jwks=", "authentication.allowAnonymous=true"]);
    render("minimal", &["authentication.jwks=", "authentication.jwtSecret.name=tokens"]);
}

#[test]
fn which_clients_of_mqtt_may_use_a_token_has_to_be_said() {
    let broker = "mqtt.brokers={mqtt://broker:1883}";
    refused("minimal", &[broker], "mqtt.clientClaim");
    refused("minimal", &["mosquitto.enabled=true"], "mqtt.clientClaim");
    for claim in ["mqtt.clientClaim=sub", "mqtt.clientClaim=none"] {
        render("minimal", &[broker, claim]);
    }
    render("minimal", &[broker, "authentication.jwks=", "authentication.allowAnonymous=true"]);
}

#[test]
fn nats_has_to_be_somewhere() {
    refused("minimal", &["nats.servers=null"], "nats.servers");
    refused("minimal", &["nats.enabled=true"], "not both");
}

#[test]
fn secrets_are_named_with_their_keys() {
    refused("minimal", &["nats.credentials.secretName=nats"], "passwordKey");
    refused("minimal", &["nats.credentials.tokenKey=token"], "nats.credentials.secretName");
    let two = ["nats.credentials.secretName=nats", "nats.credentials.tokenKey=token", "nats.credentials.credsKey=creds"];
    refused("minimal", &two, "needs one of");
    refused("minimal", &["nats.credentials.user=me"], "go together");
    refused("minimal", &["nats.tls.secretName=tls"], "caKey");
    refused("minimal", &["mqtt.tls.secretName=tls", "mqtt.tls.certKey=tls.crt"], "go together");
    refused("minimal", &["mqtt.credentials.user=me"], "go together");
}

#[test]
fn passwords_are_not_values() {
    refused("minimal", &["nats.servers={nats://me:secret@nats:4222}"], "/nats/servers/0");
    refused("minimal", &["mqtt.brokers={mqtt://me:secret@broker:1883}"], "/mqtt/brokers/0");
}

#[test]
fn contradictions_are_told() {
    refused("trial", &["mqtt.brokers={mqtt://broker:1883}"], "not both");
    refused("minimal", &["operator.watchAllNamespaces=true", "operator.watchNamespaces={a}"], "not both");
    refused("minimal", &["ingress.enabled=true"], "ingress.hosts");
    refused("minimal", &["operator.webhook.enabled=true"], "operator.webhook.tls.secretName");
    let untrusted = ["operator.webhook.enabled=true", "operator.webhook.tls.secretName=tls"];
    refused("minimal", &untrusted, "cert-manager.io/inject-ca-from");
    refused("full", &["operator.enabled=false"], "needs operator.enabled");
    refused("minimal", &["ingress.grpc.enabled=true"], "ingress.grpc.hosts");
    refused("minimal", &["gateway.enabled=true"], "gateway.parentRefs");
    refused("full", &["gateway.grpcHostnames={api.example.org}"], "never both");
    let egress = "networkPolicy.egress.enabled=true";
    refused("minimal", &["networkPolicy.enabled=true", egress], "networkPolicy.egress.rules");
    let rules = "networkPolicy.egress.rules[0].ports[0].port=5432";
    refused("minimal", &["networkPolicy.enabled=true", egress, rules], "networkPolicy.egress.apiServer");
    refused("minimal", &["autoscaling.enabled=true", "autoscaling.minReplicas=20"], "more than");
    refused("minimal", &["autoscaling.enabled=true", "autoscaling.targetCPU=0"], "needs one of");
}
