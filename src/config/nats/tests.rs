//! Which settings go together, and that none of them shows a secret.

use super::*;

fn args() -> NatsArgs {
    NatsArgs { servers: vec!["nats://me:hush@a".to_owned()], ..NatsArgs::default() }
}

fn error(args: NatsArgs) -> String {
    match args.resolve() {
        Err(Error::Other(text)) => text,
        other => panic!("an error was expected, and {other:?} came"),
    }
}

#[test]
fn names_in_nats_follow_from_one() {
    let config = NatsArgs { name: Some("shop".to_owned()), replicas: Some(3), ..args() }.resolve().unwrap().unwrap();
    assert_eq!((config.stream.name.as_str(), config.stream.prefix.as_str()), ("shop_events", "shop"));
    assert_eq!((config.catalog.name.as_str(), config.sessions.name.as_str()), ("shop_catalog", "shop_sessions"));
    assert_eq!((config.replicas.name.as_str(), config.replicas.replicas, config.stream.replicas), ("shop_replicas", 3, 3));
}

#[test]
fn what_cannot_work_is_told() {
    assert!(NatsArgs::default().resolve().unwrap().is_none());
    assert!(error(NatsArgs { tls: Some(true), ..NatsArgs::default() }).contains("no servers"));
    assert!(error(NatsArgs { name: Some("a.b".to_owned()), ..args() }).contains("letters"));
    assert!(error(NatsArgs { replicas: Some(2), ..args() }).contains("1, 3 or 5"));
    assert!(error(NatsArgs { cert: Some("a".into()), ..args() }).contains("go together"));
    assert!(error(NatsArgs { user: Some("me".to_owned()), ..args() }).contains("RESOLVESPEC_NATS_PASSWORD"));
    assert!(error(NatsArgs { creds: Some("/nowhere".into()), ..args() }).contains("/nowhere can't be read"));
    assert!(error(NatsArgs { events_seconds: Some(5), duplicate_seconds: Some(6), ..args() }).contains("duplicate"));
    let twice = NatsArgs { user: Some("me".to_owned()), token_file: Some("t".into()), ..args() };
    assert!(error(twice).contains("name one"));
}

#[test]
fn a_way_in_sets_aside_that_of_the_file() {
    let environment = |name: &str| (name == "RESOLVESPEC_NATS_TOKEN").then(|| "t0k\n".to_owned());
    let file = NatsArgs { user: Some("me".to_owned()), password_file: Some("/nowhere".into()), tls: Some(true), ..args() };
    let config = NatsArgs::default().with_environment(environment).over(file).resolve().unwrap().unwrap();
    assert_eq!(config.connection.credentials, Credentials::Token("t0k".to_owned()));
    assert!(config.connection.tls.required);
}

#[test]
fn nothing_secret_is_shown() {
    let environment = |_: &str| Some("hush".to_owned());
    let args = args().with_environment(environment);
    assert!(!format!("{args:?}").contains("hush"));
    let token = NatsArgs { password: None, nkey: None, ..args };
    let config = token.resolve().unwrap().unwrap();
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
}
