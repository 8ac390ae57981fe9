//! Snapshots as containerd's clients see them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use api::code::Code;
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::mount::Mount;
use store::edges::Held;
use store::snapshots::{Kind, PrepareOptions};
use store::space::labels::Mask;
use store::space::snapshots::{Creation, Info, Snapshots};
use store::{Commit, Gone, Labels, Store, containers, edges, images};

use crate::snapshots::{reboot, show};
use crate::text;

const CHAIN: [&str; 2] = ["sha256:base", "sha256:top"];

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn on(parent: &str) -> Creation<'_> {
    Creation { parent: Some(parent), ..Creation::default() }
}

/// Code and text of what is refused.
fn refused<T: std::fmt::Debug>(result: store::Result<T>) -> (Code, String) {
    let error = result.unwrap_err();
    (error.code(), error.to_string())
}

/// A committed snapshot with a file of that name.
fn layer(snapshots: &Snapshots<'_>, name: &str, parent: Option<&str>) {
    let mounts = snapshots.prepare("work", Creation { parent, ..Creation::default() }).unwrap();
    show(&mounts, &mut |root| fs::write(root.join(name.replace(':', "-")), name).unwrap());
    snapshots.commit(name, "work", Creation::default()).unwrap();
}

fn keys(infos: &[Info]) -> Vec<(&str, Kind)> {
    infos.iter().map(|info| (info.key.as_str(), info.kind)).collect()
}

#[test]
fn a_snapshot_is_prepared_committed_looked_at_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for snapshotter in ["overlayfs", "native"] {
        let snapshots = store.space("one").snapshots(snapshotter).unwrap();
        layer(&snapshots, "base", None);
        layer(&snapshots, "top", Some("base"));
        let mounts = snapshots.view("look", on("top")).unwrap();
        assert_eq!(mounts, snapshots.mounts("look").unwrap());
        show(&mounts, &mut |root| {
            assert_eq!(fs::read_to_string(root.join("base")).unwrap(), "base");
            assert_eq!(fs::read_to_string(root.join("top")).unwrap(), "top");
            assert!(fs::write(root.join("new"), "").is_err());
        });
        let nothing = snapshots.view("nothing", Creation::default()).unwrap();
        show(&nothing, &mut |root| assert_eq!(fs::read_dir(root).unwrap().count(), 0));
        let all = snapshots.list().unwrap();
        let expected = [
            ("base", Kind::Committed),
            ("look", Kind::View),
            ("nothing", Kind::View),
            ("top", Kind::Committed),
        ];
        assert_eq!(keys(&all), expected);
        assert_eq!(all[3].parent.as_deref(), Some("base"));
        assert_eq!(snapshots.stat("top").unwrap(), all[3]);
        assert!(store.space("two").snapshots(snapshotter).unwrap().list().unwrap().is_empty());
        for key in ["look", "nothing", "top", "base"] {
            snapshots.remove(key, None).unwrap();
        }
        snapshots.cleanup().unwrap();
        assert!(snapshots.list().unwrap().is_empty());
        let directory =
            root.path().join("snapshots").join(if snapshotter == "native" { "native" } else { "overlay" });
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }
}

#[test]
fn only_two_snapshotters_are_loaded() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let space = store.space("one");
    assert_eq!(refused(space.snapshots("")), (Code::InvalidArgument, "snapshotter argument missing".into()));
    assert_eq!(
        refused(space.snapshots("zfs")),
        (Code::InvalidArgument, "snapshotter not loaded: zfs".into())
    );
}

