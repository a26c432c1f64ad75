//! The document of a small shop: what each caller sees in it, whether it hangs together, and how it is served.

use super::{Base, Broker, Mqtt, document};
use crate::auth::{Authentication, JwtSettings, KeySource, Principal, Secret};
use crate::catalog::Catalog;
use crate::protocol::{Code, Subscribe, Target, subscribe};
use crate::transport::rest::openapi::tests::{keys, references, routes, shop};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashSet;
use tower::ServiceExt;

fn for_roles(catalog: &Catalog, roles: &[&str], mqtt: Option<&Mqtt>) -> Value {
    let principal = Principal { roles: roles.iter().map(ToString::to_string).collect(), ..Principal::anonymous() };
    let base = Base { host: "api.example", secure: false, takes_tokens: true, admits_anonymous: false, mqtt };
    document(catalog, &principal, &base)
}

fn mqtt() -> Mqtt {
    Mqtt { brokers: vec![Broker { host: "broker.example:8883".to_owned(), secure: true }], prefix: "spec".to_owned() }
}

#[tokio::test]
async fn each_caller_sees_only_what_they_may_do() {
    let served = shop().await;
    let nobody = for_roles(&served.catalog, &[], None);
    let messages = keys(&nobody["components"]["messages"]);
    assert!(messages.contains(&"request.main.orders") && messages.contains(&"notification.main.orders"));
    assert!(!nobody.to_string().contains("audits") && !nobody.to_string().contains("secret"));
    let words = |document: &Value| -> Vec<String> {
        let said = document["components"]["messages"]["request.main.orders"]["payload"]["oneOf"].as_array().unwrap();
        said.iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(&nobody), ["read", "meta"]);
    assert_eq!(words(&for_roles(&served.catalog, &["seller"], None)), ["read", "create", "update", "meta"]);
    let auditor = for_roles(&served.catalog, &["auditor"], None);
    assert!(auditor["channels"]["websocket"]["messages"].get("notification.main.audits").is_some());
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_message_has_its_name() {
    let served = shop().await;
    let mqtt = mqtt();
    for mqtt in [None, Some(&mqtt)] {
        let document = for_roles(&served.catalog, &["seller", "auditor"], mqtt);
        let mut found = HashSet::new();
        references(&document, &mut found);
        assert!(found.len() > 30, "{}", found.len());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        for (name, message) in document["components"]["messages"].as_object().unwrap() {
            assert_eq!(message["name"], *name);
        }
    }
}

#[tokio::test]
async fn mqtt_is_in_it_where_it_is_spoken() {
    let served = shop().await;
    assert!(!for_roles(&served.catalog, &[], None).to_string().to_lowercase().contains("mqtt"));
    let document = for_roles(&served.catalog, &[], Some(&mqtt()));
    let topics =
        ["mqttRequest", "mqttResponse", "mqttNotify"].map(|name| document["channels"][name]["address"].as_str().unwrap());
    assert_eq!(topics, ["spec/{client_id}/request", "spec/{client_id}/response", "spec/{client_id}/notify/{subscription_id}"]);
    assert_eq!(document["servers"]["mqtt"]["protocol"], "mqtts");
    let schemas = &document["components"]["schemas"];
    let codes = schemas["Code"]["enum"].as_array().unwrap();
    assert_eq!(codes.len(), Code::ALL.len() - 3);
    assert!(codes.contains(&json!("invalid_subscription")) && codes.contains(&json!("auth_error")));
    let pong = &document["components"]["messages"]["pong"]["payload"]["properties"];
    assert_eq!(pong["success"]["const"], true);
    assert_eq!(document["operations"]["mqtt.notify"]["bindings"]["mqtt"]["qos"], 1);
    let subscribed = &document["components"]["schemas"]["Subscribed"]["properties"];
    assert!(subscribed.get("notify_topic").is_some());
}

#[tokio::test]
async fn the_words_are_those_of_the_protocol() {
    let document = for_roles(&shop().await.catalog, &[], None);
    let schemas = &document["components"]["schemas"];
    let codes = schemas["Code"]["enum"].as_array().unwrap();
    assert_eq!(codes.len(), Code::ALL.len() - 5);
    assert!(codes.contains(&json!("resync_required")) && !codes.contains(&json!("method_not_allowed")));
    assert!(!codes.contains(&json!("invalid_subscription")) && !codes.contains(&json!("auth_error")));
    let closes = &document["channels"]["websocket"]["x-close-codes"];
    assert!(closes["4004"].as_str().is_some_and(|text| text.contains("resume")), "{closes}");
    let target = Target { schema: None, entity: "orders".to_owned() };
    // What is described is what is read.
    for name in keys(&schemas["SubscribeOptions"]["properties"]) {
        let options = json!({"snapshot": true, name: {"no": "such value"}}).to_string();
        let refused = Subscribe::read(subscribe::Said::new(&target, Value::Null, Some(&options)));
        let unknown = format!("unknown field `{name}`");
        let told = refused.map_err(|error| error.message);
        assert!(told.as_ref().is_err_and(|message| !message.contains(&unknown)), "{name}: {told:?}");
    }
}

#[tokio::test]
async fn it_is_served_for_the_caller_and_names_the_host_that_was_asked() {
    let settings = |allow_anonymous| {
        let settings = JwtSettings::new(KeySource::Secret(Secret::new(vec![b'k'; 32])));
        Authentication::Jwt(JwtSettings { allow_anonymous, ..settings })
    };
    let ask = async |authentication, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::get("/asyncapi"), |request, (name, value)| request.header(*name, *value));
        let response = routes(authentication).await.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let document: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (parts.status, parts.headers, document)
    };
    assert_eq!(ask(settings(false), &[("host", "a")]).await.0, StatusCode::UNAUTHORIZED);
    let (status, headers, open) = ask(settings(true), &[("host", "api.example:8080"), ("x-forwarded-proto", "https")]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&headers["cache-control"], &headers["vary"]),
        (&"private, no-cache".parse().unwrap(), &"authorization".parse().unwrap())
    );
    let server = &open["servers"]["websocket"];
    assert_eq!((&server["host"], &server["protocol"]), (&json!("api.example:8080"), &json!("wss")));
    assert!(server.get("security").is_none() && open["components"]["securitySchemes"].get("bearer").is_some());
    let (status, _, refused) = ask(Authentication::Anonymous, &[("host", "no host")]).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    let closed = for_roles(&shop().await.catalog, &[], None);
    assert_eq!(closed["servers"]["websocket"]["security"].as_array().map(Vec::len), Some(2));
}
