//! What the reader takes, and how it names what it does not take.

use super::{Manifests, Problem, paths, text};
use std::path::{Path, PathBuf};

const SOURCE: &str = "\
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata:
  name: shop
spec:
  engine: sqlite
  connection:
    url: sqlite:shop.db
";

const ENTITY: &str = "\
# Things that can be bought.
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata:
  name: products
spec:
  source: shop
  columns:
    - name: id
      readOnly: true
    - {name: price, type: decimal}
";

fn read(yaml: &str) -> Result<Manifests, Vec<Problem>> {
    text(Path::new("shop.yaml"), yaml)
}

#[track_caller]
fn problems(yaml: &str, expected: &[&str]) {
    let problems = read(yaml).expect_err("the text has problems");
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
}

fn entity(spec: &str) -> String {
    format!("apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: a}}\nspec:\n  source: shop\n{spec}")
}

#[test]
fn a_stream_holds_many_documents() {
    let manifests = read(&format!("---\n{SOURCE}---\n# nothing\n---\n{ENTITY}...\n")).expect("both are good");
    assert_eq!((manifests.sources.len(), manifests.entities.len()), (1, 1));
    assert_eq!(manifests.sources[0].key(), "shop");
    assert_eq!(manifests.entities[0].resource.spec.columns.len(), 2);
}

#[test]
fn a_declaration_knows_the_lines_of_its_parts() {
    let manifests = read(&format!("{SOURCE}---\n{ENTITY}")).expect("both are good");
    let place = &manifests.entities[0].place;
    assert_eq!(place.line, 11);
    assert_eq!(place.line_of("kind"), 12);
    assert_eq!(place.line_of("spec.columns[0].readOnly"), 19);
    assert_eq!(place.line_of("spec.columns[1].type"), 20);
    assert_eq!(place.line_of("spec.columns[1].alias"), 20, "the nearest part that is there");
    assert_eq!(place.line_of("spec.limits.maxRows"), 15);
}

#[test]
fn unknown_words_are_named_with_their_place() {
    problems(
        &entity("  colums: []\n"),
        &[
            "shop.yaml:6:3: spec.colums: unknown field `colums`, expected one of `source`, `sourceNamespace`, `schema`, `table`, `name`, \
           `apiSchema`, `description`, `columns`, `primaryKey`, `relations`, `operations`, `computed`, `operators`, \
           `limits`, `defaultSort`",
        ],
    );
    problems(
        &entity("  columns:\n  - name: id\n    type: varchar\n"),
        &["shop.yaml:8:5: spec.columns[0].type: unknown variant `varchar`, expected one of `boolean`, `integer`, `decimal`, \
           `float`, `text`, `uuid`, `date`, `time`, `timestamp`, `bytes`, `json`, `enum`"],
    );
    problems(
        "apiVersion: v1\nkind: Pod\n",
        &["shop.yaml:1:1: apiVersion: unknown apiVersion 'v1'; write `apiVersion: resolvespec.dev/v1alpha1`"],
    );
    problems(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: Table\n",
        &["shop.yaml:2:1: kind: unknown kind 'Table'; this version knows DataSource, Entity and AccessPolicy"],
    );
}

#[test]
fn every_document_tells_its_own_problems() {
    let bad_metadata =
        ENTITY.replace("name: products", "name: Products\n  label: x").replace("spec:", "status: {}\nsecp: 1\nspec:");
    let bad_spec = ENTITY.replace("source: shop", "source: 7");
    problems(
        &format!("{bad_metadata}---\n- 1\n---\n{bad_spec}---\n{SOURCE}"),
        &[
            "shop.yaml:8:1: secp: unknown field 'secp'; remove it or correct its name",
            "shop.yaml:6:3: metadata.label: unknown field 'label'; remove it or correct its name",
            "shop.yaml:5:3: metadata.name: 'Products' can't be a resource's name; use lower-case letters, digits, '-' and '.'; an \
             Entity's `table` and `name` can be anything",
            "shop.yaml:16:1: a manifest must be a map of apiVersion, kind, metadata and spec",
            "shop.yaml:24:3: spec.source: invalid type: number, expected a string",
        ],
    );
}

#[test]
fn missing_parts_are_named() {
    problems(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\n",
        &[
            "shop.yaml:1:1: metadata.name: metadata.name is missing; use lower-case letters, digits, '-' and '.'; an Entity's \
           `table` and `name` can be anything",
            "shop.yaml:1:1: spec is missing",
        ],
    );
    problems(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {name: a}\nspec: {table: b}\n",
        &["shop.yaml:4:1: spec: missing field `source`"],
    );
}

#[test]
fn broken_yaml_is_placed_and_keeps_what_came_before() {
    let problems = read(&format!("{SOURCE}---\nkind: [Entity\nspec: x\n")).expect_err("a bracket is open");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].line >= 10, "{}", problems[0]);
    assert!(problems[0].reason.starts_with("this is not YAML that can be read: "), "{}", problems[0]);
    let twice = read("kind: a\nkind: b\n").expect_err("a key is given twice");
    assert_eq!((twice.len(), twice[0].line), (1, 2), "{}", twice[0]);
}

#[test]
fn one_name_can_be_declared_once_in_a_namespace() {
    problems(
        &format!("{ENTITY}---\n{ENTITY}"),
        &[
            "shop.yaml:17:3: metadata.name: Entity 'products' is declared twice, first at shop.yaml:2; rename or remove one of them",
        ],
    );
    let elsewhere = ENTITY.replace("name: products", "name: products\n  namespace: other");
    let manifests = read(&format!("{ENTITY}---\n{elsewhere}")).expect("namespaces keep them apart");
    assert_eq!(manifests.entities[1].key(), "other/products");
}

#[test]
fn folders_are_read_in_order() {
    let folder = std::env::temp_dir().join(format!("resolvespec-read-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("b")).expect("a folder");
    std::fs::create_dir_all(folder.join(".git")).expect("a folder");
    std::fs::write(folder.join("c.yml"), SOURCE).expect("a file");
    std::fs::write(folder.join("b/a.yaml"), ENTITY).expect("a file");
    std::fs::write(folder.join("b/notes.txt"), "not: [yaml").expect("a file");
    std::fs::write(folder.join(".git/x.yaml"), "not: [yaml").expect("a file");
    let manifests = paths(std::slice::from_ref(&folder)).expect("all are good");
    let missing = paths(&[folder.join("none"), folder.join("b/a.yaml")]).expect_err("one is not there");
    let empty = paths(&[folder.join(".git").join("..").join("empty")]);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    assert_eq!(manifests.sources[0].place.file.as_ref(), folder.join("c.yml").as_path());
    assert_eq!(manifests.entities[0].place.file.as_ref(), folder.join("b/a.yaml").as_path());
    assert!(missing[0].to_string().contains("none: can't be read: No such file"), "{}", missing[0]);
    assert!(empty.is_err());
    assert!(paths(&[PathBuf::from("src/protocol")]).is_err(), "a folder without manifests");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in r"[\PC\n]{0,200}",
        path in r"(spec|columns|\.|\[|\]|[0-9]|x){0,8}",
        pieces in proptest::collection::vec(r"(apiVersion: resolvespec.dev/v1alpha1|kind: Entity|metadata: \{name: a\}|spec:|  source: b|  columns:|  - name: c|---|  - |\[|&a|\*a|: |[a-z]{1,3})", 0..12),
    ) {
        let _ = read(&text);
        if let Ok(manifests) = read(&pieces.join("\n")) {
            for entity in manifests.entities {
                let _ = entity.place.line_of(&path);
            }
        }
    }
}
