//! Manifests held against facts: what is filled in, and every contradiction with its place.

use super::compile;
use crate::catalog::entity::{Entity, Operations, Piece, Rule};
use crate::catalog::kind::Kind;
use crate::catalog::relation::{Relation, RelationKind};
use crate::catalog::test_shop::{catalog, entity, facts, manifests, try_catalog};
use crate::protocol::Target;
use std::collections::HashMap;

#[track_caller]
fn refuses(entities: &[String], expected: &[&str]) {
    let problems = try_catalog(entities).expect_err("the manifests have problems");
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
}

fn one(name: &str, spec: &str) -> Entity {
    catalog(&[entity(name, spec)]).entities()[0].clone()
}

fn describe(entity: &Entity, relation: &Relation, target: &Entity) -> String {
    let names = |entity: &Entity, ids: &[crate::catalog::ColumnId]| {
        ids.iter().map(|id| entity.column(*id).name.clone()).collect::<Vec<_>>().join(",")
    };
    let (near, far) = (names(entity, &relation.columns), names(target, &relation.target_columns));
    let link = match &relation.kind {
        RelationKind::ManyToMany(link) => {
            let idents = |idents: &[crate::catalog::Ident]| {
                idents.iter().map(|ident| ident.as_str().to_owned()).collect::<Vec<_>>().join(",")
            };
            format!(" through {}({} {})", link.table, idents(&link.columns), idents(&link.target_columns))
        }
        _ => String::new(),
    };
    format!("{}: {} {}({near} {far}){link}", relation.name, relation.kind_name(), relation.target_name)
}

/// The relations of the first entity.
fn relations(entities: &[String]) -> Vec<String> {
    let catalog = catalog(entities);
    let entity = &catalog.entities()[0];
    entity.relations.iter().map(|relation| describe(entity, relation, catalog.entity(relation.target))).collect()
}

#[test]
fn what_is_left_out_is_taken_from_the_database() {
    let orders = one("orders", "");
    assert_eq!(orders.full_name(), "main.orders");
    let names: Vec<&str> = orders.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "customer_id", "payer", "note", "amount", "state", "double"]);
    assert_eq!(orders.primary_key.iter().map(|id| orders.column(*id).name.as_str()).collect::<Vec<_>>(), ["id"]);
    assert!(orders.columns[0].unique && orders.columns[0].indexed && orders.columns[0].auto_increment);
    assert!(orders.columns[6].read_only, "a generated column");
    assert_eq!(orders.operations.delete, Some(Rule::Everyone));
    assert_eq!(orders.constraint_columns("orders_payer"), ["payer"]);
    assert!(orders.relations.is_empty(), "nothing that it refers to is exposed");
}

#[test]
fn what_is_said_about_columns_holds() {
    let customers = one(
        "people",
        "
  table: customers
  name: people
  apiSchema: crm
  primaryKey: [id]
  columns:
    - {name: name, alias: fullName}
    - {name: secret, hidden: true}
    - {name: password, writeOnly: true}
    - {name: mood, type: enum, values: [sad, glad]}
    - {name: age, type: boolean, readOnly: true}
  operations: {read: {roles: [clerk]}, update: {}}
  limits: {maxRows: 10}
  defaultSort: [{column: fullName}, {column: age, direction: desc}]
",
    );
    assert_eq!(customers.full_name(), "crm.people");
    let id = customers.find_column("fullname").expect("names are found in any case");
    assert_eq!(customers.column(id).ident.as_str(), "name");
    assert_eq!(customers.find_column("name"), None, "an alias takes the place of the name");
    let column = |name: &str| customers.column(customers.find_column(name).expect("the column is there"));
    assert!(column("secret").hidden && !column("secret").readable());
    assert!(!column("password").readable() && column("password").writable());
    assert_eq!(column("mood").kind, Kind::Enum(vec!["sad".to_owned(), "glad".to_owned()]));
    assert_eq!(column("age").kind, Kind::Boolean);
    assert!(!column("age").writable());
    assert_eq!(customers.operations.read, Some(Rule::Roles(vec!["clerk".to_owned()])));
    assert_eq!((&customers.operations.create, &customers.operations.update), (&None, &Some(Rule::Everyone)));
    assert_eq!((customers.limits.max_rows, customers.limits.max_filters), (10, 64));
    assert_eq!(customers.default_sort.len(), 2);
}

