//! The binary as people run it: who gets in, how it ends, what it refuses and how it reloads.

use crate::support::database::{Fresh, Kind};
use crate::support::process::Finish;
use crate::support::shop::{MANIFEST, Process, SECRET, Shop, in_seconds, run, token};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use url::Url;

#[test]
fn serve_refuses_to_start_without_a_word_on_authentication() {
    let shop = Shop::new("refuses");
    let output = run(&["serve", shop.0.to_str().expect("UTF-8")]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--allow-anonymous") && said.contains("RESOLVESPEC_JWT_SECRET"), "{said}");
}

#[test]
fn tokens_decide_who_gets_in_and_roles_what_they_may() {
    let shop = Shop::new("tokens").seeded();
    let listen = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--leave-seconds", "0"];
    let mut serve = shop.start(&listen, &[("RESOLVESPEC_JWT_SECRET", SECRET)]);
    let read = json!({"operation": "read"});
    let create = json!({"operation": "create", "data": {"name": "ink"}});
    let good = token(&json!({"sub": "ada", "exp": in_seconds(60), "roles": ["editor"]}), SECRET);
    let reader = token(&json!({"sub": "bob", "exp": in_seconds(60)}), SECRET);
    assert_eq!(serve.post("/api/main/items", &read, None).0, 401);
    assert_eq!(serve.post("/api/main/items", &read, Some("nonsense")).0, 401);
    let stranger = token(&json!({"exp": in_seconds(60)}), "another secret that is as long as it has to be");
    assert_eq!(serve.post("/api/main/items", &read, Some(&stranger)).0, 401);
    let late = token(&json!({"exp": in_seconds(-120)}), SECRET);
    assert_eq!(serve.post("/api/main/items", &read, Some(&late)).0, 401);
    let endless = token(&json!({"sub": "ada"}), SECRET);
    assert_eq!(serve.post("/api/main/items", &read, Some(&endless)).0, 401, "a token without exp is refused");
    assert_eq!(serve.post("/api/main/items", &read, Some(&reader)).0, 200);
    assert_eq!(serve.post("/api/main/items", &create, Some(&reader)).0, 403);
    assert_eq!(serve.post("/api/main/items", &create, Some(&good)).0, 200);
    assert_eq!(
        serve.post("/api/main/items/1", &json!({"operation": "delete"}), Some(&good)).0,
        403,
        "an operation that is not listed is not exposed"
    );
    serve.end();
}

/// A browser sends its user's credentials along with any page's connection.
#[test]
fn pages_of_other_sites_open_no_websocket_unless_they_are_listed() {
    let shop = Shop::new("pages").seeded();
    let open = ["serve", "--allow-anonymous", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--leave-seconds", "0"];
    let listed = ["--cors-origin", "https://app.example", "--cors-origin", "https://shop.example"];
    for (more, of_the_listed) in [(&listed[..0], 403), (&listed[..], 101)] {
        let mut serve = shop.start(&[&open[..], more].concat(), &[]);
        assert_eq!(serve.upgrade(None), 101, "who is no page is no browser");
        for origin in ["https://app.example", "https://shop.example"] {
            assert_eq!(serve.upgrade(Some(origin)), of_the_listed, "{origin} with {more:?}");
        }
        for origin in
            ["https://evil.example", "http://app.example", "https://app.example.evil.example", "http://localhost", "null"]
        {
            assert_eq!(serve.upgrade(Some(origin)), 403, "{origin} with {more:?}");
        }
        let own = format!("http://{}", serve.address);
        assert_eq!(serve.upgrade(Some(&own)), 403, "its own address is no page of anybody's: {more:?}");
        serve.end();
    }
}

/// The status of what is at a path, asked for by a name.
fn status_at(process: &Process, host: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(&process.address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"))
}

/// What a page can have its browser send anywhere without asking first, as `fetch` does in the mode `no-cors`.
fn simple_post(process: &Process, style: &str, origin: &str, more: &str) -> (u16, Value) {
    let row = json!({"name": "ink"});
    let body = if style == "api" { json!({"operation": "create", "data": row}) } else { row };
    let headers = format!("Origin: {origin}\r\nContent-Type: text/plain\r\n{more}");
    process.post_with(&format!("/{style}/main/items"), &body, &headers)
}

fn open_shop(name: &str) -> Shop {
    let shop = Shop::new(name);
    let open = MANIFEST.replace("create: {roles: [editor]}", "create: {}");
    std::fs::write(shop.0.join("shop.yaml"), open).expect("written");
    shop
}

#[test]
fn pages_of_other_sites_do_not_get_into_dev() {
    let shop = open_shop("cross-site");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    for style in ["api", "rest"] {
        for origin in ["https://evil.example", "http://localhost.evil.example", "http://10.0.0.1:8080", "null"] {
            let (status, body) = simple_post(&dev, style, origin, "");
            assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{style} of {origin}: {body}");
            assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("--cors-origin")), "{body}");
        }
    }
    let total = || dev.post("/api/main/items", &json!({"operation": "read"}), None).1["metadata"]["total"].clone();
    assert_eq!(total(), 1, "who is refused has written nothing");
    for own in [format!("http://{}", dev.address), "http://localhost:5173".to_owned()] {
        assert_eq!(simple_post(&dev, "api", &own, "").0, 200, "{own}");
    }
    assert_eq!(total(), 3);

    let (_, port) = dev.address.rsplit_once(':').expect("a port");
    for own in [dev.address.clone(), format!("localhost:{port}"), "127.0.0.1".to_owned(), format!("[::1]:{port}")] {
        assert_eq!(status_at(&dev, &own, "/rest/main/items"), 200, "{own}");
    }
    // The name of a page's site may lead here (DNS rebinding), and then the page may read whatever is answered.
    for path in ["/rest/main/items", "/api/main/items", "/openapi", "/metrics", "/admin/connections", "/nothing"] {
        assert_eq!(status_at(&dev, &format!("evil.example:{port}"), path), 403, "{path}");
    }
    dev.end();
}

#[test]
fn pages_of_other_sites_call_serve_with_a_token_or_if_they_are_listed() {
    let listen = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--leave-seconds", "0"];
    let shop = open_shop("cross-site-served").seeded();
    let open = ["--allow-anonymous", "--cors-origin", "https://app.example"];
    let mut serve = shop.start(&[&listen[..], &open[..]].concat(), &[]);
    assert_eq!(simple_post(&serve, "rest", "https://evil.example", "").0, 403);
    // The last is the name that it is asked by, as a page of its own has it behind a proxy.
    for origin in ["https://app.example", "https://localhost"] {
        assert_eq!(simple_post(&serve, "rest", origin, "").0, 200, "{origin}");
    }
    assert_eq!(status_at(&serve, "api.example", "/rest/main/items"), 200, "it does not know by which names it is reached");
    serve.end();

    let mut serve = shop.start(&listen, &[("RESOLVESPEC_JWT_SECRET", SECRET)]);
    let token = token(&json!({"sub": "ada", "exp": in_seconds(60)}), SECRET);
    assert_eq!(simple_post(&serve, "rest", "https://evil.example", "").0, 401);
    let with_token = simple_post(&serve, "rest", "https://evil.example", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(with_token.0, 200, "no page sends a token of its reader's unasked: {}", with_token.1);
    serve.end();
}

#[test]
fn a_signal_lets_requests_finish_and_ends_the_process() {
    let shop = Shop::new("signal");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    assert_eq!(dev.post("/api/main/items", &json!({"operation": "read"}), None).0, 200);
    let since = Instant::now();
    dev.end();
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[test]
fn dev_prints_a_line_to_try_for_each_entity() {
    let shop = Shop::new("prints");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let said = dev.says_until(|said| said.contains("Ctrl-C"));
    let line = said.lines().find(|line| line.trim_start().starts_with("curl ")).expect("a curl line").trim().to_owned();
    let output = Command::new("bash").args(["-c", &line]).finished();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"));
    assert_eq!(answer["data"][0]["name"], "pen");
    let seen = Command::new("curl").args(["-sL", &format!("http://{}/", dev.address)]).finished();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("<html"), "a browser that comes without a path sees the docs");
    dev.end();
}

const THREE: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: makers}
spec: {source: shop, apiSchema: people}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: order-lines}
spec: {source: shop, table: order_lines, name: order_lines, operations: {read: {}}}
";

