//! Leases of containerd's clients.

use store::space::leases::Resource;
use store::{Labels, Store, namespaces};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn snapshot(key: &str) -> Resource {
    Resource::Snapshot { snapshotter: "overlayfs".into(), key: key.into() }
}

#[test]
fn a_lease_holds_what_it_is_told_until_it_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    {
        let store = Store::open(root.path()).unwrap();
        let leases = store.space("one").leases();
        let made = leases.create(Some("l"), labels(&[("a", "b"), ("empty", "")])).unwrap();
        assert_eq!((made.id.as_str(), &made.labels), ("l", &labels(&[("a", "b")])));
        let digest = oci::digest::Digest::of(b"x");
        let held = [
            Resource::Content(digest),
            Resource::Image("a:b".into()),
            Resource::Ingest("ref".into()),
            snapshot("k"),
        ];
        for resource in held.iter().rev() {
            leases.add("l", &resource.kind(), resource.id()).unwrap();
            leases.add("l", &resource.kind(), resource.id()).unwrap();
        }
        assert_eq!(leases.resources("l").unwrap(), held);
        leases.remove("l", "snapshots/overlayfs", "k").unwrap();
        leases.remove("l", "snapshots/overlayfs", "k").unwrap();
        assert_eq!(leases.resources("l").unwrap(), held[..3]);
    }
    let store = Store::open(root.path()).unwrap();
    let leases = store.space("one").leases();
    assert_eq!(leases.resources("l").unwrap().len(), 3, "they are there after a restart");
    leases.delete("l").unwrap();
    leases.create(Some("l"), Labels::new()).unwrap();
    assert!(leases.resources("l").unwrap().is_empty(), "another lease of the same name holds nothing");
}

#[test]
fn leases_are_told_apart_by_namespace_and_have_ids() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (one, other) = (store.space("one").leases(), store.space("other").leases());
    one.create(Some("l"), Labels::new()).unwrap();
    let error = one.create(Some("l"), Labels::new()).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (api::code::Code::AlreadyExists, "lease `l` exists already")
    );
    other.create(Some("l"), Labels::new()).unwrap();
    one.delete("l").unwrap();
    assert_eq!(other.list().unwrap().len(), 1);
    for error in [
        one.delete("l").unwrap_err(),
        one.add("l", "images", "a").unwrap_err(),
        one.remove("l", "images", "a").unwrap_err(),
        one.add("l", "cars", "").unwrap_err(),
        one.remove("l", "content", "x").unwrap_err(),
        one.resources("l").unwrap_err(),
    ] {
        assert_eq!(error.code(), api::code::Code::NotFound);
        assert_eq!(error.to_string(), "lease `l` does not exist");
    }
    let long = "x".repeat(32_769);
    for error in [
        one.create(Some(&long), Labels::new()).unwrap_err(),
        Resource::parse("images", &long).unwrap_err(),
        Resource::parse(&format!("snapshots/{long}"), "x").unwrap_err(),
    ] {
        assert!(error.to_string().ends_with("has more than 32768 bytes"), "{error}");
    }
    let ids: std::collections::BTreeSet<String> =
        (0..50).map(|_| one.create(None, Labels::new()).unwrap().id).collect();
    assert_eq!(ids.len(), 50);
    assert!(ids.iter().all(|id| {
        id.split_once('-').is_some_and(|(number, word)| number.parse::<u32>().is_ok() && word.len() == 4)
    }));
}

#[test]
fn a_namespace_stays_when_what_was_in_it_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let names =
        || -> Vec<String> { store.read(namespaces::list).unwrap().into_iter().map(|one| one.name).collect() };
    let leases = store.space("mine").leases();
    leases.delete("l").unwrap_err();
    assert!(names().is_empty(), "what failed makes no namespace");
    leases.create(Some("l"), Labels::new()).unwrap();
    leases.delete("l").unwrap();
    assert_eq!(names(), ["mine"]);
}