#[test]
fn views_and_tables_without_a_key_are_read_only_unless_declared() {
    for name in ["totals", "log"] {
        let entity = one(name, "");
        assert!(entity.primary_key.is_empty());
        assert_eq!((&entity.operations.read, &entity.operations.create), (&Some(Rule::Everyone), &None), "{name}");
    }
    let log = one("log", "  operations: {read: {}, create: {}}");
    assert_eq!(log.operations.create, Some(Rule::Everyone));
    let totals = one("totals", "  primaryKey: [customer_id]\n  columns: [{name: customer_id, nullable: false}]");
    assert!(totals.columns[0].unique && !totals.columns[0].nullable);
    refuses(
        &[entity("totals", "  operations: {create: {}, update: {}}"), entity("log", "  operations: {delete: {roles: []}}")],
        &[
            "shop.yaml:8:16: spec.operations.create: the database does not allow create on the view 'main.totals'; remove the operation",
            "shop.yaml:8:28: spec.operations.update: the database does not allow update on the view 'main.totals'; remove the operation",
            "shop.yaml:8:28: spec.operations.update: 'main.totals' has no primary key, so that no row can be named to update; name the \
             columns that are unique under `primaryKey`",
            "shop.yaml:16:16: spec.operations.delete: 'main.log' has no primary key, so that no row can be named to delete; name the \
             columns that are unique under `primaryKey`",
            "shop.yaml:16:25: spec.operations.delete.roles: no role is named; name roles, or remove the operation",
        ],
    );
}

#[test]
fn sources_and_tables_must_be_there() {
    refuses(
        &[
            entity("costumers", ""),
            entity("a", "  table: nothing\n  schema: other"),
            entity("b", "").replace("source: shop", "source: shup"),
        ],
        &[
            "shop.yaml:5:3: metadata.name: the database of 'shop' has no table or view 'main.costumers'; did you mean 'customers'?",
            "shop.yaml:16:3: spec.table: the database of 'shop' has no table or view 'other.nothing'; there is none",
            "shop.yaml:24:3: spec.source: there is no DataSource 'shup'; did you mean 'shop'?",
        ],
    );
    let unseen = compile(&manifests(&[entity("customers", "")]), &HashMap::new(), &super::Settings::default());
    let problems = unseen.expect_err("nothing is known of the database");
    assert_eq!(
        problems[0].to_string(),
        "shop.yaml:7:3: spec.source: the database of DataSource 'shop' was not looked at; did you mean 'shop'?"
    );
}

