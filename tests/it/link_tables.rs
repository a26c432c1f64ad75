//! Link tables: those that are entities themselves, whose operations hold for whoever goes through them, and those that want
//! more of a row than both keys.

use crate::support::client::{Answer, Call};
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use async_trait::async_trait;
use resolvespec::engine::{Context, Hook, NarrowRead, Refusal};
use resolvespec::protocol::{Condition, Leaf, Operator};
use serde_json::{Value, json};
use std::sync::Arc;

const SCHEMA: &str = "create table people (id integer primary key, name varchar(50) not null);
create table clubs (id integer primary key, name varchar(50) not null);
create table members (person_id integer not null references people (id), club_id integer not null references clubs (id),
  primary key (person_id, club_id));
insert into people values (1, 'Ada'), (2, 'Bob');
insert into clubs values (1, 'chess'), (2, 'go');
insert into members values (1, 1), (2, 1);";

/// The link table with its operations, or without an entity.
fn entities(operations: Option<&str>) -> String {
    let entity = |name: &str, more: &str| {
        format!(
            "---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}}}\n\
             spec: {{source: conformance, apiSchema: public{more}}}\n"
        )
    };
    let clubs = ", relations: [{name: clubs, kind: manyToMany, target: clubs, through: {table: members}}]";
    let link = operations.map(|operations| entity("members", &format!(", operations: {operations}"))).unwrap_or_default();
    format!("{}{}{link}", entity("people", clubs), entity("clubs", ""))
}

async fn ask(server: &Server, request: Value) -> Answer {
    server.client.send(&Call::post("/api/public/people", &request)).await.expect("an answer")
}

async fn the_link_is_asked_for(kind: Kind) {
    let read = json!({"operation": "read", "id": 1, "options": {"preload": [{"relation": "clubs"}]}});
    let write = |rows: Value| json!({"operation": "update", "id": 1, "data": {"clubs": rows}});
    let link = write(json!([{"id": 2, "_request": "update"}]));
    let unlink = write(json!([{"id": 2, "_request": "delete"}]));
    let everything = "{read: {}, create: {}, delete: {}}";
    let cases = [
        (None, [200, 200, 200]),
        (Some(everything), [200, 200, 200]),
        (Some("{create: {}, delete: {}}"), [403, 200, 200]),
        // Nothing was linked, so nothing can be unlinked.
        (Some("{read: {}, delete: {}}"), [200, 403, 404]),
        (Some("{read: {}, create: {}}"), [200, 200, 403]),
        (Some("{read: {roles: [clerk]}, create: {}, delete: {}}"), [401, 200, 200]),
    ];
    for (operations, expected) in cases {
        let server = Server::start(kind, SCHEMA, &entities(operations)).await;
        let mut found = Vec::new();
        for request in [&read, &link, &unlink] {
            found.push(ask(&server, request.clone()).await);
        }
        let statuses: Vec<u16> = found.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(statuses, expected, "{operations:?} on {}: {found:?}", kind.name());
        for refused in found.iter().filter(|answer| answer.status == 403) {
            assert!(refused.body["error"]["message"].as_str().is_some_and(|text| text.contains("members")), "{}", refused.body);
        }
        server.stop().await;
    }
}

/// Shows the membership of the first club only.
struct FirstClub;

