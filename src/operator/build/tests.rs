//! Whose database it is, and what is to be undone there, with sources that are written down here.

use super::super::dereference::{Dereferenced, Place, SourceFound};
use super::super::illegible::Illegible;
use super::super::validate::validate;
use super::*;
use crate::generation::Generation;
use crate::manifest::read;
use crate::operator::database::{Fault, Look};
use crate::operator::handing::OwnSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::path::Path;

const PLACE: &str = "postgres://me:hush@host/shop";
/// The same without a password, which may stand in a manifest.
const OPEN: &str = "postgres://me@host/shop";

fn manifests(text: &str) -> Manifests {
    read::text(Path::new("cluster.yaml"), text).expect("good manifests")
}

fn manifest(name: &str, connection: &str) -> String {
    format!(
        "---\napiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: {name}, namespace: apps}}\n\
         spec: {{engine: postgres, connection: {{{connection}}}, capture: {{mode: trigger}}}}\n"
    )
}

/// A source whose changes are captured, over a Secret.
fn source(name: &str) -> DataSource {
    let mut source = manifests(&manifest(name, "secretKeyRef: {name: shop, key: url}")).sources.remove(0).resource;
    source.metadata.finalizers = Some(vec![finalizer::FINALIZER.to_owned()]);
    source
}

fn leaving(mut source: DataSource) -> DataSource {
    source.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    source
}

/// Its Secret tells a URL.
fn known(source: DataSource, url: &str) -> SourceFound {
    let look = Look { url: Some(Secret::new(url)), ..Look::default() };
    SourceFound { resource: Arc::new(source), look, place: None, handed: None, is_held: false }
}

/// Its Secret can't be read, and replicas were handed a URL before.
fn unknown(source: DataSource, handed: Option<&str>) -> SourceFound {
    let look = Look { fault: Some(Fault::NoSecret("it is gone".to_owned())), ..Look::default() };
    SourceFound { resource: Arc::new(source), look, place: None, handed: handed.map(Secret::new), is_held: false }
}

/// What is to be there for these sources, the oldest first, all of which were published.
fn judged(sources: Vec<SourceFound>, illegible: Vec<Illegible>) -> Validated {
    let names: Vec<String> = sources.iter().filter_map(|one| one.resource.metadata.name.clone()).collect();
    judged_after(sources, illegible, Some(generation(&names)))
}

/// One in which these sources are captured, and nothing is served.
fn generation(names: &[String]) -> Generation {
    let published = manifests(&names.iter().map(|name| manifest(name, "file: /run/url")).collect::<String>());
    Generation::after(None, carry(&published).expect("they can be published"))
}

fn judged_after(sources: Vec<SourceFound>, illegible: Vec<Illegible>, published: Option<Generation>) -> Validated {
    let found = Dereferenced {
        sources,
        entities: Vec::new(),
        policies: Vec::new(),
        grants: Vec::new(),
        own: OwnSecret { namespace: "apps".to_owned(), name: "databases".to_owned() },
        unreadable: Vec::new(),
        illegible,
        published: published.map(Arc::new),
        trials: HashMap::new(),
    };
    validate(found).expect("judged")
}

fn rival_of<'v>(validated: &'v Validated, name: &str) -> Option<&'v str> {
    rivals(validated).get(format!("apps/{name}").as_str()).copied()
}

/// Which are undone, and whether somebody else captures there still.
fn undone(validated: &Validated) -> Vec<(String, bool)> {
    build(validated).expect("built").undone.into_iter().map(|one| (one.key, one.is_shared)).collect()
}

#[test]
fn the_older_of_two_captures_though_its_secret_can_not_be_read() {
    let both = judged(vec![known(source("old"), PLACE), known(source("new"), PLACE)], Vec::new());
    assert_eq!((rival_of(&both, "old"), rival_of(&both, "new")), (None, Some("apps/old")));
    // An operator that has just begun has seen no Secret before.
    let lost = judged(vec![unknown(source("old"), Some(PLACE)), known(source("new"), PLACE)], Vec::new());
    assert_eq!((rival_of(&lost, "old"), rival_of(&lost, "new")), (None, Some("apps/old")));
    let elsewhere =
        judged(vec![unknown(source("old"), Some("postgres://me@host/bank")), known(source("new"), PLACE)], Vec::new());
    assert_eq!(rival_of(&elsewhere, "new"), None);
    // What leads nowhere that is known is nobody's rival.
    let nowhere = judged(vec![unknown(source("old"), None), known(source("new"), PLACE)], Vec::new());
    assert_eq!(rival_of(&nowhere, "new"), None);
}

#[test]
fn nothing_is_taken_away_that_another_source_captures() {
    let left = |sources| undone(&judged(sources, Vec::new()));
    assert_eq!(left(vec![known(leaving(source("new")), PLACE)]), [("apps/new".to_owned(), false)]);
    for older in [known(source("old"), PLACE), unknown(source("old"), Some(PLACE))] {
        assert_eq!(left(vec![older, known(leaving(source("new")), PLACE)]), [("apps/new".to_owned(), true)]);
    }
}

