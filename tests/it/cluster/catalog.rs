//! Publishing and switching: what is published is served by every replica, and what can't be served is refused by all.

use super::deployment::{Deployment, Replica, SOURCE, entity, read};
use super::until;
use crate::support::client::Client;
use crate::support::database::Kind;
use crate::support::own::Own;
use resolvespec::database::{Database, Settings};
use resolvespec::store::Bucket;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Clients that read from one replica without a pause.
pub(super) struct Load {
    done: Arc<AtomicBool>,
    pub(super) answered: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(super) fn on(replicas: &[&Replica]) -> Self {
        let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tracker = TaskTracker::new();
        let tasks = replicas
            .iter()
            .map(|replica| {
                let (client, done, answered) = (Client::new(replica.client.address()), Arc::clone(&done), Arc::clone(&answered));
                tracker.spawn(async move {
                    let mut odd = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        match client.send(&read("items")).await {
                            Ok(answer) if answer.status.as_u16() == 200 => _ = answered.fetch_add(1, Ordering::Relaxed),
                            Ok(answer) => odd.push(format!("{}: {}", answer.status, answer.body)),
                            Err(error) => odd.push(error),
                        }
                    }
                    odd
                })
            })
            .collect();
        Self { done, answered, tasks }
    }

    /// Waits for so many answers more.
    pub(super) async fn goes_on(&self, more: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        until("answers", async || self.answered.load(Ordering::Relaxed) >= enough).await;
    }

    /// Ends it; every answer has to have been a good one.
    pub(super) async fn ends_well(self) {
        self.done.store(true, Ordering::Relaxed);
        for task in self.tasks {
            assert_eq!(task.await.expect("no panic"), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_wait_for_a_catalog_and_switch_to_the_next_without_a_failed_request() {
    let shop = Deployment::new().await;
    let (mut one, mut two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        until("waiting for the catalog alone", async || replica.ready().await.1["nats"] == "connected").await;
        let (status, body) = replica.ready().await;
        assert_eq!((status, &body["missing"], &body["reason"]), (503, &json!(["catalog"]), &json!("starting")), "{body}");
        let answer = replica.read("items").await.expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.header("retry-after").is_empty()), (503, false));
        until("a word about it", async || replica.said().contains("nothing is published yet")).await;
    }
    let told = shop.published(&[]);
    assert!(told.contains("published: generation 1,") && told.contains("Entity items"), "{told}");
    for replica in [&one, &two] {
        replica.serves(1).await;
        assert_eq!((replica.status_of("items").await, replica.status_of("tags").await), (200, 404));
    }

    let load = Load::on(&[&one, &two, &one, &two]);
    load.goes_on(100).await;
    shop.run_script("create table tags (id int primary key)").await;
    shop.write(&format!("{SOURCE}{}{}", entity("items"), entity("tags")));
    assert!(shop.published(&[]).contains("generation 2"));
    assert!(shop.published(&[]).contains("unchanged: generation 2"), "the same content is no new generation");
    for replica in [&one, &two] {
        replica.serves(2).await;
        assert_eq!(replica.status_of("tags").await, 200);
        let lines = replica.metric("resolvespec_catalog_generation").await;
        assert!(lines.iter().all(|line| line.ends_with(" 2")) && lines.len() == 2, "{lines:?}");
        until("what it tells", async || shop.told(&replica.name).await.is_some_and(|told| told["generation"] == 2)).await;
    }
    load.goes_on(100).await;
    load.ends_well().await;
    assert_eq!(shop.watchers("catalog").await, 2, "one for each replica");
    assert_eq!(shop.watchers("replicas").await, 0, "no replica reads what the others tell");

    for replica in [&mut one, &mut two] {
        replica.signal("-TERM");
        replica.ended().await;
        assert_eq!(shop.told(&replica.name).await, None, "it takes back what it told");
    }
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_cannot_be_served_is_refused_and_the_last_good_one_stays() {
    let shop = Deployment::new().await;
    shop.published(&[]);
    let one = shop.start("one");
    one.serves(1).await;
    let good = async || shop.bucket("catalog").await.get("good").await.expect("answered").is_some();
    until("keeping the good generation", good).await;

    shop.write(&format!("{SOURCE}{}{}", entity("items"), entity("nowhere")));
    let refused = shop.publish(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("shop.yaml") && said.contains("nowhere"), "{said}");
    assert_eq!(one.ready().await.1["catalog"]["wanted"], 1, "nothing was published");

    let load = Load::on(&[&one]);
    shop.published(&["--offline"]);
    let is_refused = |body: &Value| body["catalog"] == json!({"wanted": 2, "served": 1, "refused": true});
    until("refusing", async || is_refused(&one.ready().await.1)).await;
    let (status, body) = one.ready().await;
    assert_eq!((status, &body["degraded"]), (200, &json!(["catalog"])));
    assert_eq!(
        one.metric("resolvespec_catalog_generation{state=\"wanted\"}").await,
        ["resolvespec_catalog_generation{state=\"wanted\"} 2"]
    );
    assert!(one.said().contains("refused") && one.said().contains("nowhere"), "{}", one.said());

    let tells = async || {
        let told = shop.told("one").await.unwrap_or_default();
        let refused = &told["refused"];
        told["generation"] == 1 && refused["generation"] == 2 && refused["reason"].to_string().contains("nowhere")
    };
    until("telling what it refuses", tells).await;

    // One that starts now has the last good one.
    let two = shop.start("two");
    until("starting with the last good one", async || is_refused(&two.ready().await.1)).await;
    assert_eq!(two.status_of("items").await, 200);

    // What was missing comes, and nobody has to publish again.
    shop.run_script("create table nowhere (id int primary key)").await;
    for replica in [&one, &two] {
        replica.serves(2).await;
        assert_eq!(replica.status_of("nowhere").await, 200);
        let serves = |told: &Value| told["generation"] == 2 && told["refused"].is_null();
        until("telling that it serves it", async || shop.told(&replica.name).await.is_some_and(|told| serves(&told))).await;
    }
    load.ends_well().await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_gets_into_nats() {
    let shop = Deployment::new().await;
    let password = url::Url::parse(shop.database_url()).expect("a URL").password().expect("with a password").to_owned();
    let written = SOURCE.replace("{env: SHOP_URL}", &format!("{{url: '{}'}}", shop.database_url()));
    shop.write(&written);
    let refused = shop.publish(&["--offline"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("must not be in a manifest"), "{said}");
    assert!(!said.contains(&password), "the error does not tell it either");
    let bucket = shop.bucket("catalog").await;
    assert_eq!(bucket.get("wanted").await.expect("answered"), None);

    shop.write(SOURCE);
    shop.published(&[]);
    let kept = bucket.get("wanted").await.expect("answered").expect("published").value;
    let kept = String::from_utf8_lossy(&kept).into_owned();
    assert!(kept.contains("SHOP_URL") && !kept.contains(&password), "{kept}");
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_the_start_is_named_and_waited_for() {
    let shop = Deployment::new().await;
    shop.write(&format!("{}{}", SOURCE.replace("SHOP_URL", "NO_SUCH_VARIABLE_URL"), entity("items")));
    assert!(!shop.publish(&[]).status.success());
    shop.published(&["--offline"]);
    let mut one = shop.start("one");
    until("refusing", async || one.ready().await.1["catalog"]["refused"] == true).await;
    assert!(one.said().contains("NO_SUCH_VARIABLE_URL is not set"), "{}", one.said());
    until("telling why it serves nothing", async || {
        let told = shop.told("one").await.unwrap_or_default();
        let refused = &told["refused"];
        told["generation"].is_null()
            && refused["generation"] == 1
            && refused["reason"].to_string().contains("NO_SUCH_VARIABLE_URL")
    })
    .await;
    let away = SOURCE.replace("{env: SHOP_URL}", "{url: 'postgres://nobody@127.0.0.1:1/nothing'}");
    shop.write(&format!("{away}{}", entity("items")));
    shop.published(&["--offline"]);
    until("naming the database", async || one.ready().await.1["missing"] == json!(["catalog", "database shop"])).await;
    assert!(one.is_alive());
    shop.write(&format!("{SOURCE}{}", entity("items")));
    shop.published(&[]);
    one.serves(3).await;
    drop(one);
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_keeps_nothing_of_others_from_being_served_and_is_looked_at_again() {
    let bank = Own::start(Kind::Postgres, "hangs");
    let url = bank.database().await;
    let database = Database::connect(&Settings::new("bank", &url)).await.expect("the database answers");
    database.run_script("create table coins (id int primary key); insert into coins values (1)").await.expect("the script runs");
    let shop = Deployment::new().await.with("BANK_URL", url.as_str());
    let of_bank = |text: &str| text.replace("shop", "bank").replace("SHOP_URL", "BANK_URL");
    let both = format!("{}{}---{SOURCE}{}", of_bank(SOURCE), of_bank(&entity("coins")), entity("items"));
    shop.write(&both);
    shop.published(&[]);
    let one = shop.start("one");
    one.serves(1).await;

    shop.run_script("create table tags (id int primary key)").await;
    bank.freeze();
    shop.write(&format!("{both}{}", entity("tags")));
    let since = Instant::now();
    shop.published(&["--offline"]);
    until("being served", async || one.status_of("tags").await == 200).await;
    // A statement may take thirty.
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    bank.thaw();
    database.run_script("alter table coins add column weight int").await.expect("the script runs");
    let coins = async || one.read("coins").await.map(|answer| answer.body.to_string()).unwrap_or_default();
    until("looking again", async || coins().await.contains("weight")).await;
    drop(one);
    database.close().await;
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_stays_when_the_catalog_is_spoilt_or_removed() {
    let shop = Deployment::new().await;
    shop.published(&[]);
    let one = shop.start("one");
    one.serves(1).await;
    let bucket = shop.bucket("catalog").await;
    let catalog = async || one.ready().await.1["catalog"].clone();
    bucket.put("wanted", "no generation".into(), None).await.expect("put");
    let spoilt = json!({"wanted": null, "served": 1, "refused": true});
    until("noticing", async || catalog().await == spoilt).await;
    let refused = shop.publish(&[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no generation"), "it is not published over");
    bucket.delete("wanted").await.expect("deleted");
    let removed = json!({"wanted": null, "served": 1, "refused": false});
    until("noticing", async || catalog().await == removed).await;
    assert_eq!((one.status_of("items").await, one.ready().await.0), (200, 200));

    // Generations count from the beginning then, and are told apart by more than their number.
    shop.run_script("create table tags (id int primary key)").await;
    shop.write(&format!("{SOURCE}{}{}", entity("items"), entity("tags")));
    assert!(shop.published(&[]).contains("generation 1"));
    until("serving the other first generation", async || one.status_of("tags").await == 200).await;
    let anew = json!({"wanted": 1, "served": 1, "refused": false});
    until("being all right", async || catalog().await == anew).await;
    drop(one);
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_from_files_need_nothing_published() {
    let shop = Deployment::new().await;
    let one = shop.start_with_files("one");
    until("being ready", async || one.is_ready().await).await;
    let (_, body) = one.ready().await;
    assert_eq!((&body["nats"], &body["catalog"]), (&json!("connected"), &Value::Null), "{body}");
    assert_eq!(one.status_of("items").await, 200);
    drop(one);
    shop.remove().await;
}
