//! A password is in the user's Secret, in the one that replicas mount, and nowhere else; a new one takes the place of the old
//! without a failed request.

use super::capturing::captured;
use super::stage::Stage;
use crate::cluster::until;
use axum::http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio_util::task::TaskTracker;

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_told_anywhere() {
    let stage = Stage::new().await;
    let url = url::Url::parse(stage.deployment.database_url()).expect("a URL");
    let password = url.password().expect("with a password").to_owned();
    let loud = [("RESOLVESPEC_LOG", "debug".to_owned())];
    let (operator, one) = (stage.operator_with("one", &["--log", "debug"]), stage.deployment.start_by("one", &loud));
    stage.apply("DataSource", "shop", captured()).await;
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
    stage.apply("DataSource", "wrong", spec).await;
    stage.told("DataSource", "wrong", "Degraded", "True", "DatabaseUnavailable").await;
    stage.apply("Entity", "away", json!({"source": "wrong"})).await;
    stage.told("Entity", "away", "Accepted", "Unknown", "DatabaseUnavailable").await;
    stage.apply("AccessPolicy", "lost", json!({"entity": "away", "filter": "true"})).await;
    stage.told("AccessPolicy", "lost", "ResolvedRefs", "Unknown", "EntityNotReady").await;
    stage
        .apply(
            "DataSource",
            "absent",
            json!({"engine": "postgres", "connection": {"secretKeyRef": {"name": "absent", "key": "url"}}}),
        )
        .await;
    let said = stage.told("DataSource", "absent", "ResolvedRefs", "False", "SecretNotFound").await;
    assert!(said.contains("there is no Secret"), "{said}");
    // A replica that loses its database says so in its log, and a change goes over the bus.
    stage.deployment.run_script("update items set name = 'pencil' where id = 1").await;
    until("the change", async || stage.deployment.everything_in_nats().await.values().any(|text| text.contains("pencil"))).await;

    let metrics = |answer: Value| answer.as_str().unwrap_or_default().to_owned();
    let mut places = vec![
        ("the log of the operator".to_owned(), operator.said()),
        ("the log of the replica".to_owned(), one.said()),
        ("the metrics of the operator".to_owned(), metrics(operator.ask(Method::GET, "/metrics").await)),
        ("whether the replica is ready".to_owned(), one.ready().await.1.to_string()),
        ("the metrics of the replica".to_owned(), one.metric("").await.join("\n")),
        ("what is answered".to_owned(), one.read("items").await.expect("an answer").body.to_string()),
        ("the events".to_owned(), serde_json::to_string(&stage.all_events().await).expect("JSON")),
    ];
    for kind in ["DataSource", "Entity", "AccessPolicy"] {
        let all = stage.api(kind).list(&ListParams::default()).await.expect("an answer").items;
        assert!(!all.is_empty());
        places.push((format!("each {kind}"), serde_json::to_string(&all).expect("JSON")));
    }
    let nats = stage.deployment.everything_in_nats().await;
    let has = |part: &str| nats.iter().any(|(name, text)| name.ends_with(part) && text.contains('\n'));
    assert!(has("_catalog") && has("_replicas") && has("_events"), "{:?}", nats.keys());
    places.extend(nats.into_iter().map(|(name, text)| (format!("the stream {name}"), text)));
    for (place, text) in places {
        assert!(!text.is_empty(), "{place} says nothing");
        assert!(!text.contains(&password), "{place} has the password");
    }
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_comes_back_when_somebody_takes_it_away() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let handed = async || {
        let there = secrets.get_opt("resolvespec-databases").await.expect("an answer");
        there.and_then(|there| there.data).unwrap_or_default()
    };
    let before = handed().await;
    assert_eq!(before.len(), 1);

    secrets.delete("resolvespec-databases", &DeleteParams::default()).await.expect("deleted");
    let two = stage.replica("two");
    until("being handed over again", async || handed().await == before).await;
    until("another replica", async || two.is_ready().await && two.status_of("items").await == 200).await;
    let told = async || {
        stage.deployment.told("two").await.is_some_and(|told| told["databases"].as_array().is_some_and(|all| all.len() == 1))
    };
    until("having it", told).await;
    stage.ready("DataSource", "shop").await;
    stage.ready("Entity", "items").await;

    // Nor is what somebody else writes there believed.
    let wrong: BTreeMap<&String, &str> = before.keys().map(|key| (key, "bm93aGVyZQ==")).collect();
    let patch = Patch::Merge(json!({"data": wrong}));
    secrets.patch("resolvespec-databases", &PatchParams::default(), &patch).await.expect("taken");
    until("being as it was", async || handed().await == before).await;
    assert_eq!(one.status_of("items").await, 200);
    drop((operator, one, two));
    stage.remove().await;
}

