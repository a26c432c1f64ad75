//! A password is in the user's Secret, in the one that replicas mount, and nowhere else; a new one takes the place of the old
//! without a failed request.

use super::stage::Stage;
use crate::cluster::until;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use resolvespec::database::{Database, Settings};
use resolvespec::store::Bucket;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_told_anywhere() {
    let stage = Stage::new().await;
    let url = url::Url::parse(stage.deployment.database_url()).expect("a URL");
    let password = url.password().expect("with a password").to_owned();
    let (operator, one) = (stage.operator_with("one", &["--log", "debug"]), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    // Secrets that hold something else, the password alone among them.
    for (name, held) in [
        ("no-url", password.clone()),
        ("other", url.as_str().replace("postgres:", "mysql:")),
        ("odd", format!("x{password}://y")),
    ] {
        stage.secret(name, &held).await;
        let spec = json!({"engine": "postgres", "connection": {"secretKeyRef": {"name": name, "key": "url"}}});
        stage.apply("DataSource", name, spec).await;
        stage.told("DataSource", name, "Accepted", "False", "Invalid").await;
    }
    let wrong = url.as_str().replacen(&password, &format!("{password}-wrong"), 1);
    stage.secret("wrong", &wrong).await;
    let spec = json!({"engine": "postgres", "connection": {"secretKeyRef": {"name": "wrong", "key": "url"}}});
    stage.apply("DataSource", "wrong", spec.clone()).await;
    stage.told("DataSource", "wrong", "Degraded", "True", "DatabaseUnavailable").await;
    stage
        .apply(
            "DataSource",
            "absent",
            json!({"engine": "postgres", "connection": {"secretKeyRef": {"name": "absent", "key": "url"}}}),
        )
        .await;
    let said = stage.told("DataSource", "absent", "ResolvedRefs", "False", "SecretNotFound").await;
    assert!(said.contains("there is no Secret"), "{said}");

    let published = stage.deployment.bucket("catalog").await.get("wanted").await.expect("answered").expect("published").value;
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await.expect("an answer").items;
    let mut places = vec![
        ("the log of the operator", operator.said()),
        ("the log of the replica", one.said()),
        ("what is published", String::from_utf8_lossy(&published).into_owned()),
        ("the events", serde_json::to_string(&events).expect("JSON")),
    ];
    for name in ["shop", "no-url", "other", "odd", "wrong", "absent"] {
        places.push(("a status", stage.status("DataSource", name).await.to_string()));
    }
    for (place, text) in places {
        assert!(!text.contains(&password), "{place} has the password");
    }
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_takes_the_place_of_the_old_one() {
    let stage = Stage::new().await;
    let url = url::Url::parse(stage.deployment.database_url()).expect("a URL");
    let role = format!("clerk_{}", stage.namespace.replace('-', "_"));
    let with = |password: &str| {
        let mut url = url.clone();
        url.set_username(&role).expect("a user");
        url.set_password(Some(password)).expect("a password");
        url.to_string()
    };
    let script = format!("create role {role} login password 'old'; grant select on items to {role}");
    stage.deployment.run_script(&script).await;
    stage.secret("shop-database", &with("old")).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply("Entity", "items", json!({"source": "shop", "operations": {"read": {}}})).await;
    stage.ready("Entity", "items").await;
    stage.deployment.run_script(&format!("alter role {role} password 'new'")).await;
    stage.secret("shop-database", &with("new")).await;
    let generation = async || one.ready().await.1["catalog"]["served"].clone();
    let first = generation().await;
    until("another generation", async || generation().await != first).await;
    assert_eq!(one.status_of("items").await, 200);
    stage.ready("Entity", "items").await;
    drop((operator, one));
    let admin = Database::connect(&Settings::new("test", url.as_str())).await.expect("the database answers");
    admin.run_script(&format!("drop owned by {role}; drop role {role}")).await.expect("the role can be dropped");
    admin.close().await;
    stage.remove().await;
}