#[test]
fn dev_prints_a_line_for_each_of_its_entities_and_that_it_is_open_on_this_machine_alone() {
    let shop = Shop::new("three");
    std::fs::write(shop.0.join("shop.yaml"), THREE).expect("written");
    let seed = "create table items (id integer primary key, name text); insert into items values (1, 'pen');
        create table makers (id integer primary key, name text); insert into makers values (1, 'Ada');
        create table order_lines (id integer primary key, name text); insert into order_lines values (1, 'a dozen');";
    std::fs::write(shop.0.join("seed.sql"), seed).expect("written");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let said = dev.says_until(|said| said.contains("Ctrl-C"));
    assert!(said.contains("serves 3 entities"), "{said}");
    assert!(said.contains("open to every program on this machine") && said.contains("`resolvespec serve`"), "{said}");
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (path, name) in [("main/items", "pen"), ("people/makers", "Ada"), ("main/order_lines", "a dozen")] {
        let url = format!(" http://{}/api/{path} ", dev.address);
        let line = lines.iter().copied().find(|line| line.contains(&url)).unwrap_or_else(|| panic!("no line for {path}: {said}"));
        let output = Command::new("bash").args(["-c", line]).finished();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"));
        assert_eq!(answer["data"], json!([{"id": 1, "name": name}]), "{line}");
    }

    let address: SocketAddr = dev.address.parse().expect("an address");
    assert!(address.ip().is_loopback(), "{address}");
    // Whoever listens everywhere is reached by every address of this machine.
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
    assert!(TcpStream::connect(elsewhere).is_err(), "it listens at {elsewhere} too");
    dev.end();
}