#[test]
fn contradictions_of_columns_name_both_sides() {
    refuses(
        &[entity(
            "customers",
            "
  columns:
    - {name: nmae}
    - {name: id, type: boolean}
    - {name: id, type: date}
    - {name: age, type: date}
    - {name: name, alias: age, nullable: true}
    - {name: secret, alias: 'a b'}
    - {name: mood, type: enum}
    - {name: password, values: [a], readOnly: true, writeOnly: true}
  primaryKey: [id, id, no]
  defaultSort: [{column: Age}, {column: id}, {column: id}]
  limits: {maxList: 0}
",
        )],
        &[
            "shop.yaml:10:8: spec.columns[0].name: 'main.customers' has no column 'nmae'; did you mean 'name'?",
            "shop.yaml:12:8: spec.columns[2].name: the column 'id' is told about twice",
            "shop.yaml:13:7: spec.columns[3]: the columns 'name' and 'age' are both named 'age'; give one of them another `alias`",
            "shop.yaml:13:19: spec.columns[3].type: 'main.customers' has 'age' as integer (integer), which can't be date; leave `type` out to use the database's",
            "shop.yaml:14:32: spec.columns[4].nullable: the column 'name' is NOT NULL in the database; remove `nullable`, which is for views",
            "shop.yaml:15:22: spec.columns[5].alias: 'a b' can't be a name that clients use; use letters, digits, '_', '-' and '$'",
            "shop.yaml:16:7: spec.columns[6].values: the values of 'mood' are not told; list them under `values`",
            "shop.yaml:17:24: spec.columns[7].values: `values` need `type: enum`",
            "shop.yaml:17:53: spec.columns[7].writeOnly: 'password' can neither be read nor written; use `hidden: true` instead",
            "shop.yaml:18:20: spec.primaryKey[1]: 'id' is named twice",
            "shop.yaml:18:24: spec.primaryKey[2]: 'main.customers' has no column 'no'; there are age, id, mentor_id, mood, name, password, secret",
            "shop.yaml:19:18: spec.defaultSort[0].column: there is no column 'Age' to sort by; did you mean 'age'?",
            "shop.yaml:19:47: spec.defaultSort[2].column: 'id' is named twice",
            "shop.yaml:20:12: spec.limits.maxList: a limit of 0 leaves nothing; use 1 or more, or remove the operation",
        ],
    );
}

#[test]
fn two_entities_cannot_share_a_path() {
    refuses(
        &[entity("customers", ""), entity("people", "  table: customers\n  name: customers")],
        &[
            "shop.yaml:17:3: spec.name: two entities are 'main.customers', the first at shop.yaml:2; give one of them another `name` or \
           `apiSchema`",
        ],
    );
    let both = catalog(&[entity("customers", ""), entity("people", "  table: customers\n  apiSchema: crm")]);
    assert!(both.find(&Target { schema: Some("crm".to_owned()), entity: "customers".to_owned() }).is_some());
}

#[test]
fn an_entity_with_a_policy_is_closed_and_its_neighbours_are_not() {
    let policy = "---\napiVersion: resolvespec.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: a}\nspec: {entity: customers, filter: x y}\n";
    let catalog = catalog(&[entity("customers", ""), entity("orders", ""), policy.to_owned()]);
    let closed: Vec<bool> = catalog.entities().iter().map(|entity| entity.is_closed).collect();
    assert_eq!(closed, [true, false]);
    assert_eq!(catalog.entities()[0].operations, Operations::default(), "however bad the policy is");
    assert_ne!(catalog.entities()[1].operations, Operations::default());
}

#[test]
fn declared_sql_is_cut_at_its_parameters() {
    let customers = one(
        "customers",
        "
  computed: [{name: shout, expression: ' upper(name) '}]
  operators:
    - name: older
      condition: \"age > {years} and note <> '{years}' and age<{most}\"
      parameters: [{name: most, type: integer}, {name: years, type: integer}]
    - {name: adult, condition: age >= 18}
",
    );
    assert_eq!(customers.computed[0].expression, "upper(name)");
    let sql = |text: &str| Piece::Sql(text.to_owned());
    assert_eq!(
        customers.operators[0].pieces,
        [sql("age > "), Piece::Parameter(1), sql(" and note <> '{years}' and age<"), Piece::Parameter(0), sql("")]
    );
    assert_eq!(customers.operators[1].pieces, [sql("age >= 18")]);
}

