//! The example clients, run as people run them against `dev`: each sees its own change, and the one that it missed. Those of
//! MQTT are run with the broker of `dev` and with Mosquitto.

#[path = "../../examples/clients/rust/mqtt.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod rust_over_mqtt;

use crate::support::clients;
use crate::support::mqtt::OwnMosquitto;
use crate::support::process::Finish;
use crate::support::shop::{Process, Shop};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// A program of `examples/clients/javascript`, beside its packages.
fn javascript(shop: &Shop, program: &str) -> Command {
    let folder = shop.0.join("javascript");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(clients::repository("examples/clients/javascript").join(program), folder.join(program)).expect("it is there");
    std::os::unix::fs::symlink(clients::folder().join("npm/javascript/node_modules"), folder.join("node_modules"))
        .expect("a link can be made");
    let mut node = clients::node();
    node.arg(folder.join(program));
    node
}

fn python(program: &str) -> Command {
    let mut python = Command::new(clients::folder().join("venv/bin/python"));
    python.arg("-B").arg(clients::repository("examples/clients/python").join(program));
    python
}

/// Builds a program of `examples/clients/go`, once for all runs with the same sources.
fn go(program: &str) -> Command {
    let target: PathBuf = clients::folder().join(format!("go-{program}-{}", std::process::id()));
    let mut build = Command::new(clients::folder().join("bin/go"));
    build.args(["build", "-mod=readonly", "-o"]).arg(&target).arg(format!("./{program}"));
    build.current_dir(clients::repository("examples/clients/go"));
    build.env("GOMODCACHE", clients::folder().join("go")).env("GOCACHE", clients::folder().join("go-build"));
    build.env("GOFLAGS", "-modcacherw").env("GOPROXY", "off").env("CGO_ENABLED", "0");
    let built = build.finished();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Command::new(target)
}

fn lines(output: &Output) -> Vec<String> {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told.lines().map(ToOwned::to_owned).collect()
}

fn start(shop: &Shop) -> Process {
    shop.start(&["dev", "--port", "0"], &[])
}

/// Runs a client twice: what it leaves behind must not be in its way.
fn follows_over_websocket(name: &str, program: impl Fn(&Shop) -> Command, carrier: &str, names: [&str; 2]) {
    let shop = Shop::flights(name);
    let mut dev = start(&shop);
    let mut client = program(&shop);
    client.arg(format!("http://{}", dev.address));
    let [first, second] = names;
    let expected = [
        "subscribed".to_owned(),
        format!("told: create {carrier} {first}"),
        "cut".to_owned(),
        "restored 1".to_owned(),
        format!("missed: update {carrier} {second}"),
        format!("told: delete {carrier}"),
    ];
    for _ in 0..2 {
        let output = client.finished();
        assert_eq!(lines(&output), expected);
    }
    dev.end();
}

#[test]
fn javascript_follows_over_websocket() {
    let program = |shop: &Shop| javascript(shop, "websocket.mjs");
    follows_over_websocket("javascript", program, "JS", ["Script Air", "Script Airways"]);
}

#[test]
fn python_follows_over_websocket() {
    let program = |_: &Shop| python("follow_websocket.py");
    follows_over_websocket("python", program, "PY", ["Serpent Air", "Serpent Airways"]);
}

#[test]
fn go_follows_over_websocket() {
    let program = |_: &Shop| go("websocket");
    follows_over_websocket("go", program, "GO", ["Gopher Air", "Gopher Airways"]);
}

/// The lines of a client over MQTT.
fn over_mqtt(client: &str, carrier: &str, [first, second]: [&str; 2]) -> [String; 6] {
    [
        format!("subscribed, told at spec/{client}/notify/…"),
        format!("told: create {carrier} {first}"),
        "cut".to_owned(),
        "the broker has kept the session".to_owned(),
        format!("missed: update {carrier} {second}"),
        format!("told: delete {carrier}"),
    ]
}

/// Where a service and its broker are, with the broker of `dev` and with Mosquitto.
fn with_each_broker(name: &str, follow: impl Fn(&Shop, &str, &str)) {
    let shop = Shop::flights(&format!("{name}-own"));
    let mut dev = shop.start(&["dev", "--port", "0", "--mqtt-listen", "127.0.0.1:0"], &[]);
    let line = dev.hear("MQTT is at ");
    let (_, rest) = line.split_once("MQTT is at ").expect("an address");
    let broker = format!("mqtt://{}", rest.split_once(". ").expect("the end of a sentence").0);
    dev.enters_its_broker();
    follow(&shop, &broker, &format!("http://{}", dev.address));
    dev.end();

    let mosquitto = OwnMosquitto::start(&format!("clients-{name}"));
    let shop = Shop::flights(&format!("{name}-mosquitto"));
    let mut dev = shop.start(&["dev", "--port", "0", "--mqtt-broker", &mosquitto.url()], &[]);
    dev.enters_its_broker();
    follow(&shop, &mosquitto.url(), &format!("http://{}", dev.address));
    dev.end();
}

/// Runs a client twice: what it leaves behind must not be in its way.
fn follows_over_mqtt(name: &str, program: impl Fn(&Shop) -> Command, carrier: &str, names: [&str; 2]) {
    let expected = over_mqtt(&format!("example-{name}"), carrier, names);
    with_each_broker(name, |shop, broker, service| {
        let mut client = program(shop);
        client.args([broker, service]);
        for _ in 0..2 {
            let output = client.finished();
            assert_eq!(lines(&output), expected, "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
}

#[test]
fn javascript_follows_over_mqtt() {
    follows_over_mqtt("javascript", |shop| javascript(shop, "mqtt.mjs"), "MJ", ["Script Air", "Script Airways"]);
}

#[test]
fn python_follows_over_mqtt() {
    follows_over_mqtt("python", |_| python("follow_mqtt.py"), "MP", ["Serpent Air", "Serpent Airways"]);
}

#[test]
fn go_follows_over_mqtt() {
    follows_over_mqtt("go", |_| go("mqtt"), "MG", ["Gopher Air", "Gopher Airways"]);
}

#[test]
fn rust_follows_over_mqtt() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    with_each_broker("rust", |_, broker, _| {
        for _ in 0..2 {
            let run = async {
                let broker = broker.parse().expect("a URL");
                let run = rust_over_mqtt::run(&broker);
                tokio::time::timeout(Duration::from_mins(1), run).await.expect("in time").expect("it does what it says")
            };
            assert_eq!(runtime.block_on(run), over_mqtt("example-rust", "MR", ["Ferrous Air", "Ferrous Airways"]));
        }
    });
}