#[test]
fn users_of_a_snapshot_are_mapped_by_whoever_mounts_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    layer(&snapshots, "base", None);
    layer(&snapshots, "top", Some("base"));
    let mapping = labels(&[
        ("containerd.io/snapshot/uidmapping", "10:5:1,0:1000:10"),
        ("containerd.io/snapshot/gidmapping", "0:2000:65536"),
    ]);
    let mapped = |parent| Creation { parent, labels: mapping.clone(), lease: None };
    let maps = ["uidmap=10:5:1,0:1000:10", "gidmap=0:2000:65536"];
    let active = snapshots.prepare("active", mapped(Some("top"))).unwrap();
    assert_eq!(active[0].options[..2], maps, "{active:?}");
    assert_eq!(active, snapshots.mounts("active").unwrap());
    let option = |name| active[0].options.iter().find_map(|option| option.strip_prefix(name)).unwrap();
    let owner = |path: &str| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!(owner(option("upperdir=")), (1000, 2000));
    assert!(option("lowerdir=").split(':').all(|layer| owner(layer) == (0, 0)));
    for mounts in [snapshots.view("view", mapped(Some("base"))), snapshots.prepare("empty", mapped(None))] {
        let [mount] = &mounts.unwrap()[..] else { panic!("one mount") };
        assert_eq!((mount.kind.as_str(), &mount.options[..2]), ("bind", &maps.map(str::to_owned)[..]));
    }
    assert_eq!(owner(&snapshots.mounts("empty").unwrap()[0].source), (1000, 2000));
    let native = store.space("one").snapshots("native").unwrap();
    assert_eq!(refused(native.prepare("x", mapped(None))).0, Code::Unimplemented);
}

#[test]
fn what_is_refused_is_told_in_containerds_words() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let space = store.space("one");
    let snapshots = space.snapshots("overlayfs").unwrap();
    layer(&snapshots, "base", None);
    snapshots.prepare("active", on("base")).unwrap();
    snapshots.view("view", on("base")).unwrap();
    let plain = Creation::default;
    let long = Creation { labels: labels(&[("k", &"v".repeat(4096))]), ..plain() };
    let ref_base = Creation { labels: labels(&[("containerd.io/snapshot.ref", "base")]), ..plain() };
    let mapped =
        Creation { labels: labels(&[("containerd.io/snapshot/uidmapping", "0:1000:65536")]), ..plain() };
    let told = [
        (refused(snapshots.prepare("active", plain())), Code::AlreadyExists, "snapshot \"active\""),
        (refused(snapshots.view("base", plain())), Code::AlreadyExists, "snapshot \"base\""),
        (refused(snapshots.prepare("x", ref_base)), Code::AlreadyExists, "target snapshot \"base\""),
        (refused(snapshots.prepare("x", on("no"))), Code::NotFound, "parent snapshot no does not exist"),
        (
            refused(snapshots.prepare("x", on("active"))),
            Code::InvalidArgument,
            "failed to create snapshot: parent \"active\" is not committed snapshot",
        ),
        (
            refused(snapshots.prepare("", plain())),
            Code::InvalidArgument,
            "the key of a snapshot must not be empty",
        ),
        (
            refused(snapshots.prepare("x", long)),
            Code::InvalidArgument,
            "info.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k",
        ),
        (
            refused(snapshots.prepare("x", mapped)),
            Code::InvalidArgument,
            "label containerd.io/snapshot/gidmapping: \"\" is not container-id:host-id:size,… with a host-id for root; both labels \
             are needed",
        ),
        (
            refused(snapshots.mounts("base")),
            Code::FailedPrecondition,
            "failed to get active mount: requested snapshot base not active or view",
        ),
        (refused(snapshots.mounts("x")), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.stat("x")), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.usage("x")), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.remove("x", None)), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.update("x", labels(&[]), Mask::All)), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.commit("y", "x", plain())), Code::NotFound, "snapshot x does not exist"),
        (refused(snapshots.commit("base", "active", plain())), Code::AlreadyExists, "snapshot \"base\""),
        (
            refused(snapshots.commit("y", "view", plain())),
            Code::FailedPrecondition,
            "failed to commit snapshot view: snapshot \"view\" is not active",
        ),
        (
            refused(snapshots.remove("base", None)),
            Code::FailedPrecondition,
            "cannot remove snapshot with child",
        ),
    ];
    for (told, code, text) in told {
        assert_eq!(told, (code, text.to_owned()));
    }
    let expected = [("active", Kind::Active), ("base", Kind::Committed), ("view", Kind::View)];
    assert_eq!(keys(&snapshots.list().unwrap()), expected);
    let directories = fs::read_dir(root.path().join("snapshots/overlay")).unwrap().count();
    assert_eq!(directories, 3, "nothing is left of what was refused");
}