/// Somebody who asks again and again.
struct Asking {
    done: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    failures: tokio::task::JoinHandle<Vec<String>>,
}

impl Asking {
    fn start(replica: &crate::cluster::deployment::Replica) -> Self {
        let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = crate::support::client::Client::new(replica.client.address());
        let failures = TaskTracker::new().spawn({
            let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
            async move {
                let mut failures = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    match client.send(&crate::cluster::deployment::read("items")).await {
                        Ok(answer) if answer.status.as_u16() == 200 => {}
                        Ok(answer) => failures.push(format!("{}: {}", answer.status, answer.body)),
                        Err(error) => failures.push(error),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                failures
            }
        });
        Self { done, asked, failures }
    }

    /// Waits until so many more have been answered.
    async fn goes_on(&self, count: usize) {
        let enough = self.asked.load(Ordering::Relaxed) + count;
        until("answers", async || self.asked.load(Ordering::Relaxed) >= enough).await;
    }

    async fn ended(self) -> Vec<String> {
        self.done.store(true, Ordering::Relaxed);
        self.failures.await.expect("whoever asks does not panic")
    }
}

/// As passwords are changed: a second one is let in, the Secret names it, and the first one is let in no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_takes_the_place_of_the_old_one_and_no_request_fails() {
    let stage = Stage::new().await;
    let url = url::Url::parse(stage.deployment.database_url()).expect("a URL");
    let role = |which: &str| format!("{which}_{}", stage.namespace.replace('-', "_"));
    let of = |which: &str| {
        let mut url = url.clone();
        url.set_username(&role(which)).expect("a user");
        url.set_password(Some(which)).expect("a password");
        url.to_string()
    };
    for which in ["old", "new"] {
        let role = role(which);
        stage
            .deployment
            .run_script(&format!("create role {role} login password '{which}'; grant select on items to {role}"))
            .await;
    }
    stage.secret("shop-database", &of("old")).await;
    let (operator, one, two) = (stage.operator("one"), stage.replica("one"), stage.replica("two"));
    stage.apply_source().await;
    stage.apply("Entity", "items", json!({"source": "shop", "operations": {"read": {}}})).await;
    stage.ready("Entity", "items").await;
    // It is ready when all are that have come by then.
    for replica in [&one, &two] {
        until("being served", async || replica.read("items").await.is_ok_and(|answer| answer.status == 200)).await;
    }
    let asking: Vec<Asking> = [&one, &two, &one, &two].map(Asking::start).into_iter().collect();
    for one in &asking {
        one.goes_on(50).await;
    }
    stage.secret("shop-database", &of("new")).await;
    let sessions = format!("select to_json(count(*)) from pg_stat_activity where usename = '{}'", role("old"));
    let admin = Database::connect(&Settings::new("test", url.as_str())).await.expect("the database answers");
    let count = async |statement: &str| {
        let statement = resolvespec::database::Statement::new(statement.to_owned());
        admin.fetch_texts(statement).await.expect("the database answers").concat()
    };
    until("nobody using the old one", async || count(&sessions).await == "0").await;
    admin.run_script(&format!("alter role {} nologin", role("old"))).await.expect("altered");
    for one in &asking {
        one.goes_on(50).await;
    }
    let mut failures = Vec::new();
    for one in asking {
        failures.extend(one.ended().await);
    }
    assert!(failures.is_empty(), "{} requests failed: {failures:#?}", failures.len());
    stage.ready("Entity", "items").await;
    // What nobody needs any more is handed over no longer.
    let told = async || stage.deployment.told("one").await.expect("it lives");
    let handed = async || told().await["databases"].as_array().map_or(0, Vec::len);
    until("one URL that is handed over", async || handed().await == 1).await;
    drop((operator, one, two));
    for which in ["old", "new"] {
        let role = role(which);
        admin.run_script(&format!("drop owned by {role}; drop role {role}")).await.expect("the role can be dropped");
    }
    admin.close().await;
    stage.remove().await;
}