#[test]
fn declared_sql_must_be_one_expression() {
    refuses(
        &[entity(
            "customers",
            "
  computed:
    - {name: NAME, expression: age}
    - {name: a, expression: ' '}
    - {name: a, expression: '1 -- one'}
    - {name: b, expression: '(age', type: enum}
    - {name: c, expression: '1) or (1=1'}
    - {name: d, expression: 'age > ?'}
    - {name: e, expression: 'age; drop table x'}
    - {name: f, expression: '''open'}
  operators:
    - {name: o, condition: 'age > {yaers}', parameters: [{name: years}]}
    - {name: o, condition: 'age > {x', parameters: [{name: x}, {name: x}, {name: 'y z'}]}
    - {name: p, condition: 'age > 1', parameters: [{name: x}]}
    - {name: q, condition: ''}
",
        )],
        &[
            "shop.yaml:10:8: spec.computed[0].name: 'NAME' is also a column: 'name'; give it another name",
            "shop.yaml:11:17: spec.computed[1].expression: an expression is missing",
            "shop.yaml:12:8: spec.computed[2].name: 'a' is declared twice",
            "shop.yaml:12:17: spec.computed[2].expression: a comment can't stand in an expression",
            "shop.yaml:13:17: spec.computed[3].expression: a '(' is not closed",
            "shop.yaml:13:37: spec.computed[3].type: an enum's values can't be told here; use text",
            "shop.yaml:14:17: spec.computed[4].expression: a ')' closes nothing",
            "shop.yaml:15:17: spec.computed[5].expression: '?' would stand for a value of the statement",
            "shop.yaml:16:17: spec.computed[6].expression: one expression is expected, without ';'",
            "shop.yaml:17:17: spec.computed[7].expression: a quote or a comment is not closed",
            "shop.yaml:19:17: spec.operators[0].condition: '{yaers}' is not a declared parameter; did you mean 'years'?",
            "shop.yaml:20:8: spec.operators[1].name: 'o' is declared twice",
            "shop.yaml:20:17: spec.operators[1].condition: a '{' must be followed by a parameter's name and '}'; there are x, y z",
            "shop.yaml:20:65: spec.operators[1].parameters[1].name: 'x' is declared twice",
            "shop.yaml:20:76: spec.operators[1].parameters[2].name: 'y z' can't be a parameter's name; use letters, digits and '_'",
            "shop.yaml:21:53: spec.operators[2].parameters[0].name: the parameter 'x' is not used; write {x} in the condition, outside of quotes, or remove the parameter",
            "shop.yaml:22:17: spec.operators[3].condition: an expression is missing",
        ],
    );
}

fn everything() -> Vec<String> {
    ["orders", "customers", "profiles", "products", "order_products", "friends"].map(|name| entity(name, "")).to_vec()
}

fn everything_from(first: &str, spec: &str) -> Vec<String> {
    let rest = everything().into_iter().filter(|text| !text.contains(&format!("name: {first}\n")));
    std::iter::once(entity(first, spec)).chain(rest).collect()
}

#[test]
fn relations_are_derived_from_foreign_keys() {
    assert_eq!(
        relations(&everything()),
        [
            "customer: belongsTo customers(customer_id id)",
            "customers: belongsTo customers(payer id)",
            "order_products: hasMany order_products(id order_id)",
            "products: manyToMany products(id id) through main.order_products(order_id product_id)",
        ]
    );
    assert_eq!(
        relations(&everything_from("customers", "")),
        [
            "mentor: belongsTo customers(mentor_id id)",
            "children: hasMany customers(id mentor_id)",
            "orders_by_customer_id: hasMany orders(id customer_id)",
            "orders_by_payer: hasMany orders(id payer)",
            "profiles: hasOne profiles(id customer_id)",
            "friends_by_who: hasMany friends(id who)",
            "friends_by_whom: hasMany friends(id whom)",
            "customers_by_whom: manyToMany customers(id id) through main.friends(who whom)",
            "customers_by_who: manyToMany customers(id id) through main.friends(whom who)",
        ]
    );
}

#[test]
fn derivation_stays_within_what_is_exposed() {
    assert!(relations(&[entity("orders", "  relations: []"), entity("customers", "")]).is_empty());
    assert!(relations(&[entity("orders", ""), entity("products", "")]).is_empty(), "the link table is no entity");
    let hidden = "  columns: [{name: customer_id, hidden: true}, {name: payer, writeOnly: true}]";
    assert!(relations(&[entity("orders", hidden), entity("customers", "")]).is_empty());
    let orders = relations(&[entity("customers", ""), entity("orders", hidden)]);
    assert_eq!(orders, ["mentor: belongsTo customers(mentor_id id)", "children: hasMany customers(id mentor_id)"]);
}

#[test]
fn derived_names_give_way_to_columns() {
    let aliased = "  columns: [{name: note, alias: customer}, {name: payer, alias: payerId}, {name: amount, alias: payer}]";
    assert_eq!(
        relations(&[entity("orders", aliased), entity("customers", "")]),
        ["customer_by_customer_id: belongsTo customers(customer_id id)", "payer_by_payerId: belongsTo customers(payerId id)"]
    );
}

#[test]
fn two_entities_of_one_table_are_led_to_once() {
    let people = entity("people", "  table: customers\n  name: people");
    assert_eq!(
        relations(&[entity("orders", ""), people.clone(), entity("customers", "")]),
        ["customer: belongsTo customers(customer_id id)", "customers: belongsTo customers(payer id)"]
    );
    assert_eq!(relations(&[entity("profiles", ""), people]), ["customer: belongsTo people(customer_id id)"]);
}

#[test]
fn declared_relations_are_completed_from_foreign_keys() {
    let spec = "
  relations:
    - {name: profile, kind: hasOne, target: profiles}
    - {name: purchases, kind: hasMany, target: main.orders, targetColumns: [customer_id]}
    - {name: mentor, kind: belongsTo, target: customers}
    - {name: sameAge, kind: hasMany, target: customers, columns: [age], targetColumns: [age]}
    - {name: follows, kind: manyToMany, target: customers, through: {table: friends, columns: [who]}}
    - {name: followers, kind: manyToMany, target: customers, through: {table: friends, targetColumns: [who]}}
";
    assert_eq!(
        relations(&everything_from("customers", spec)),
        [
            "profile: hasOne profiles(id customer_id)",
            "purchases: hasMany orders(id customer_id)",
            "mentor: belongsTo customers(mentor_id id)",
            "sameAge: hasMany customers(age age)",
            "follows: manyToMany customers(id id) through main.friends(who whom)",
            "followers: manyToMany customers(id id) through main.friends(whom who)",
        ]
    );
    let spec = "  relations: [{name: products, kind: manyToMany, target: products, through: {table: order_products}}]";
    assert_eq!(
        relations(&[entity("orders", spec), entity("products", "")]),
        ["products: manyToMany products(id id) through main.order_products(order_id product_id)"],
        "a link table need not be an entity to be named"
    );
}

#[test]
fn contradictions_of_relations_name_both_sides() {
    refuses(
        &everything_from(
            "customers",
            "
  relations:
    - {name: age, kind: hasOne, target: profiles}
    - {name: a, kind: hasOne, target: profile}
    - {name: a, kind: hasMany, target: orders}
    - {name: b, kind: hasOne, target: orders, targetColumns: [payer]}
    - {name: c, kind: belongsTo, target: products}
    - {name: d, kind: hasMany, target: orders, columns: [id, age], targetColumns: [payer]}
    - {name: e, kind: hasMany, target: orders, columns: [name], targetColumns: [payer]}
    - {name: f, kind: hasMany, target: orders, targetColumns: [payre]}
    - {name: g, kind: hasMany, target: orders, through: {table: friends}}
    - {name: h, kind: manyToMany, target: customers}
    - {name: i, kind: manyToMany, target: customers, through: {table: friend}}
    - {name: j, kind: manyToMany, target: customers, through: {table: friends}}
    - {name: k, kind: manyToMany, target: customers, through: {table: friends, columns: [no]}}
    - {name: l, kind: belongsTo, target: orders, columns: [age], targetColumns: [payer]}
",
        ),
        &[
            "shop.yaml:10:8: spec.relations[0].name: 'age' is also the name of a column; give the relation another name",
            "shop.yaml:11:31: spec.relations[1].target: there is no entity 'profile'; did you mean 'profiles'?",
            "shop.yaml:12:7: spec.relations[2].targetColumns: several foreign keys are between 'main.customers' and 'main.orders': (id) with (customer_id), (id) with (payer); name the columns of one under `columns` or `targetColumns`",
            "shop.yaml:12:8: spec.relations[2].name: 'a' is also the name of another relation; give the relation another name",
            "shop.yaml:13:17: spec.relations[3].kind: nothing in the database keeps (payer) unique in 'main.orders'; use `kind: hasMany`, or add a unique index",
            "shop.yaml:14:7: spec.relations[4].columns: no foreign key is between 'main.customers' and 'main.products'; name both `columns` and `targetColumns`",
            "shop.yaml:15:68: spec.relations[5].targetColumns: (id, age) and (payer) differ in number; `columns` and `targetColumns` must pair up",
            "shop.yaml:16:48: spec.relations[6].columns: 'customers.name' is text, but 'orders.payer' is integer; a relation needs columns of one type",
            "shop.yaml:17:64: spec.relations[7].targetColumns[0]: 'main.orders' has no column 'payre'; did you mean 'payer'?",
            "shop.yaml:18:48: spec.relations[8].through: only a manyToMany relation goes through a table; remove `through` or change `kind`",
            "shop.yaml:19:7: spec.relations[9].through: a manyToMany relation needs its link table; write `through: {table: friends}` or `through: {table: orders}`",
            "shop.yaml:20:64: spec.relations[10].through.table: the database has no table 'main.friend'; did you mean 'friends'?",
            "shop.yaml:21:54: spec.relations[11].through.columns: several foreign keys are between 'main.friends' and 'main.customers': (id) with (who), (id) with (whom); name the columns of one under `columns` or `through.columns`",
            "shop.yaml:22:90: spec.relations[12].through.columns[0]: 'main.friends' has no column 'no'; there are who, whom",
            "shop.yaml:23:66: spec.relations[13].targetColumns: nothing in the database keeps (payer) unique in 'main.orders'; a belongsTo relation must lead to a key",
        ],
    );
}

#[test]
fn a_relation_to_an_entity_with_a_problem_is_not_a_second_problem() {
    let spec = "  relations: [{name: a, kind: hasOne, target: nowhere}]";
    let problems = try_catalog(&[entity("customers", spec), entity("nowhere", "")]).expect_err("a table is missing");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_relation_stays_within_its_source() {
    let elsewhere = "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {name: other}\nspec: {engine: sqlite, connection: \
                     {url: 'sqlite:x'}}\n";
    let other = entity("products", "").replace("source: shop", "source: other");
    let spec = "  relations: [{name: a, kind: hasMany, target: products}]";
    let manifests = manifests(&[entity("customers", spec), other, format!("---\n{elsewhere}")]);
    let facts = HashMap::from([("shop".to_owned(), facts()), ("other".to_owned(), facts())]);
    let problems = compile(&manifests, &facts, &super::Settings::default()).expect_err("the relation leads elsewhere");
    assert_eq!(
        problems[0].to_string(),
        "shop.yaml:8:40: spec.relations[0].target: 'products' is in the source 'other'; a relation can lead only to entities of 'shop'"
    );
}

#[test]
fn what_is_wrong_by_itself_is_told_without_a_table_too() {
    let (wrong, here) = ("  name: a b\n  limits: {maxRows: 0}", "orders");
    let without = try_catalog(&[entity("nothing", wrong)]).expect_err("there is no such table");
    let with = try_catalog(&[entity(here, wrong)]).expect_err("it is wrong");
    let told = |problems: &[crate::manifest::Problem]| -> Vec<String> {
        let reasons = problems.iter().filter(|problem| problem.cause == crate::manifest::problem::Cause::Invalid);
        reasons.map(|problem| problem.reason.clone()).collect()
    };
    assert_eq!(told(&with), ["'a b' can't be a name that clients use", "a limit of 0 leaves nothing"]);
    assert_eq!((told(&without), without.len()), (told(&with), 3));
}