#[test]
fn mounts_have_the_form_that_containerd_gives() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlayfs = store.space("one").snapshots("overlayfs").unwrap();
    let mount = |kind: &str, source: &str, options: &[&str]| Mount {
        kind: kind.into(),
        source: source.into(),
        target: String::new(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let path = |rest: &str| format!("{}/snapshots/{rest}", root.path().display());
    let first = overlayfs.prepare("first", Creation::default()).unwrap();
    assert_eq!(first, [mount("bind", &path("overlay/1/fs"), &["rw", "rbind"])]);
    overlayfs.commit("a", "first", Creation::default()).unwrap();
    let view = overlayfs.view("view of one", on("a")).unwrap();
    assert_eq!(view, [mount("bind", &path("overlay/1/fs"), &["ro", "rbind"])]);
    let second = overlayfs.prepare("second", on("a")).unwrap();
    let options = [
        format!("workdir={}", path("overlay/3/work")),
        format!("upperdir={}", path("overlay/3/fs")),
        format!("lowerdir={}", path("overlay/1/fs")),
        "index=off".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    assert_eq!(second, [mount("overlay", "overlay", &options)]);
    overlayfs.commit("b", "second", Creation::default()).unwrap();
    let view = overlayfs.view("view of two", on("b")).unwrap();
    let lower = format!("lowerdir={}:{}", path("overlay/3/fs"), path("overlay/1/fs"));
    assert_eq!(view, [mount("overlay", "overlay", &[&lower, "index=off"])]);
    let native = store.space("one").snapshots("native").unwrap();
    let first = native.prepare("first", Creation::default()).unwrap();
    assert_eq!(first, [mount("bind", &path("native/1/fs"), &["rbind", "rw"])]);
}

#[test]
fn a_client_can_mount_128_layers() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    let mut parent: Option<String> = None;
    for number in 0..128 {
        let name = format!("layer-{number}");
        let creation = Creation { parent: parent.as_deref(), ..Creation::default() };
        snapshots.prepare("work", creation).unwrap();
        snapshots.commit(&name, "work", Creation::default()).unwrap();
        parent = Some(name);
    }
    let mounts = snapshots.prepare("top", on("layer-127")).unwrap();
    // What mount(2) is given has to fit into a page: clients go to the directory that all layers are in.
    let common = format!("{}/snapshots/overlay/", root.path().display());
    let options = mounts[0].options.join(",").replace(&common, "");
    assert!(options.len() < 4096 && options.matches(':').count() == 127, "{options}");
    let point = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
    let script = "mount -t overlay -o \"$1\" overlay \"$2\" && touch \"$2/file\" && umount \"$2\"";
    let status = Command::new("sh")
        .args(["-c", script, "sh", &options, text(point.path())])
        .current_dir(&common)
        .env("LIBMOUNT_FORCE_MOUNT2", "always")
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_layer_goes_into_an_active_snapshot_of_the_namespace_and_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (space, other) = (store.space("one"), store.space("other"));
    let mut told = Vec::new();
    for snapshotter in ["overlayfs", "native"] {
        let snapshots = space.snapshots(snapshotter).unwrap();
        layer(&snapshots, "base", None);
        let mounts = snapshots.prepare("active", on("base")).unwrap();
        let directories = space.writable(&mounts).unwrap();
        let machine = if snapshotter == "native" { "native" } else { "overlay" };
        let number = store.snapshots(machine).unwrap().stat("one/active").unwrap().number;
        let upper = root.path().join(format!("snapshots/{machine}/{number}/fs"));
        assert_eq!(
            (directories.upper, directories.lower.len()),
            (upper, 1 - usize::from(machine == "native"))
        );
        // What a client says of the directories below is not believed.
        let mut lying = mounts.clone();
        lying[0].options.retain(|option| !option.starts_with("lowerdir="));
        lying[0].options.push("lowerdir=/etc".into());
        assert_eq!(space.writable(&lying).unwrap().lower, directories.lower);
        told.push(refused(other.writable(&mounts)).0);
        told.push(refused(space.writable(&[mounts[0].clone(), mounts[0].clone()])).0);
        let view = snapshots.view("view", on("base")).unwrap();
        assert!(space.writable(&view).is_err());
        snapshots.commit("top", "active", Creation::default()).unwrap();
        assert_eq!(refused(space.writable(&mounts)).0, Code::FailedPrecondition);
    }
    engine_made(&store);
    let container = store.space("default").snapshots("overlayfs").unwrap().mounts("container").unwrap();
    told.push(refused(store.space("default").writable(&container)).0);
    let bind = |source: &str| Mount { kind: "bind".into(), source: source.into(), ..Mount::default() };
    for source in ["/etc", "", text(root.path())] {
        told.push(refused(space.writable(&[bind(source)])).0);
    }
    told.push(refused(space.writable(&[])).0);
    told.push(refused(space.writable(&[Mount { kind: "tmpfs".into(), ..Mount::default() }])).0);
    assert!(told.iter().all(|code| *code == Code::InvalidArgument), "{told:?}");
}

#[test]
fn labels_are_the_clients_and_are_replaced_by_a_commit() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    let given = labels(&[("a", "1"), ("b", "2"), ("empty", "")]);
    snapshots.prepare("key", Creation { labels: given, ..Creation::default() }).unwrap();
    let before = snapshots.stat("key").unwrap();
    assert_eq!(before.labels, labels(&[("a", "1"), ("b", "2")]));
    assert_eq!(before.created_ns, before.updated_ns);
    let some = Mask::Keys(vec!["a".into(), "c".into()]);
    let updated = snapshots.update("key", labels(&[("c", "3"), ("d", "4")]), some).unwrap();
    assert_eq!(updated.labels, labels(&[("b", "2"), ("c", "3")]));
    assert!(updated.updated_ns > before.updated_ns && updated.created_ns == before.created_ns);
    assert_eq!(updated, snapshots.stat("key").unwrap());
    let creation = Creation { labels: labels(&[("x", "9")]), ..Creation::default() };
    snapshots.commit("name", "key", creation).unwrap();
    assert_eq!(snapshots.stat("name").unwrap().labels, labels(&[("x", "9")]));
    assert_eq!(refused(snapshots.stat("key")).0, Code::NotFound);
    snapshots.update("name", labels(&[("y", "8")]), Mask::All).unwrap();
    assert_eq!(snapshots.stat("name").unwrap().labels, labels(&[("y", "8")]));
}

