//! Clients that come with their first message: hooks are asked whether they may, once while they are known, and who may not is
//! answered `auth_error` and gets nothing done.

use super::{SECRET, Shop, code, create, named, read};
use crate::support::client::{Call, Client};
use crate::support::mqtt::{Beside, Spoken, Station, shared};
use crate::support::session::token;
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::engine::{Hook, Refusal, Session};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Knows whom it does not let in, and notes whom it was asked about; nobody's name is empty.
#[derive(Default)]
struct Doorkeeper {
    unwanted: Mutex<BTreeSet<String>>,
    asked: Mutex<Vec<String>>,
}

impl Doorkeeper {
    fn bar(&self, name: &str) {
        self.unwanted.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn welcome(&self) {
        self.unwanted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whom it was asked about since it was asked this.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait::async_trait]
impl Hook for Doorkeeper {
    async fn before_connect(&self, session: Session<'_>) -> Result<(), Refusal> {
        let name = session.principal.subject.clone().unwrap_or_default();
        assert_ne!(name, "clumsy", "as a hook that has a fault");
        let is_unwanted = self.unwanted.lock().unwrap_or_else(PoisonError::into_inner).contains(&name);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        if is_unwanted { Err(Refusal::new("not today")) } else { Ok(()) }
    }
}

fn guarded() -> Authentication {
    Authentication::Jwt(JwtSettings::new(KeySource::Secret(Secret::new(SECRET))))
}

fn bearer(token: &str) -> Beside {
    Beside { properties: vec![("authorization".to_owned(), format!("Bearer {token}"))], ..Beside::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_hook_refuses_is_told_so_and_gets_nothing_done() {
    let keeper = Arc::new(Doorkeeper::default());
    let shop = Shop::hooked(&shared(), Authentication::Anonymous, vec![keeper.clone()], |settings| settings).await;
    for spoken in [Spoken::V5, Spoken::V4] {
        keeper.bar("");
        let mut station = Station::connect(&shared(), &format!("{}-{spoken:?}", shop.prefix), &shop.prefix, spoken).await;
        // A ping asks whether somebody is there, and is answered to anybody.
        station.wait_for_service().await;
        keeper.asked();
        for message in
            [create("1", "barred"), read("2"), json!({"id": "3", "type": "subscription", "operation": "unsubscribe_all"})]
        {
            let refused = station.ask(&message).await;
            assert_eq!((&refused["id"], code(&refused)), (&message["id"], "auth_error"), "{refused}");
            assert_eq!((&refused["success"], &refused["error"]["message"]), (&json!(false), &json!("not today")), "{refused}");
        }
        assert_eq!(keeper.asked().len(), 3, "who was refused is asked about again");
        assert_eq!(named(&Client::new(shop.address), "barred").await, 0);
        keeper.welcome();
        for id in ["4", "5", "6"] {
            assert_eq!(station.ask(&read(id)).await["success"], true);
        }
        assert_eq!(keeper.asked().len(), 1, "who was let in is known");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_as_another_is_asked_about_again() {
    let keeper = Arc::new(Doorkeeper::default());
    let shop = Shop::hooked(&shared(), guarded(), vec![keeper.clone()], |settings| settings).await;
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    assert_eq!(keeper.asked(), [""; 0], "who is nobody is not asked about");
    keeper.bar("bob");
    let mut ask = async |id: &str, name: &str, seconds| {
        let answer = station.ask_with(&read(id), bearer(&token(SECRET, name, seconds))).await;
        (answer["success"] == true, code(&answer).to_owned())
    };
    assert_eq!(ask("1", "ann", 600).await, (true, String::new()));
    assert_eq!(ask("2", "ann", 900).await, (true, String::new()));
    assert_eq!(keeper.asked(), ["ann"], "a fresh token is no other caller");
    assert_eq!(ask("3", "bob", 600).await, (false, "auth_error".to_owned()));
    assert_eq!(ask("4", "ann", 600).await, (true, String::new()));
    assert_eq!(keeper.asked(), ["bob"]);
    assert_eq!(ask("5", "clumsy", 600).await, (false, "internal_error".to_owned()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_broker_has_asked_about_is_not_asked_about_again() {
    let keeper = Arc::new(Doorkeeper::default());
    let shop = Shop::hooked(&shared(), guarded(), vec![keeper.clone()], |settings| settings).await;
    let id = format!("{}-c", shop.prefix);
    let ann = token(SECRET, "ann", 600);
    let question = json!({"clientid": id, "username": "", "password": ann});
    let admitted = Client::new(shop.address).send(&Call::post("/mqtt/auth", &question)).await.expect("an answer");
    assert_eq!((admitted.status.as_u16(), keeper.asked()), (200, vec!["ann".to_owned()]));
    let mut station = Station::connect(&shared(), &id, &shop.prefix, Spoken::V4).await;
    station.wait_for_service().await;
    assert_eq!(station.ask(&read("1")).await["success"], true);
    let mut message = read("2");
    message["token"] = ann.into();
    assert_eq!(station.ask(&message).await["success"], true);
    assert_eq!(keeper.asked(), [""; 0]);
    shop.close().await;
}