#[test]
fn dev_reloads_what_is_good_and_keeps_serving_when_it_is_not() {
    let shop = Shop::new("reloads");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let manifest = shop.0.join("shop.yaml");
    let status = |name: &str| dev.post(&format!("/api/main/{name}"), &json!({"operation": "read"}), None).0;
    let until = |name: &str, wanted: u16| {
        let deadline = Instant::now() + Duration::from_secs(15);
        while status(name) != wanted {
            assert!(Instant::now() < deadline, "{name} does not answer {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::fs::write(&manifest, MANIFEST.replace("{source: shop,", "{source: shop, name: things,")).expect("written");
    until("things", 200);
    assert_eq!(status("items"), 404);
    std::fs::write(&manifest, MANIFEST.replace("{source: shop,", "{source: shop, table: nothing,")).expect("written");
    let deadline = Instant::now() + Duration::from_secs(15);
    while !dev.logged().contains("still served") {
        assert!(Instant::now() < deadline, "{}", dev.logged());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = dev.logged();
    assert!(said.contains("shop.yaml:10:") && said.contains("nothing"), "{said}");
    assert_eq!(status("things"), 200);
    dev.end();
}

#[test]
fn check_names_both_sides_of_a_contradiction() {
    let shop = Shop::new("check").seeded();
    let bad = MANIFEST.replace("{source: shop,", "{source: shop, columns: [{name: name, type: integer}],");
    std::fs::write(shop.0.join("shop.yaml"), bad).expect("written");
    let output = run(&["check", shop.0.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("shop.yaml:10:") && said.contains("integer") && said.contains("text"), "{said}");
}

#[test]
fn what_introspect_prints_can_be_served() {
    let shop = Shop::new("introspect").seeded();
    let url = format!("sqlite:{}", shop.0.join("shop.db").display());
    let output = run(&["introspect", &url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(shop.0.join("shop.yaml"), &output.stdout).expect("written");
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let (status, body) = dev.post("/api/main/items/1", &json!({"operation": "read"}), None);
    assert_eq!((status, &body["data"]["name"]), (200, &json!("pen")));
    dev.end();
}

/// The file is there already, and nothing is seeded.
#[test]
fn a_database_of_sqlite_that_is_introspected_takes_writes() {
    let shop = Shop::new("introspect-writes").seeded();
    let url = format!("sqlite:{}", shop.0.join("shop.db").display());
    let output = run(&["introspect", &url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(shop.0.join("shop.yaml"), &output.stdout).expect("written");
    let read = json!({"operation": "read"});
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let create = json!({"operation": "create", "data": {"name": "ink"}});
    let (status, body) = dev.post("/api/main/items", &create, None);
    assert_eq!((status, &body["data"]["name"]), (200, &json!("ink")), "{body}");
    let path = format!("/api/main/items/{}", body["data"]["id"]);
    let (status, read_back) = dev.post(&path, &read, None);
    assert_eq!((status, &read_back["data"]), (200, &body["data"]), "{read_back}");
    dev.end();
    // It is in the file, and not in the process.
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let (status, read_back) = dev.post(&path, &read, None);
    assert_eq!((status, &read_back["data"]), (200, &body["data"]), "{read_back}");
    dev.end();
}

/// The URL of a test server, changed.
fn server_url(kind: Kind, change: impl FnOnce(&mut Url)) -> String {
    let variable = format!("TEST_{}_URL", kind.name().to_uppercase());
    let url = std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} is not set: run the tests with tests/run"));
    let mut url = Url::parse(&url).expect("a URL");
    change(&mut url);
    url.into()
}

const WRONG: &str = "not-the-p4ssword";

/// Whoever typed the URL is told what of it to look at, and nobody the password.
fn assert_introspect_fails(url: &str, with: &str) {
    let output = run(&["introspect", url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "nothing that looks like manifests: {}", String::from_utf8_lossy(&output.stdout));
    assert!(said.starts_with("error: ") && said.contains(with), "it names '{with}': {said}");
    assert!(said.contains("URL"), "it says where to mend it: {said}");
    assert!(!said.contains(WRONG), "{said}");
}

#[test]
fn introspect_with_a_wrong_password_says_what_to_do_and_not_the_password() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let url = server_url(kind, |url| url.set_password(Some(WRONG)).expect("it can have a password"));
        let user = Url::parse(&url).expect("a URL").username().to_owned();
        assert_introspect_fails(&url, &user);
    }
}

#[test]
fn introspect_of_an_unknown_host_says_what_to_do_and_not_the_password() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let url = server_url(kind, |url| {
            url.set_password(Some(WRONG)).expect("it can have a password");
            url.set_host(Some("nowhere.invalid")).expect("it can have a host");
        });
        assert_introspect_fails(&url, "nowhere.invalid");
    }
}

#[test]
fn introspect_of_a_host_that_does_not_listen_says_what_to_do_and_not_the_password() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let free = crate::support::ports::free_port();
        let url = server_url(kind, |url| {
            url.set_password(Some(WRONG)).expect("it can have a password");
            url.set_port(Some(free)).expect("it can have a port");
        });
        assert_introspect_fails(&url, &free.to_string());
    }
}

#[test]
fn every_subcommand_explains_itself() {
    for command in
        ["dev", "serve", "publish", "introspect", "check", "capture install", "capture status", "capture remove", "probe", "crds"]
    {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let output = run(&arguments);
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && help.contains("Usage: resolvespec"), "{command}: {help}");
        let lines: Vec<&str> = help.lines().map(str::trim).collect();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("--")) {
            let beside = line.split_once("  ").is_some_and(|(_, text)| !text.trim().is_empty());
            let below = lines.get(place + 1).is_some_and(|next| !next.is_empty() && !next.starts_with('-'));
            assert!(beside || below, "{command} does not say what {line} is");
        }
    }
}

#[test]
fn a_probe_fails_unless_the_answer_is_a_good_one() {
    let shop = Shop::new("probe").seeded();
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let address = dev.address.clone();
    let probe = |path: &str| run(&["probe", &format!("http://{address}{path}")]);
    let good = probe("/ready");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let body: Value = serde_json::from_slice(&good.stdout).expect("the answer of the service");
    assert_eq!(body["ready"], true, "{body}");
    let bad = probe("/nowhere");
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("answered with status 404"));
    dev.end();
    let nobody = probe("/ready");
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && said.contains("refused"), "{said}");
}

/// What the README begins with.
#[test]
fn the_example_serves_flights_with_their_airlines_and_planes() {
    let example = Shop::flights("example");
    let mut dev = example.start(&["dev", "--port", "0"], &[]);
    let options = json!({
        "filters": [{"column": "origin", "operator": "eq", "value": "JFK"}],
        "sort": [{"column": "arr_delay", "direction": "desc", "nulls": "last"}], "limit": 3,
        "preload": [{"relation": "airline"}, {"relation": "plane", "columns": ["model", "year"]}]});
    let (status, body) = dev.post("/api/main/flights", &json!({"operation": "read", "options": options}), None);
    assert_eq!(status, 200, "{body}");
    let flights = body["data"].as_array().expect("a list");
    assert_eq!(flights.len(), 3);
    for flight in flights {
        assert!(flight["origin"] == "JFK" && flight["airline"]["name"].is_string(), "{flight}");
        assert!(flight["plane"].is_null() || flight["plane"]["model"].is_string(), "{flight}");
    }
    dev.end();
}

/// A database of each server, as a newcomer has it: introspected, served, read and written.
#[tokio::test(flavor = "multi_thread")]
async fn what_introspect_prints_of_a_server_can_be_served() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let fresh = Fresh::create(kind).await;
        let database = Database::connect(&Settings::new("newcomer", &fresh.url)).await.expect("the database answers");
        let script = "create table makers (id int primary key, name varchar(40) not null);
            create table pens (id int primary key, maker_id int not null references makers(id), price decimal(10,2));
            insert into makers values (1, 'Ada'); insert into pens values (7, 1, 12.50)";
        database.run_script(script).await.expect("the tables can be made");
        database.close().await;
        let other = Fresh::create(kind).await;
        let database = Database::connect(&Settings::new("neighbour", &other.url)).await.expect("the database answers");
        database.run_script("create table strangers (id int primary key)").await.expect("the table can be made");
        database.close().await;
        let shop = Shop::new(&format!("introspect-{}", kind.name()));
        let output = run(&["introspect", &fresh.url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifests = String::from_utf8_lossy(&output.stdout);
        assert!(!manifests.contains("strangers"), "another database of the server is not asked for: {manifests}");
        std::fs::write(shop.0.join("shop.yaml"), &output.stdout).expect("written");
        let mut dev = shop.start(&["dev", "--port", "0"], &[("RESOLVESPEC_DATABASE_URL", &fresh.url)]);
        let document = dev.get("/openapi");
        let openapi: Value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
        let mut paths = openapi["paths"].as_object().expect("paths").keys();
        let pens = paths.find(|path| path.starts_with("/api/") && path.ends_with("/pens")).expect("pens are served").clone();
        let read = json!({"operation": "read", "options": {"preload": [{"relation": "maker"}]}});
        let (status, body) = dev.post(&pens, &read, None);
        assert_eq!((status, &body["data"][0]["maker"]["name"]), (200, &json!("Ada")), "{} {body}", kind.name());
        let create = json!({"operation": "create", "data": {"id": 8, "maker_id": 1, "price": "0.10"}});
        let (status, body) = dev.post(&pens, &create, None);
        assert_eq!(status, 200, "{} {body}", kind.name());
        dev.end();
        drop(shop);
        fresh.remove().await;
        other.remove().await;
    }
}