/// What leases hold, as rows.
fn leased(root: &Path) -> Vec<(String, String, String)> {
    let connection = rusqlite::Connection::open(root.join("metadata.db")).unwrap();
    let mut statement =
        connection.prepare("SELECT lease, kind, id FROM space_leased ORDER BY 1, 2, 3").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn the_lease_of_a_request_holds_what_it_makes_and_what_is_there_already() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let connection = rusqlite::Connection::open(root.path().join("metadata.db")).unwrap();
    connection
        .execute("INSERT INTO space_leases VALUES ('one', 'l', 1, '{}'), ('one', 'm', 1, '{}')", [])
        .unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    let with = |lease| Creation { lease: Some(lease), ..Creation::default() };
    let told = refused(snapshots.prepare("key", with("nothing")));
    assert_eq!((told.0, told.1.contains("does not exist")), (Code::NotFound, true), "{told:?}");
    assert!(snapshots.list().unwrap().is_empty());
    let row = |lease: &str, id: &str| (lease.to_owned(), "snapshots/overlayfs".to_owned(), id.to_owned());
    snapshots.prepare("key", with("l")).unwrap();
    assert_eq!(leased(root.path()), [row("l", "key")]);
    snapshots.prepare("key", with("m")).unwrap_err();
    assert_eq!(leased(root.path()), [row("l", "key"), row("m", "key")]);
    snapshots.commit("name", "key", with("l")).unwrap();
    assert_eq!(leased(root.path()), [row("l", "name"), row("m", "key")]);
    snapshots.prepare("key", Creation::default()).unwrap();
    snapshots.commit("name", "key", with("m")).unwrap_err();
    let target = labels(&[("containerd.io/snapshot.ref", "name")]);
    snapshots.remove("key", Some("m")).unwrap();
    assert_eq!(leased(root.path()), [row("l", "name"), row("m", "name")]);
    connection.execute("DELETE FROM space_leased WHERE lease = 'm'", []).unwrap();
    let creation = Creation { labels: target, lease: Some("m"), parent: None };
    snapshots.prepare("other", creation).unwrap_err();
    assert_eq!(leased(root.path()), [row("l", "name"), row("m", "name")]);
    assert_eq!(keys(&snapshots.list().unwrap()), [("name", Kind::Committed)]);
}

