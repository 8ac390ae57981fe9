//! Names: lookup, tags, dangling images, removal.

use image::{Error, ImportOptions, Removed, User};
use oci::digest::Digest;

use crate::sandbox::{NAMESPACE, Sandbox};
use crate::tarball::Tarball;

fn import(sandbox: &Sandbox, name: Option<&str>, content: &str) -> Digest {
    let archive = Tarball::new().file("f", content).finish();
    let options = ImportOptions { reference: name.map(str::to_owned), ..ImportOptions::default() };
    sandbox.images.import(NAMESPACE, sandbox.input(&archive), &options).unwrap()
}

fn names(sandbox: &Sandbox, image: &str) -> Vec<String> {
    let image = sandbox.images.resolve(NAMESPACE, image).unwrap();
    image.names.iter().map(|name| name.familiar()).collect()
}

#[test]
fn an_image_is_found_by_every_name_it_has() {
    let sandbox = Sandbox::new();
    let id = import(&sandbox, Some("steel"), "one");
    let other = import(&sandbox, Some("registry.example:5000/iron:v2"), "two");
    let manifest = sandbox.images.resolve(NAMESPACE, "steel").unwrap().target.digest;
    for name in [
        "steel",
        "steel:latest",
        "docker.io/library/steel",
        id.as_str(),
        id.hex(),
        &id.hex()[..12],
        &format!("sha256:{}", &id.hex()[..12]),
        &format!("steel@{manifest}"),
        manifest.as_str(),
    ] {
        assert_eq!(sandbox.images.resolve(NAMESPACE, name).unwrap().id, id, "{name}");
    }
    assert_eq!(sandbox.images.resolve(NAMESPACE, "registry.example:5000/iron:v2").unwrap().id, other);
    for name in [
        "stee",
        "steel:v1",
        "iron",
        "",
        "x/steel",
        &"0".repeat(64),
        "sha256:",
        "../steel",
        &format!("iron@{manifest}"),
    ] {
        let error = sandbox.images.resolve(NAMESPACE, name).unwrap_err();
        assert!(matches!(error, Error::NoSuchImage(_)), "{name}: {error:?}");
        assert_eq!(error.code(), api::code::Code::NotFound);
    }
    let ambiguous = sandbox.images.resolve(NAMESPACE, "sha256:");
    assert!(ambiguous.is_err());
    assert!(sandbox.images.resolve("other", "steel").is_err(), "namespaces are apart");
}

#[test]
fn a_prefix_of_several_ids_is_ambiguous() {
    let sandbox = Sandbox::new();
    // Sixteen first digits: of seventeen images two begin alike.
    let ids: Vec<Digest> = (0..17).map(|n| import(&sandbox, None, &n.to_string())).collect();
    let first = |id: &Digest| id.hex().as_bytes()[0];
    let twin =
        ids.iter().find(|id| ids.iter().filter(|other| first(other) == first(id)).count() > 1).unwrap();
    let manifests: Vec<Digest> =
        sandbox.images.list(NAMESPACE).unwrap().into_iter().map(|image| image.target.digest).collect();
    assert!(manifests.iter().all(|manifest| !ids.contains(manifest)));
    let error = sandbox.images.resolve(NAMESPACE, &twin.hex()[..1]).unwrap_err();
    assert!(matches!(error, Error::AmbiguousId(_)), "{error:?}");
    assert_eq!(error.code(), api::code::Code::InvalidArgument);
}

#[test]
fn a_name_that_moves_leaves_its_image_dangling() {
    let sandbox = Sandbox::new();
    let old = import(&sandbox, Some("steel"), "one");
    let new = import(&sandbox, Some("steel"), "two");
    assert_eq!(sandbox.images.resolve(NAMESPACE, "steel").unwrap().id, new);
    assert_eq!(names(&sandbox, old.as_str()), [""; 0]);
    sandbox.images.tag(NAMESPACE, old.as_str(), "iron:v1").unwrap();
    assert_eq!(names(&sandbox, old.as_str()), ["iron:v1"]);
    assert_eq!(sandbox.images.list(NAMESPACE).unwrap().len(), 2);
    sandbox.images.tag(NAMESPACE, "steel", "iron:v1").unwrap();
    assert_eq!(names(&sandbox, "steel"), ["iron:v1", "steel:latest"]);
    let pruned = sandbox.images.prune(NAMESPACE, &|image| image.names.is_empty(), &[]).unwrap();
    assert_eq!(pruned, [Removed::Deleted(old)]);
}

