//! A hook that panics: whoever asked is told of an internal error on every transport, what was being written is undone, and
//! nobody else notices.

use super::{Kind, Stage, on_all, subscribe, subscribed, told};
use crate::support::client::{Call, Client};
use crate::support::grpc::{connect, message};
use async_trait::async_trait;
use resolvespec::engine::{Context, Hook, NarrowRead, Refusal};
use resolvespec::protocol::Error;
use serde_json::{Value, json};
use std::sync::Arc;

/// Stumbles over what has to do with boxes, and over every answer.
struct Clumsy;

impl Clumsy {
    fn touch(context: Context<'_>) {
        assert_ne!(context.entity.name, "boxes", "as a hook that has a fault");
    }
}

#[async_trait]
impl Hook for Clumsy {
    async fn before_read(&self, context: Context<'_>, _: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        Self::touch(context);
        Ok(())
    }

    async fn after_create(&self, context: Context<'_>, _: &[u8]) -> Result<(), Refusal> {
        Self::touch(context);
        Ok(())
    }

    async fn after_handle(&self, context: Context<'_>, _: Option<&Error>) {
        Self::touch(context);
    }

    async fn after_subscribe(&self, _: Context<'_>, _: &str) {
        panic!("as a hook that has a fault");
    }
}

/// A request over REST, which names the entity in its path.
fn posted(entity: &str, request: &Value) -> Call {
    let mut body = request.clone();
    body.as_object_mut().expect("an object").remove("entity");
    Call::post(format!("/api/{entity}"), &body)
}

on_all! { a_panic_is_answered_and_undone_and_harms_nobody_else }

async fn a_panic_is_answered_and_undone_and_harms_nobody_else(kind: Kind) {
    let stage = Stage::with(kind, |config| config, vec![Arc::new(Clumsy)]).await;
    let (http, mut grpc) = (Client::new(stage.first.address), connect(stage.first.address).await);
    let mut session = stage.session().await;
    let items = subscribed(&mut session, "items", json!({})).await;
    let create = |entity: &str, id: u32| json!({"operation": "create", "entity": entity, "data": {"id": id}});
    let read = json!({"operation": "read", "entity": "boxes"});
    let (mut panics, mut made) = (0, 0);
    for turn in 1..4 {
        for (number, body) in [read.clone(), create("boxes", turn)].iter().enumerate() {
            let answer = http.send(&posted("boxes", body)).await.expect("an answer");
            assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (500, &json!("internal_error")));
            let mut asked = body.clone();
            asked["id"] = number.to_string().into();
            asked["type"] = "request".into();
            let answer = session.ask(&asked).await;
            assert_eq!((&answer["success"], &answer["error"]["code"]), (&json!(false), &json!("internal_error")), "{answer}");
            let status = grpc.call(message(body)).await.expect_err("it panicked");
            assert_eq!(status.code(), tonic::Code::Internal, "{status}");
            panics += 3;
        }
        let refused = subscribe(&mut session, "boxes", json!({})).await.expect_err("it panicked");
        assert_eq!(refused["code"], "internal_error", "{refused}");
        panics += 1;
        made += 1;
        let answer = http.send(&posted("items", &create("items", made))).await.expect("an answer");
        assert!(answer.status.is_success(), "{}", answer.body);
        let told = told(&mut session).await;
        assert_eq!((&told["subscription_id"], &told["data"]["id"]), (&items["subscription_id"], &json!(made)), "{told}");
    }
    stage.run("insert into boxes values (1, 7)").await;
    let methods = |page: Value| -> (u64, u64) {
        let of = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number");
        let page = page.as_str().expect("a text").to_owned();
        let (before, after): (Vec<&str>, Vec<&str>) =
            page.lines().filter(|line| line.starts_with("panics_total{")).partition(|line| !line.contains("\"after_"));
        (before.into_iter().map(of).sum(), after.into_iter().map(of).sum())
    };
    // Each was told to `after_handle` too, which stumbles by itself, and one subscription has begun.
    assert_eq!(methods(stage.page("/metrics").await), (panics, panics + 1));
    drop((session, grpc));
    stage.close().await;
}