#[test]
fn a_snapshot_on_nothing_can_be_committed_on_a_parent() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    layer(&snapshots, "base", None);
    let mounts = snapshots.prepare("key", Creation::default()).unwrap();
    show(&mounts, &mut |root| fs::write(root.join("top"), "top").unwrap());
    assert_eq!(refused(snapshots.commit("top", "key", on("no"))).0, Code::NotFound);
    snapshots.prepare("active", Creation::default()).unwrap();
    assert_eq!(refused(snapshots.commit("top", "key", on("active"))).0, Code::FailedPrecondition);
    snapshots.commit("top", "key", on("base")).unwrap();
    assert_eq!(snapshots.stat("top").unwrap().parent.as_deref(), Some("base"));
    let mounts = snapshots.view("view", on("top")).unwrap();
    show(&mounts, &mut |root| assert!(root.join("base").exists() && root.join("top").exists()));
    assert_eq!(refused(snapshots.remove("base", None)).0, Code::FailedPrecondition);
    snapshots.prepare("above", on("top")).unwrap();
    let told = refused(snapshots.commit("other", "above", on("base")));
    let text = "failed to commit snapshot above: cannot change parent of active snapshot \"above\" on commit";
    assert_eq!(told, (Code::InvalidArgument, text.to_owned()));
    snapshots.commit("other", "above", on("top")).unwrap();
    let native = store.space("one").snapshots("native").unwrap();
    layer(&native, "base", None);
    native.prepare("key", Creation::default()).unwrap();
    assert_eq!(refused(native.commit("top", "key", on("base"))).0, Code::Unimplemented);
}

#[test]
fn usage_is_what_du_counts_and_of_a_committed_one_what_it_was_then() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    let mounts = snapshots.prepare("key", Creation::default()).unwrap();
    let tree = Path::new(&mounts[0].source);
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/file"), vec![1; 100_000]).unwrap();
    fs::hard_link(tree.join("a/file"), tree.join("a/b/link")).unwrap();
    let du = Command::new("du").args(["-s", "-B1", text(tree)]).output().unwrap();
    let du: u64 = String::from_utf8(du.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let usage = snapshots.usage("key").unwrap();
    assert_eq!((usage.bytes, usage.inodes), (du, 4));
    snapshots.commit("name", "key", Creation::default()).unwrap();
    fs::write(tree.join("more"), vec![1; 100_000]).unwrap();
    assert_eq!(snapshots.usage("name").unwrap(), usage, "nobody writes to it any more");
    snapshots.view("view", on("name")).unwrap();
    let none = snapshots.usage("view").unwrap();
    assert_eq!((none.bytes, none.inodes), (0, 0));
}

/// What the engine makes for an image and a container of the namespace `default`; the digest of the image's manifest.
fn engine_made(store: &Store) -> Digest {
    let overlay = store.snapshots("overlay").unwrap();
    let mut parent = None;
    for name in CHAIN {
        overlay.prepare("unpack-1", parent, PrepareOptions::default()).unwrap();
        overlay.commit(name, "unpack-1").unwrap();
        parent = Some(name);
    }
    overlay.prepare("container", parent, PrepareOptions::default()).unwrap();
    let (manifest, _pin) = store.content().put(b"manifest").unwrap();
    let (digest, target) = (manifest.digest.clone(), Descriptor::new("m", manifest.digest, manifest.size));
    store
        .write(Commit::Ordered, move |tx| {
            edges::add(tx, &target.digest, Held::Snapshot(CHAIN[1]))?;
            let image = images::Image {
                namespace: "default".into(),
                name: "image".into(),
                target: target.clone(),
                created_ns: 1,
                updated_ns: 1,
                labels: Labels::new(),
            };
            images::put(tx, &image)?;
            containers::insert(
                tx,
                &containers::Container {
                    uid: "container".into(),
                    namespace: "default".into(),
                    id: "container".into(),
                    name: "name".into(),
                    owner: "docker".into(),
                    image: target.digest.to_string(),
                    snapshot: "container".into(),
                    created_ns: 1,
                    spec: "{}".into(),
                    state: "{}".into(),
                },
            )
        })
        .unwrap();
    digest
}

