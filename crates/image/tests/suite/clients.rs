//! Layers that clients apply to snapshots of their own.

use std::fs;
use std::process::Command;

use image::{AppliedLayer, Error, LayerPlace, Whiteouts};
use oci::digest::Digest;
use store::space::snapshots::{Creation, Snapshots};

use crate::sandbox::Sandbox;
use crate::tarball::{Tarball, gzip, zstd};
use crate::tree;

/// Applies a layer to the active snapshot `key`.
fn apply(
    sandbox: &Sandbox,
    snapshots: &Snapshots<'_>,
    key: &str,
    layer: &[u8],
    whiteouts: Whiteouts,
) -> Result<AppliedLayer, Error> {
    let found = sandbox.store.space("one").writable(&snapshots.mounts(key).unwrap()).unwrap();
    let place = LayerPlace { upper: found.upper, lowers: found.lower, whiteouts, is_synced: true };
    sandbox.images.apply_layer(&sandbox.input(layer).into(), true, &place)
}

/// How a layer comes onto another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Onto an overlay of both.
    Above,
    /// Beside it; it is put on the other when it is committed.
    Beside,
    /// Into a copy.
    Copy,
}

/// What a client sees of two layers, one on the other.
fn seen(sandbox: &Sandbox, layers: [&Tarball; 2], way: Way) -> Vec<String> {
    let snapshotter = if way == Way::Copy { "native" } else { "overlayfs" };
    let snapshots = sandbox.store.space("one").snapshots(snapshotter).unwrap();
    let name = |rest: &str| format!("{way:?}-{rest}");
    let [below, above] = layers.map(|layer| layer.clone().finish());
    snapshots.prepare("work", Creation::default()).unwrap();
    apply(sandbox, &snapshots, "work", &below, Whiteouts::Delete).unwrap();
    snapshots.commit(&name("below"), "work", Creation::default()).unwrap();
    let below = name("below");
    let on = |is_on: bool| Creation { parent: Some(below.as_str()).filter(|_| is_on), ..Creation::default() };
    snapshots.prepare("work", on(way != Way::Beside)).unwrap();
    let whiteouts = match way {
        Way::Above => Whiteouts::Hide,
        Way::Beside => Whiteouts::Keep,
        Way::Copy => Whiteouts::Delete,
    };
    apply(sandbox, &snapshots, "work", &above, whiteouts).unwrap();
    snapshots.commit(&name("above"), "work", on(way == Way::Beside)).unwrap();
    let creation = Creation { parent: Some(&name("above")), ..Creation::default() };
    let mounts = snapshots.view("view", creation).unwrap();
    let point = sandbox.path().join("view");
    fs::create_dir_all(&point).unwrap();
    let options = mounts[0].options.join(",");
    let arguments = ["-t", &mounts[0].kind, "-o", &options, &mounts[0].source];
    let arguments = arguments.map(|word| if word == "bind" { "none" } else { word });
    assert!(Command::new("mount").args(arguments).arg(&point).status().unwrap().success());
    let paths = tree::paths(&point);
    assert!(Command::new("umount").arg(&point).status().unwrap().success());
    for key in ["view".to_owned(), name("above"), name("below")] {
        snapshots.remove(&key, None).unwrap();
    }
    paths
}

#[test]
fn a_layer_hides_the_same_above_beside_and_in_a_copy() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let below = new()
        .directory("d")
        .file("d/a", "1")
        .file("d/b", "1")
        .file("e/a", "1")
        .file("e/sub/a", "1")
        .file("f", "1")
        .file("g", "1")
        .file("h/old", "1")
        .file("i/old", "1")
        .file("j/old", "1")
        .file("k/l/old", "1")
        .file("m/old", "1")
        .file("m/sub/old", "1")
        .file("o/old", "1");
    let above = new()
        .file("d/.wh.a", "")
        .file("e/sub/new", "2")
        .file("e/.wh..wh..opq", "")
        .file("e/new", "2")
        .file(".wh.f", "")
        .file("g", "2")
        .file(".wh.g", "")
        .file(".wh.h", "")
        .directory("h")
        .file("h/new", "2")
        .directory("i")
        .file(".wh.i", "")
        .file("j", "2")
        .directory("j")
        .file("k/l/.wh.old", "")
        .file("k/.wh.nothing", "")
        // What is hidden one by one before all is, and after it, and what is hidden as a whole.
        .file("m/.wh.old", "")
        .file("m/sub/.wh.old", "")
        .file("m/sub/new", "2")
        .file("m/.wh..wh..opq", "")
        .file("m/.wh.nothing", "")
        .file("m/sub/.wh.nothing", "")
        .file("o/.wh.old", "")
        .file("o/new", "2")
        .file(".wh.o", "");
    let expected = [
        "d",
        "d/b",
        "e",
        "e/new",
        "e/sub",
        "e/sub/new",
        "g",
        "h",
        "h/new",
        "i",
        "j",
        "k",
        "k/l",
        "m",
        "m/sub",
        "m/sub/new",
        "o",
        "o/new",
    ];
    for way in [Way::Above, Way::Beside, Way::Copy] {
        assert_eq!(seen(&sandbox, [&below, &above], way), expected, "{way:?}");
    }
}

#[test]
fn an_applied_layer_is_told_by_its_bytes_without_compression() {
    let sandbox = Sandbox::new();
    let snapshots = sandbox.store.space("one").snapshots("overlayfs").unwrap();
    let mut plain = Tarball::new().file("file", "content").finish();
    // What comes after the end belongs to it, too.
    plain.extend([0; 1024]);
    let expected = AppliedLayer { diff_id: Digest::of(&plain), size_bytes: plain.len() as u64 };
    for (key, layer) in [("plain", plain.clone()), ("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        snapshots.prepare(key, Creation::default()).unwrap();
        assert_eq!(apply(&sandbox, &snapshots, key, &layer, Whiteouts::Delete).unwrap(), expected, "{key}");
        let mounts = snapshots.mounts(key).unwrap();
        assert_eq!(fs::read_to_string(format!("{}/file", mounts[0].source)).unwrap(), "content");
    }
    let found = sandbox.store.space("one").writable(&snapshots.mounts("plain").unwrap()).unwrap();
    let place = LayerPlace {
        upper: found.upper,
        lowers: found.lower,
        whiteouts: Whiteouts::Delete,
        is_synced: false,
    };
    let refused = sandbox.images.apply_layer(&sandbox.input(&gzip(&plain)).into(), false, &place);
    assert!(refused.unwrap_err().chain().contains("invalid tar header"));
    let half = &gzip(&plain)[..20];
    for wrong in [half, b"no archive at all, but long enough to be one"] {
        let error = apply(&sandbox, &snapshots, "gzip", wrong, Whiteouts::Delete).unwrap_err();
        assert!(error.to_string().contains("the layer cannot be applied"), "{}", error.chain());
    }
}