#[async_trait]
impl Hook for FirstClub {
    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "members" {
            let first = Leaf { column: "club_id".to_owned(), operator: Operator::Eq, value: json!(1) };
            return read.filter(&Condition::Leaf(first));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_a_link_tables_entity_narrow_what_is_preloaded_through_it() {
    for kind in Kind::ALL {
        let fresh = Fresh::create(kind).await;
        let more = format!("{SCHEMA} insert into members values (1, 2);");
        let server = Server::over(kind, fresh, &more, &entities(Some("{read: {}}")), vec![Arc::new(FirstClub)]).await;
        let options = json!({"preload": [{"relation": "clubs", "sort": [{"column": "id"}]}]});
        let answer = ask(&server, json!({"operation": "read", "id": 1, "options": options})).await;
        assert_eq!(answer.body["data"]["clubs"], json!([{"id": 1, "name": "chess"}]), "{}", answer.body);
        let members = Call::post("/api/public/members", &json!({"operation": "read"}));
        let answer = server.client.send(&members).await.expect("an answer");
        assert_eq!(answer.body["metadata"]["total"], 2, "{}", answer.body);
        server.stop().await;
    }
}

/// A link table that does not take every link.
struct Choosy {
    /// A column beside the keys, which the rows that are there have as 1.
    column: &'static str,
    constraint: &'static str,
    /// How the link of Bob with the second club is refused.
    refusal: (u16, &'static str),
}

const CHOOSY: [Choosy; 4] = [
    Choosy { column: "since integer not null", constraint: "", refusal: (400, "not_null_violation") },
    Choosy { column: "level integer default 9 references levels (id)", constraint: "", refusal: (409, "foreign_key_violation") },
    Choosy { column: "note integer", constraint: ", check (club_id <> 2)", refusal: (400, "check_violation") },
    Choosy { column: "note integer", constraint: ", unique (person_id)", refusal: (409, "conflict") },
];

impl Choosy {
    fn schema(&self) -> String {
        let Choosy { column, constraint, .. } = self;
        let columns = format!("club_id integer not null references clubs (id), {column},");
        let schema = SCHEMA
            .replace("club_id integer not null references clubs (id),", &columns)
            .replace("primary key (person_id, club_id)", &format!("primary key (person_id, club_id){constraint}"))
            .replace("(1, 1), (2, 1)", "(1, 1, 1), (2, 1, 1)");
        format!("create table levels (id integer primary key); insert into levels values (1);\n{schema}")
    }
}

async fn what_a_link_table_refuses_is_told(kind: Kind) {
    for choosy in &CHOOSY {
        let server = Server::start(kind, &choosy.schema(), &entities(None)).await;
        let what = format!("{}{} on {}", choosy.column, choosy.constraint, kind.name());
        let link = |club: u32| {
            let clubs = json!([{"id": club, "_request": "update", "name": "renamed"}]);
            json!({"operation": "update", "id": 2, "data": {"clubs": clubs}})
        };
        let again = ask(&server, link(1)).await;
        assert_eq!(again.status, 200, "this link is there already: {what}: {}", again.body);
        let refused = ask(&server, link(2)).await;
        let found = (refused.status.as_u16(), refused.body["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(found, choosy.refusal, "{what}: {}", refused.body);
        assert_eq!(refused.body["error"]["detail"], "clubs", "{what}: {}", refused.body);
        let preload = json!([{"relation": "clubs"}]);
        let read = ask(&server, json!({"operation": "read", "id": 2, "options": {"preload": preload}})).await;
        assert_eq!(read.body["data"]["clubs"], json!([{"id": 1, "name": "renamed"}]), "{what}: {}", read.body);
        let second = server.client.send(&Call::post("/api/public/clubs/2", &json!({"operation": "read"}))).await;
        assert_eq!(second.expect("an answer").body["data"]["name"], "go", "a link that is refused undoes the request: {what}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_table_refuses_is_told_on_postgres() {
    what_a_link_table_refuses_is_told(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_table_refuses_is_told_on_mariadb() {
    what_a_link_table_refuses_is_told(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_table_refuses_is_told_on_sqlite() {
    what_a_link_table_refuses_is_told(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_link_tables_entity_hold_for_its_relations_on_postgres() {
    the_link_is_asked_for(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_link_tables_entity_hold_for_its_relations_on_mariadb() {
    the_link_is_asked_for(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_link_tables_entity_hold_for_its_relations_on_sqlite() {
    the_link_is_asked_for(Kind::Sqlite).await;
}