#[test]
fn what_the_engine_made_is_adopted_by_its_namespace() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    engine_made(&store);
    let snapshots = store.space("default").snapshots("overlayfs").unwrap();
    let other = store.space("other").snapshots("overlayfs").unwrap();
    assert_eq!(refused(other.stat(CHAIN[1])).0, Code::NotFound, "it is another namespace's");
    let top = snapshots.stat(CHAIN[1]).unwrap();
    assert_eq!((top.parent.as_deref(), top.kind), (Some(CHAIN[0]), Kind::Committed));
    assert_eq!(top.labels, labels(&[("containerd.io/snapshot.ref", CHAIN[1])]));
    let expected = [("container", Kind::Active), (CHAIN[0], Kind::Committed), (CHAIN[1], Kind::Committed)];
    assert_eq!(keys(&snapshots.list().unwrap()), expected);
    assert!(snapshots.usage(CHAIN[0]).unwrap().inodes >= 1);
    let target = labels(&[("containerd.io/snapshot.ref", CHAIN[0])]);
    let creation = Creation { labels: target, ..Creation::default() };
    assert_eq!(refused(snapshots.prepare("x", creation)).0, Code::AlreadyExists);
    snapshots.prepare("mine", on(CHAIN[1])).unwrap();
    assert!(snapshots.mounts("container").is_ok());
    for result in
        [snapshots.remove("container", None), snapshots.commit("x", "container", Creation::default())]
    {
        let text = "snapshot container is a container's own layer, and goes with the container";
        assert_eq!(refused(result), (Code::NotFound, text.to_owned()));
    }
    store.snapshots("overlay").unwrap().remove("container").unwrap();
    assert_eq!(refused(snapshots.stat("container")).0, Code::NotFound, "it went with the container");
}

#[test]
fn a_removed_layer_stays_removed_and_goes_when_nothing_holds_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let manifest = engine_made(&store);
    let snapshots = store.space("default").snapshots("overlayfs").unwrap();
    let told = refused(snapshots.remove(CHAIN[1], None));
    assert_eq!(told.1, "cannot remove snapshot with child", "the container's layer is one");
    store.write(Commit::Ordered, |tx| containers::delete(tx, "container")).unwrap();
    store.snapshots("overlay").unwrap().remove("container").unwrap();
    snapshots.remove(CHAIN[1], None).unwrap();
    assert_eq!(keys(&snapshots.list().unwrap()), [(CHAIN[0], Kind::Committed)]);
    snapshots.remove(CHAIN[0], None).unwrap();
    store.gc().unwrap();
    assert!(store.snapshots("overlay").unwrap().list().unwrap().is_empty());
    // The engine unpacks it again.
    let overlay = store.snapshots("overlay").unwrap();
    overlay.prepare("unpack-1", None, PrepareOptions::default()).unwrap();
    overlay.commit(CHAIN[1], "unpack-1").unwrap();
    store.write(Commit::Ordered, move |tx| edges::add(tx, &manifest, Held::Snapshot(CHAIN[1]))).unwrap();
    assert_eq!(snapshots.stat(CHAIN[1]).unwrap().parent, None);
}

#[test]
fn collections_keep_what_clients_hold_and_take_rows_along() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    engine_made(&store);
    let snapshots = store.space("default").snapshots("overlayfs").unwrap();
    layer(&snapshots, "mine", Some(CHAIN[0]));
    snapshots.update("mine", labels(&[("containerd.io/gc.root", "yes")]), Mask::All).unwrap();
    snapshots.list().unwrap();
    store
        .write(Commit::Ordered, |tx| {
            containers::delete(tx, "container")?;
            images::delete(tx, "default", "image")
        })
        .unwrap();
    store.snapshots("overlay").unwrap().remove("container").unwrap();
    store.gc().unwrap();
    let expected = [("mine", Kind::Committed), (CHAIN[0], Kind::Committed)];
    assert_eq!(keys(&snapshots.list().unwrap()), expected, "what is below a client's own stays");
    snapshots.update("mine", Labels::new(), Mask::All).unwrap();
    let removed = store.gc().unwrap().removed.into_iter().map(|removed| match removed.what {
        Gone::Snapshot { snapshotter, key } => (removed.namespace, snapshotter, key),
        other => panic!("{other:?}"),
    });
    let gone = ["mine", CHAIN[0]].map(|key| ("default".into(), "overlayfs".into(), key.into()));
    assert_eq!(removed.collect::<Vec<(String, String, String)>>(), gone);
    assert!(store.snapshots("overlay").unwrap().list().unwrap().is_empty());
}

