//! A catalog that is replaced while a request is answered: the request keeps the one that it began with.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::server::{Server, load};
use async_trait::async_trait;
use axum::http::Method;
use resolvespec::auth::Principal;
use resolvespec::engine::{Context, Engine, Hook, Refusal, Served};
use resolvespec::protocol::{Code, Operation, Request, Target};
use serde_json::json;
use std::sync::{Arc, Mutex, OnceLock};

const SCHEMA: &str = "create table notes (id integer primary key, body varchar(200) not null);
create table others (id integer primary key);";

fn entity(name: &str) -> String {
    format!(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}}}\n\
         spec: {{source: conformance, apiSchema: public}}\n"
    )
}

/// Has another catalog served as soon as a request has begun.
#[derive(Default)]
struct Replace {
    engine: OnceLock<Engine>,
    next: Mutex<Option<Served>>,
}

#[async_trait]
impl Hook for Replace {
    async fn before_handle(&self, _: Context<'_>) -> Result<(), Refusal> {
        let next = self.next.lock().expect("no panic").take();
        if let (Some(engine), Some(next)) = (self.engine.get(), next) {
            engine.switch(next);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_by_the_catalog_that_it_began_with() {
    let hook = Arc::new(Replace::default());
    let fresh = Fresh::create(Kind::Sqlite).await;
    let server = Server::over(Kind::Sqlite, fresh, SCHEMA, &entity("notes"), vec![hook.clone()]).await;
    let engine = server.engine().clone();
    assert!(hook.engine.set(engine.clone()).is_ok());
    let before = engine.current();
    let others = load(Kind::Sqlite, &Fresh::at(server.url().to_owned()), "", &entity("others")).await;
    *hook.next.lock().expect("no panic") = Some(others);

    let create = Call::new(Method::POST, "/rest/public/notes").body(&json!({"id": 1, "body": "one"}));
    let written = server.client.send(&create).await.expect("an answer");
    assert_eq!((written.status.as_u16(), &written.body), (200, &json!({"id": 1, "body": "one"})), "{written:?}");
    let later = server.client.send(&Call::new(Method::GET, "/rest/public/notes")).await.expect("an answer");
    assert_eq!(later.status, 404, "{later:?}");

    let describe = || {
        let target = Target { schema: Some("public".to_owned()), entity: "notes".to_owned() };
        Request::new(Operation::Meta, target)
    };
    assert!(engine.handle_in(&before, &Principal::anonymous(), &describe()).await.is_ok());
    let error = engine.handle(&Principal::anonymous(), &describe()).await.expect_err("it is served no more");
    assert_eq!(error.code, Code::ModelNotFound);
    drop(engine);
    server.stop().await;
}