#[test]
fn one_that_can_not_be_read_is_undone_when_it_leaves() {
    let illegible = |source: DataSource| Illegible { resource: Arc::new(source), url: Some(Secret::new(PLACE)) };
    let alone = judged(Vec::new(), vec![illegible(leaving(source("odd")))]);
    assert_eq!(undone(&alone), [("apps/odd".to_owned(), false)]);
    let shared = judged(vec![known(source("shop"), PLACE)], vec![illegible(leaving(source("odd")))]);
    assert_eq!(undone(&shared), [("apps/odd".to_owned(), true)]);
    // One that stays captures still.
    let stays = judged(vec![known(leaving(source("shop")), PLACE)], vec![illegible(source("odd"))]);
    assert_eq!(undone(&stays), [("apps/shop".to_owned(), true)]);
}

#[test]
fn one_that_is_still_published_as_captured_is_not_over() {
    let off = || {
        let mut source = source("shop");
        source.spec.capture.mode = CaptureMode::None;
        source
    };
    // What it is now is not known yet to be good, so that replicas serve it as it was.
    let kept = judged(vec![unknown(off(), Some(PLACE))], Vec::new());
    assert!(kept.sources[0].outgoing.as_ref().is_some_and(captures_changes), "or this tries nothing");
    assert_eq!(undone(&kept), []);
    let leaves = judged(vec![unknown(leaving(off()), Some(PLACE))], Vec::new());
    assert_eq!(undone(&leaves), [("apps/shop".to_owned(), false)]);
}

/// The sources that are published, by their names.
fn carried_by(validated: &Validated) -> Vec<String> {
    let carried = build(validated).expect("built").carried;
    carried.iter().filter_map(|one| one.resource["metadata"]["name"].as_str()).map(ToOwned::to_owned).collect()
}

/// By a URL that stands in it, so that nothing has to be handed over.
fn open(mut source: DataSource) -> SourceFound {
    source.spec.connection = crate::manifest::data_source::Connection { url: Some(OPEN.to_owned()), ..Default::default() };
    known(source, OPEN)
}

#[test]
fn whose_changes_were_captured_is_relayed_though_nothing_of_it_is_served() {
    let shop = || vec![open(source("shop"))];
    assert_eq!(carried_by(&judged(shop(), Vec::new())), ["shop"]);
    let other = Some(generation(&["bank".to_owned()]));
    assert_eq!(carried_by(&judged_after(shop(), Vec::new(), other)), [""; 0], "nothing of it was served");
    assert_eq!(carried_by(&judged_after(shop(), Vec::new(), None)), ["shop"], "it may have been, for all that is known");
    let off = || {
        let mut source = source("shop");
        source.spec.capture.mode = CaptureMode::None;
        source
    };
    for over in [open(off()), open(leaving(source("shop")))] {
        let over = judged(vec![over], Vec::new());
        assert_eq!((carried_by(&over), undone(&over)), (Vec::new(), vec![("apps/shop".to_owned(), false)]));
    }
    assert_eq!(
        carried_by(&judged(vec![open(source("old")), open(source("new"))], Vec::new())),
        ["old"],
        "a rival has nothing to relay"
    );
}

#[test]
fn what_one_that_is_not_to_be_used_at_all_has_captured_is_undone() {
    let contradicts = || {
        let mut source = source("shop");
        source.spec.capture.max_waiting_rows = Some(1);
        source
    };
    let borrows = || {
        let mut source = source("shop");
        source.spec.connection.secret_key_ref.as_mut().expect("a Secret").namespace = Some("bank".to_owned());
        source
    };
    for shut in [contradicts, borrows] as [fn() -> DataSource; 2] {
        let found = SourceFound { look: Look::default(), ..known(shut(), PLACE) };
        let judged = judged(vec![found], Vec::new());
        assert_eq!((carried_by(&judged), undone(&judged)), (Vec::new(), vec![("apps/shop".to_owned(), false)]));
    }
    // What is wrong with its Secret or its database says nothing of itself.
    let away = judged_after(vec![unknown(source("shop"), None)], Vec::new(), None);
    assert_eq!(undone(&away), []);
    let mut paused = contradicts();
    paused.metadata.annotations = Some([("resolvespec.dev/paused".to_owned(), "true".to_owned())].into());
    assert_eq!(undone(&judged(vec![known(paused, PLACE)], Vec::new())), []);
}

#[test]
fn the_url_of_a_secret_that_nobody_consents_to_is_not_handed_over() {
    let urls = |namespace: &str| {
        let mut source = source("shop");
        source.spec.connection.secret_key_ref.as_mut().expect("a Secret").namespace = Some(namespace.to_owned());
        let place = Place { key: "apps.shop.1".to_owned(), file: "/run/apps.shop.1".to_owned(), is_handed: true };
        let judged = judged(vec![SourceFound { place: Some(place), ..known(source, PLACE) }], Vec::new());
        build(&judged).expect("built").urls.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(urls("apps"), ["apps.shop.1"]);
    assert_eq!(urls("bank"), [""; 0]);
}