#[test]
fn what_a_power_failure_took_is_told_and_may_be_made_again() {
    let root = tempfile::tempdir().unwrap();
    for snapshotter in ["overlayfs", "native"] {
        let store = Store::open(root.path()).unwrap();
        let snapshots = store.space("one").snapshots(snapshotter).unwrap();
        layer(&snapshots, "synced", None);
        store.sync_layers().unwrap();
        layer(&snapshots, "fresh", Some("synced"));
        snapshots.prepare("active", on("fresh")).unwrap();
        drop(store);
        reboot(root.path());
        let store = Store::open(root.path()).unwrap();
        assert_eq!(store.recovery().dropped_layers, ["one/fresh"]);
        let snapshots = store.space("one").snapshots(snapshotter).unwrap();
        let expected = [("active", Kind::Active), ("synced", Kind::Committed)];
        assert_eq!(keys(&snapshots.list().unwrap()), expected);
        if snapshotter == "overlayfs" {
            let told = refused(snapshots.mounts("active"));
            assert_eq!(told.0, Code::FailedPrecondition);
            assert!(told.1.contains("stands on one/fresh, which was lost"), "{told:?}");
        }
        layer(&snapshots, "fresh", Some("synced"));
        show(&snapshots.mounts("active").unwrap(), &mut |root| assert!(root.join("fresh").exists()));
        store.sync_layers().unwrap();
    }
}

#[test]
fn damaged_rows_and_snapshots_are_made_to_agree_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    layer(&snapshots, "base", None);
    snapshots.prepare("a/b c", on("base")).unwrap();
    snapshots.prepare("lost", on("base")).unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(root.path().join("metadata.db")).unwrap();
    connection.execute("UPDATE space_snapshots SET labels = '{' WHERE key = 'a/b c'", []).unwrap();
    connection.execute("DELETE FROM snapshots WHERE name = 'one/lost'", []).unwrap();
    drop(connection);
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.recovery().lost_snapshots, ["one/lost"]);
    assert_eq!(store.recovery().damaged_rows.len(), 1, "{:?}", store.recovery());
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    let again = snapshots.stat("a/b c").unwrap();
    assert_eq!((again.kind, again.parent.as_deref()), (Kind::Active, Some("base")));
    assert_eq!(keys(&snapshots.list().unwrap()), [("a/b c", Kind::Active), ("base", Kind::Committed)]);
    snapshots.prepare("lost", on("base")).unwrap();
}

#[test]
fn of_many_who_want_the_same_key_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshots = store.space("one").snapshots("overlayfs").unwrap();
    for _ in 0..10 {
        let codes: Vec<Option<Code>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    scope.spawn(move || {
                        let key = format!("work-{number}");
                        snapshots.prepare(&key, Creation::default()).unwrap();
                        let done = snapshots.prepare("key", Creation::default()).map(drop);
                        let named = snapshots.commit("name", &key, Creation::default());
                        assert!(done.is_ok() || done.unwrap_err().code() == Code::AlreadyExists);
                        named.err().map(|error| error.code())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().filter(|code| code.is_none()).count(), 1, "{codes:?}");
        assert!(codes.iter().flatten().all(|code| *code == Code::AlreadyExists), "{codes:?}");
        let all = snapshots.list().unwrap();
        assert_eq!(all.len(), 9);
        let directories = fs::read_dir(root.path().join("snapshots/overlay")).unwrap().flatten();
        let names = directories.map(|entry| entry.file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| !name.starts_with("removed-")).count(), 9);
        for info in all {
            snapshots.remove(&info.key, None).unwrap();
        }
    }
}
