//! What containerd's clients write: containers, sandboxes, images, namespaces.

use api::code::Code;
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use store::space::containers::Container;
use store::space::images::Given;
use store::space::leases::Resource;
use store::space::opaque::{Extensions, Opaque};
use store::space::sandboxes::Sandbox;
use store::{Commit, Labels, Store, containers, images, namespaces};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// All bytes, and a type that nobody knows.
fn opaque() -> Opaque {
    Opaque { type_url: "types.example/One".into(), value: (0..=255).collect() }
}

fn container(id: &str) -> Container {
    Container {
        id: id.into(),
        labels: labels(&[("a", "b")]),
        image: "i:1".into(),
        runtime: "io.containerd.runc.v2".into(),
        runtime_options: Some(opaque()),
        spec: Some(opaque()),
        snapshotter: "overlayfs".into(),
        snapshot_key: "k".into(),
        extensions: Extensions::from([("e".into(), opaque())]),
        sandbox: "s".into(),
        ..Container::default()
    }
}

fn given(name: &str, labels: Labels) -> Given {
    let target = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"manifest");
    Given { name: name.into(), target, labels, epoch_ns: None }
}

#[test]
fn a_container_is_kept_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    let made = {
        let store = Store::open(root.path()).unwrap();
        let containers = store.space("n").containers();
        let made = containers.create(Container { created_ns: 7, ..container("c") }).unwrap();
        assert!(made.created_ns > 7 && made.updated_ns == made.created_ns, "the times are the store's");
        let expected =
            Container { created_ns: made.created_ns, updated_ns: made.updated_ns, ..container("c") };
        assert_eq!(made, expected);
        made
    };
    let store = Store::open(root.path()).unwrap();
    let space = store.space("n").containers();
    assert_eq!(space.get("c").unwrap(), made);
    let changed = Container { image: "i:2".into(), ..container("c") };
    let updated = space.update(changed, vec!["image".into()]).unwrap();
    assert_eq!((updated.image.as_str(), updated.created_ns), ("i:2", made.created_ns));
    assert!(updated.updated_ns > made.updated_ns);
    assert_eq!(space.list().unwrap(), [updated]);
    assert!(store.space("m").containers().list().unwrap().is_empty());
    space.delete("c").unwrap();
    for error in [
        space.get("c").unwrap_err(),
        space.delete("c").unwrap_err(),
        space.update(container("c"), Vec::new()).unwrap_err(),
    ] {
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (Code::NotFound, "container `c` does not exist")
        );
    }
}

#[test]
fn what_a_container_needs_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let containers = store.space("n").containers();
    let cases = [
        (Container { id: String::new(), ..container("c") }, "container.ID: identifier must not be empty"),
        (
            container("a/b"),
            "container.ID: identifier \"a/b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$",
        ),
        (
            Container { extensions: Extensions::from([(String::new(), opaque())]), ..container("c") },
            "container.Extension keys must not be zero-length",
        ),
        (Container { runtime: String::new(), ..container("c") }, "container.Runtime.Name must be set"),
        (
            Container { snapshotter: String::new(), ..container("c") },
            "container.Snapshotter must be set if container.SnapshotKey is set",
        ),
    ];
    for (wrong, told) in cases {
        let error = containers.create(wrong).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.to_string(), format!("create container failed validation: {told}"));
    }
    let long = Container { labels: labels(&[("k", &"v".repeat(4096))]), ..container("c") };
    let told = containers.create(long).unwrap_err().to_string();
    assert!(
        told.starts_with("create container failed validation: containers.Labels: label key and value"),
        "{told}"
    );
    assert!(containers.list().unwrap().is_empty());
}

#[test]
fn an_id_is_one_container_whoever_made_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let engines = |uid: &str, id: &str| containers::Container {
        uid: uid.into(),
        namespace: "n".into(),
        id: id.into(),
        name: uid.into(),
        owner: "docker".into(),
        image: "i".into(),
        snapshot: "s".into(),
        created_ns: 1,
        spec: "{}".into(),
        state: "{}".into(),
    };
    let (first, second) = (engines("u1", "taken"), engines("u2", "c"));
    store.write(Commit::Durable, move |tx| containers::insert(tx, &first)).unwrap();
    let space = store.space("n").containers();
    assert_eq!(space.create(container("taken")).unwrap_err().code(), Code::AlreadyExists);
    space.create(container("c")).unwrap();
    assert_eq!(space.create(container("c")).unwrap_err().code(), Code::AlreadyExists);
    let error = store.write(Commit::Durable, move |tx| containers::insert(tx, &second)).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    store.space("m").containers().create(container("taken")).unwrap();
}