#[test]
fn wrong_names_are_refused_before_anything_is_done() {
    let sandbox = Sandbox::new();
    let id = import(&sandbox, Some("steel"), "one");
    for name in
        ["", "Steel", "a b", "steel:", &format!("steel@{id}"), "../x", &"a".repeat(64).replace('a', "0")]
    {
        let error = sandbox.images.tag(NAMESPACE, "steel", name).unwrap_err();
        assert_eq!(error.code(), api::code::Code::InvalidArgument, "{name}: {error}");
        let options = ImportOptions { reference: Some(name.to_owned()), ..ImportOptions::default() };
        assert!(sandbox.images.import(NAMESPACE, sandbox.input(b"unread"), &options).is_err(), "{name}");
    }
    assert!(sandbox.images.tag(NAMESPACE, "nothing", "x").is_err());
    assert_eq!(sandbox.images.list(NAMESPACE).unwrap().len(), 1);
}

#[test]
fn removal_takes_the_image_with_its_last_name_and_leaves_no_bytes() {
    let sandbox = Sandbox::new();
    let id = import(&sandbox, Some("steel"), "one");
    sandbox.images.tag(NAMESPACE, "steel", "iron:v1").unwrap();
    let image = sandbox.images.resolve(NAMESPACE, "steel").unwrap();
    let chain_id = sandbox.images.unpack(&image).unwrap();
    let untagged = |name: &str| Removed::Untagged(name.to_owned());
    let removed = sandbox.images.remove(NAMESPACE, "steel", false, &[]).unwrap();
    assert_eq!(removed, [untagged("steel:latest")]);
    sandbox.store.gc().unwrap();
    assert!(sandbox.store.snapshots("overlay").unwrap().stat(chain_id.as_str()).is_ok());

    let user = User { container: "c".repeat(64), image: id.clone(), is_running: false };
    let error = sandbox.images.remove(NAMESPACE, "iron:v1", false, std::slice::from_ref(&user)).unwrap_err();
    assert_eq!(error.code(), api::code::Code::FailedPrecondition);
    assert!(
        error.chain().starts_with("conflict: unable to remove repository reference \"iron:v1\""),
        "{error}"
    );
    let running = User { is_running: true, ..user };
    let removed = sandbox.images.remove(NAMESPACE, "iron:v1", true, std::slice::from_ref(&running)).unwrap();
    assert_eq!(removed, [untagged("iron:v1")], "a running container keeps its image");
    assert!(sandbox.images.remove(NAMESPACE, id.as_str(), true, &[running]).is_err());
    let removed = sandbox.images.remove(NAMESPACE, &id.hex()[..12], false, &[]).unwrap();
    assert_eq!(removed, [Removed::Deleted(id)]);
    sandbox.store.gc().unwrap();
    sandbox.check_nothing_is_left("after the last name");
    assert!(matches!(sandbox.images.remove(NAMESPACE, "steel", true, &[]), Err(Error::NoSuchImage(_))));
}

#[test]
fn the_same_import_gives_the_same_image() {
    let sandbox = Sandbox::new();
    let archive = Tarball::new().file("f", "x").finish();
    let import = |created: &str, change: &str| {
        let options = ImportOptions {
            changes: vec![change.to_owned()],
            created: Some(created.to_owned()),
            ..ImportOptions::default()
        };
        sandbox.images.import(NAMESPACE, sandbox.input(&archive), &options).unwrap()
    };
    let first = import("2020-01-01T00:00:00Z", "CMD [\"a\"]");
    assert_eq!(first, import("2020-01-01T00:00:00Z", "CMD [\"a\"]"));
    assert_ne!(first, import("2020-01-01T00:00:01Z", "CMD [\"a\"]"));
    assert_ne!(first, import("2020-01-01T00:00:00Z", "CMD [\"b\"]"));
    let image = sandbox.images.resolve(NAMESPACE, first.as_str()).unwrap();
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["a".to_owned()][..]));
    assert_eq!((image.size_bytes, image.layers.len(), image.config.history.len()), (1, 1, 1));
}

#[test]
fn an_image_whose_documents_are_damaged_can_still_be_removed() {
    let sandbox = Sandbox::new();
    import(&sandbox, Some("steel"), "one");
    let config = sandbox.images.resolve(NAMESPACE, "steel").unwrap().id;
    let path = sandbox.store.layout().blobs(oci::digest::Algorithm::Sha256).join(config.hex());
    std::fs::write(&path, "{}").unwrap();
    // Another process would not have read it before.
    let images =
        image::Images::new(sandbox.store.clone(), crate::sandbox::worker_command(), Default::default())
            .unwrap();
    assert_eq!(images.find(NAMESPACE, "steel").unwrap_err().code(), api::code::Code::DataLoss);
    assert_eq!(images.list(NAMESPACE).unwrap().len(), 1);
    assert!(images.remove(NAMESPACE, "steel", false, &[]).is_ok());
    assert_eq!(images.list(NAMESPACE).unwrap().len(), 0);
}
