//! Garbage collection: what is held stays, what is not goes, also while others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::descriptor::Descriptor;
use store::edges::Held;
use store::snapshots::PrepareOptions;
use store::{Commit, Store, edges, images, leases};

fn image(name: &str, target: Descriptor) -> images::Image {
    images::Image {
        namespace: "default".into(),
        name: name.into(),
        target,
        created_ns: 1,
        updated_ns: 1,
        labels: store::Labels::new(),
    }
}

#[test]
fn what_images_and_leases_hold_stays_and_the_rest_goes() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    let mut blobs = Vec::new();
    for bytes in [b"manifest", b"a layer!", b"a leased", b"garbage!"] {
        blobs.push(store.content().put(bytes).unwrap().0);
    }
    for (name, parent) in [("base", None), ("top", Some("base")), ("loose", None)] {
        overlay.prepare("work", parent, PrepareOptions::default()).unwrap();
        overlay.commit(name, "work").unwrap();
    }
    overlay.prepare("active", None, PrepareOptions::default()).unwrap();
    let [manifest, layer, leased, garbage] = blobs.clone().try_into().unwrap();
    let record = image("i", Descriptor::new("m", manifest.digest.clone(), manifest.size));
    store
        .write(Commit::Durable, move |tx| {
            images::put(tx, &record)?;
            edges::add(tx, &manifest.digest, Held::Blob(&layer.digest))?;
            edges::add(tx, &manifest.digest, Held::Snapshot("top"))?;
            leases::add(tx, "lease", Held::Blob(&leased.digest))
        })
        .unwrap();
    let report = store.gc().unwrap();
    assert_eq!((report.blobs, report.bytes), (vec![garbage.digest], 8));
    assert_eq!(report.snapshots, ["loose"]);
    store.write(Commit::Durable, |tx| images::delete(tx, "default", "i")).unwrap();
    store.write(Commit::Durable, |tx| leases::delete(tx, "lease")).unwrap();
    let report = store.gc().unwrap();
    assert_eq!((report.blobs.len(), report.snapshots), (3, vec!["base".to_owned(), "top".to_owned()]));
    assert!(overlay.stat("active").is_ok(), "an active snapshot is somebody's");
}

#[test]
fn nothing_that_is_being_stored_is_collected() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(root.path()).unwrap());
    let is_done = Arc::new(AtomicBool::new(false));
    let collector = {
        let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
        std::thread::spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                store.gc().unwrap();
            }
        })
    };
    for number in 0..100 {
        let (blob, pin) = store.content().put(format!("blob {number}").as_bytes()).unwrap();
        let record = image(&number.to_string(), Descriptor::new("m", blob.digest.clone(), blob.size));
        store.write(Commit::Ordered, move |tx| images::put(tx, &record)).unwrap();
        drop(pin);
        assert!(store.content().info(&blob.digest).unwrap().is_some(), "{number}");
    }
    is_done.store(true, Ordering::Relaxed);
    collector.join().unwrap();
    assert_eq!(store.content().list().unwrap().len(), 100);
}

/// Ends the collector also when the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_chain_that_is_being_unpacked_under_a_lease_is_not_collected() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                store.gc().unwrap();
            }
        });
        let _done = Done(&is_done);
        for round in 0..60 {
            let names: Vec<String> = (0..4).map(|layer| format!("{round}-{layer}")).collect();
            let leased = names.clone();
            store
                .write(Commit::Ordered, move |tx| {
                    leased.iter().try_for_each(|name| leases::add(tx, "unpack", Held::Snapshot(name)))
                })
                .unwrap();
            let mut parent: Option<&str> = None;
            for name in &names {
                overlay.prepare("work", parent, PrepareOptions::default()).unwrap();
                overlay.commit(name, "work").unwrap();
                parent = Some(name);
            }
            for name in &names {
                assert!(overlay.directories(name).unwrap().upper.is_dir(), "{name}");
            }
            store.write(Commit::Ordered, |tx| leases::delete(tx, "unpack")).unwrap();
        }
    });
    store.gc().unwrap();
    assert!(overlay.list().unwrap().is_empty(), "without a lease all of it goes");
    assert_eq!(std::fs::read_dir(root.path().join("snapshots/overlay")).unwrap().count(), 0);
}

#[test]
fn a_layer_that_is_leased_before_it_is_looked_at_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                store.gc().unwrap();
            }
        });
        let _done = Done(&is_done);
        let mut found = 0;
        for round in 0.. {
            let name = format!("layer-{round}");
            overlay.prepare("work", None, PrepareOptions::default()).unwrap();
            // Nothing holds it from here on.
            overlay.commit(&name, "work").unwrap();
            let leased = name.clone();
            store.write(Commit::Ordered, move |tx| leases::add(tx, "use", Held::Snapshot(&leased))).unwrap();
            if overlay.stat(&name).is_ok() {
                found += 1;
                std::thread::yield_now();
                overlay.prepare("on it", Some(&name), PrepareOptions::default()).unwrap();
                overlay.remove("on it").unwrap();
            }
            store.write(Commit::Ordered, |tx| leases::delete(tx, "use")).unwrap();
            if found == 300 {
                break;
            }
        }
    });
}

#[test]
fn what_a_container_stands_on_stays_with_every_snapshotter() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for name in ["overlay", "native"] {
        let snapshots = store.snapshots(name).unwrap();
        for (layer, parent) in [("below", None), ("above", Some("below")), ("beside", Some("below"))] {
            snapshots.prepare("work", parent, PrepareOptions::default()).unwrap();
            snapshots.commit(layer, "work").unwrap();
        }
        snapshots.prepare("container", Some("above"), PrepareOptions::default()).unwrap();
    }
    assert_eq!(store.gc().unwrap().snapshots, ["beside", "beside"]);
    for name in ["overlay", "native"] {
        let snapshots = store.snapshots(name).unwrap();
        assert!(snapshots.mounts("container").is_ok());
        snapshots.remove("container").unwrap();
    }
    assert_eq!(store.gc().unwrap().snapshots, ["above", "below", "above", "below"]);
}

#[test]
fn the_space_of_collected_content_is_free_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (blob, pin) = store.content().put(&[1; 100_000]).unwrap();
    assert!(store.gc().unwrap().blobs.is_empty(), "it is pinned");
    drop(pin);
    assert_eq!(store.gc().unwrap().blobs, [blob.digest]);
    for folder in ["content/blobs/sha256", "content/ingest"] {
        assert_eq!(std::fs::read_dir(root.path().join(folder)).unwrap().count(), 0, "{folder}");
    }
}