#[test]
fn a_sandbox_is_kept_and_updated_by_fields() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let sandboxes = store.space("n").sandboxes();
    let sandbox = Sandbox {
        id: "s".into(),
        labels: labels(&[("a", "b"), ("c", "d")]),
        runtime: "r".into(),
        runtime_options: Some(opaque()),
        spec: Some(opaque()),
        extensions: Extensions::from([("e".into(), opaque())]),
        sandboxer: "podsandbox".into(),
        ..Sandbox::default()
    };
    let made = sandboxes.create(sandbox.clone()).unwrap();
    assert_eq!(sandboxes.get("s").unwrap(), made);
    assert_eq!(sandboxes.create(sandbox.clone()).unwrap_err().code(), Code::AlreadyExists);
    let other = Sandbox { labels: labels(&[("c", "e")]), runtime: "q".into(), ..sandbox.clone() };
    let fields = vec!["labels.a".into(), "labels.c".into(), "runtime".into()];
    let updated = sandboxes.update(other.clone(), fields).unwrap();
    assert_eq!((updated.labels, updated.runtime.as_str()), (labels(&[("c", "e")]), "q"));
    let error = sandboxes.update(sandbox.clone(), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "sandbox.Runtime.Name field is immutable");
    let error = sandboxes.update(sandbox, vec!["sandboxer".into()]).unwrap_err();
    assert_eq!(error.to_string(), "cannot update \"sandboxer\" field on sandbox \"s\"");
    sandboxes.delete("s").unwrap();
    assert!(sandboxes.list().unwrap().is_empty());
    assert_eq!(sandboxes.delete("s").unwrap_err().code(), Code::NotFound);
    let error = sandboxes.create(Sandbox::default()).unwrap_err().to_string();
    assert_eq!(error, "failed to validate sandbox: invalid sandbox ID: identifier must not be empty");
}

#[test]
fn clients_and_the_engine_see_the_same_images() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let space = store.space("n").images();
    let made = space.create(given("a:1", labels(&[("x", "y")])), None).unwrap();
    assert_eq!(store.read(|tx| images::get(tx, "n", "a:1")).unwrap(), Some(made.clone()));
    assert_eq!(space.create(given("a:1", Labels::new()), None).unwrap_err().code(), Code::AlreadyExists);
    let mut other = given("a:1", labels(&[("x", "z"), ("k", "v")]));
    other.target = Descriptor::of("m", b"other");
    other.target.annotations = labels(&[("n", "1")]);
    let updated = space.update(other.clone(), vec!["labels.k".into(), "annotations.n".into()], None).unwrap();
    assert_eq!(updated.labels, labels(&[("k", "v"), ("x", "y")]));
    assert_eq!(updated.target, Descriptor { annotations: labels(&[("n", "1")]), ..made.target.clone() });
    assert_eq!(updated.created_ns, made.created_ns);
    let updated = space.update(Given { epoch_ns: Some(5), ..other.clone() }, Vec::new(), None).unwrap();
    assert_eq!((updated.target, updated.updated_ns), (other.target.clone(), 5));
    let error = space.update(other, vec!["name".into()], None).unwrap_err();
    assert_eq!(error.to_string(), "cannot update \"name\" field on image \"a:1\"");
    let error = space.delete("a:1", Some(made.target.digest.to_string()), None).unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "it is another image by now: {error}");
    space.delete("a:1", Some(Digest::of(b"other").to_string()), None).unwrap();
    assert_eq!(space.get("a:1").unwrap_err().to_string(), "image `a:1` does not exist");
    let mut empty = given("b", Labels::new());
    empty.target.size = 0;
    let error = space.create(empty, None).unwrap_err();
    assert_eq!(error.to_string(), "Target.Size must be greater than zero");
}

#[test]
fn a_lease_holds_an_image_that_ends() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let space = store.space("n");
    let ends = labels(&[("containerd.io/gc.expire", "2020-01-01T00:00:00Z")]);
    let error = space.images().create(given("a", ends.clone()), Some("l")).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::NotFound, "lease `l` does not exist"));
    assert!(space.images().list().unwrap().is_empty(), "nothing is made without its lease");
    space.images().create(given("kept", Labels::new()), Some("l")).unwrap();
    space.leases().create(Some("l"), Labels::new()).unwrap();
    space.images().create(given("a", ends), Some("l")).unwrap();
    assert_eq!(space.leases().resources("l").unwrap(), [Resource::Image("a".into())]);
    space.images().delete("a", None, Some("l")).unwrap();
    assert!(space.leases().resources("l").unwrap().is_empty());
}

#[test]
fn a_namespace_is_removed_when_it_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let delete = || store.write(Commit::Durable, |tx| namespaces::delete(tx, "n"));
    assert_eq!(delete().unwrap_err().code(), Code::NotFound);
    let space = store.space("n");
    space.images().create(given("a", Labels::new()), None).unwrap();
    space.containers().create(container("c")).unwrap();
    space.leases().create(Some("l"), Labels::new()).unwrap();
    space.sandboxes().create(Sandbox { id: "s".into(), ..Sandbox::default() }).unwrap();
    let error = store.write(Commit::Durable, |tx| namespaces::create(tx, "n", &Labels::new())).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists, "it is there since something was written in it");
    let error = delete().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(error.to_string(), "namespace \"n\" must be empty, but it still has images, containers");
    let found = store.read(namespaces::list).unwrap();
    assert_eq!((found[0].images, found[0].containers), (1, 1));
    space.images().delete("a", None, None).unwrap();
    space.containers().delete("c").unwrap();
    delete().unwrap();
    assert!(space.leases().list().unwrap().is_empty() && space.sandboxes().list().unwrap().is_empty());
    assert!(store.read(namespaces::list).unwrap().is_empty());
}
