//! Layers over layers: what an overlay mount of the snapshots shows is what the image means.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::digest::Digest;
use store::snapshots::PrepareOptions;

use crate::sandbox::{NAMESPACE, Sandbox};
use crate::tarball::{GZIP, Header, Layout, PLAIN, Tarball, ZSTD, docker_archive, gzip, zstd};
use crate::tree;

/// A mounted overlay of an image; unmounted when dropped.
pub(crate) struct Mounted {
    pub(crate) root: PathBuf,
    key: String,
}

impl Mounted {
    /// Mounts what a container of the image would see.
    pub(crate) fn new(sandbox: &Sandbox, name: &str) -> Mounted {
        let image = sandbox.images.resolve(NAMESPACE, name).unwrap();
        let chain_id = sandbox.images.unpack(&image).unwrap();
        let key = format!("container-{}", chain_id.short());
        let snapshots = sandbox.store.snapshots("overlay").unwrap();
        let mounts = snapshots.prepare(&key, Some(chain_id.as_str()), PrepareOptions::default()).unwrap();
        let root = sandbox.path().join(format!("mounted-{key}"));
        fs::create_dir(&root).unwrap();
        let options = mounts[0].options.join(",");
        let status =
            Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(&root).status();
        assert!(status.unwrap().success(), "mounting needs root");
        Mounted { root, key }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn paths(&self) -> Vec<String> {
        tree::paths(&self.root)
    }

    pub(crate) fn unmount(self, sandbox: &Sandbox) {
        let key = self.key.clone();
        drop(self);
        sandbox.store.snapshots("overlay").unwrap().remove(&key).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.root).status();
        let _ = fs::remove_dir(&self.root);
    }
}

/// Loads an image of these layers and mounts it.
fn mounted(sandbox: &Sandbox, layers: &[Tarball]) -> Mounted {
    let layers: Vec<Vec<u8>> = layers.iter().map(|layer| layer.clone().finish()).collect();
    sandbox.load(&docker_archive("layers:test", &layers)).unwrap_or_else(|error| panic!("{}", error.chain()));
    Mounted::new(sandbox, "layers:test")
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let below =
        new().directory("d").file("d/a", "1").file("d/b", "1").file("e/a", "1").file("f", "1").file("g", "1");
    let above = new()
        .file("d/.wh.a", "")
        .file("e/.wh..wh..opq", "")
        .file("e/new", "2")
        .file(".wh.f", "")
        .file("g", "2")
        .file(".wh.g", "");
    let view = mounted(&sandbox, &[below, above]);
    assert_eq!(view.paths(), ["d", "d/b", "e", "e/new", "g"]);
    assert_eq!(view.read("g"), "2", "a whiteout does not hide its own layer's file, whatever their order");
    view.unmount(&sandbox);
}

#[test]
fn a_directory_in_place_of_what_a_whiteout_hid_is_empty() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let below = new().file("a/old", "1").file("b/old", "1").file("c/old", "1").file("d/old", "1");
    let above = new()
        .file(".wh.a", "")
        .directory("a")
        .file("a/new", "2")
        .directory("b")
        .file(".wh.b", "")
        // A file hides the directory below; a directory in its place must not show it again.
        .file("c", "2")
        .directory("c")
        // The same, with a parent that nobody mentions.
        .file(".wh.d", "")
        .file("d/new", "2");
    let view = mounted(&sandbox, &[below, above]);
    assert_eq!(view.paths(), ["a", "a/new", "b", "c", "d", "d/new"]);
    view.unmount(&sandbox);
}

#[test]
fn what_an_opaque_directory_hides_is_not_found_again() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let base = new()
        .add(&Header { mode: 0o700, ..Header::new(b'5', "e/sub") }, b"")
        .file("e/f", "1")
        .file("z/f", "1");
    // Another directory in between, so that nothing is remembered of the first visit.
    let top = new().file("e/.wh..wh..opq", "").file("z/g", "2").file("e/sub/new", "2");
    let view = mounted(&sandbox, &[base.clone(), top.clone()]);
    assert_eq!(view.paths(), ["e", "e/sub", "e/sub/new", "z", "z/f", "z/g"]);
    let mode = fs::metadata(view.root.join("e/sub")).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o755, "a new directory, not the hidden one");
    view.unmount(&sandbox);
    let link = top.hard_link("e/h", "e/f");
    let error = sandbox.load(&docker_archive("x:1", &[base.finish(), link.finish()])).unwrap_err();
    assert!(error.chain().contains("\"e/f\" does not exist"), "{}", error.chain());
}

#[test]
fn an_opaque_root_hides_every_layer() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let layers = [
        new().file("a", "1").file("d/x", "1"),
        new().file("b", "2"),
        new().file("c", "3").file(".wh..wh..opq", ""),
    ];
    let view = mounted(&sandbox, &layers);
    assert_eq!(view.paths(), ["c"]);
    view.unmount(&sandbox);
}

#[test]
fn a_hard_link_into_a_lower_layer_shares_the_file() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let base = new()
        .add(&Header { mode: 0o4755, uid: 12, gid: 13, ..Header::new(b'0', "usr/bin/tool") }, b"tool")
        .symlink("usr/link", "bin/tool")
        .add(&Header { mode: 0o6640, uid: 5, ..Header::new(b'6', "pipe") }, b"")
        .add(&Header { mode: 0o2600, gid: 6, device: (1, 7), ..Header::new(b'3', "full") }, b"")
        .file("gone", "1");
    let middle = new().file("usr/bin/other", "2").file(".wh.gone", "");
    let top = new()
        .hard_link("usr/bin/alias", "usr/bin/tool")
        .hard_link("usr/alias", "usr/link")
        .hard_link("pipe-too", "pipe")
        .hard_link("full-too", "full");
    let view = mounted(&sandbox, &[base.clone(), middle.clone(), top]);
    let data = |name: &str| fs::symlink_metadata(view.root.join(name)).unwrap();
    assert_eq!(data("usr/bin/alias").ino(), data("usr/bin/tool").ino());
    assert_eq!((data("usr/bin/alias").mode() & 0o7777, data("usr/bin/alias").uid()), (0o4755, 12));
    assert_eq!(
        (data("usr/bin/alias").mtime(), view.read("usr/bin/alias")),
        (1_500_000_000, "tool".to_owned())
    );
    assert_eq!(fs::read_link(view.root.join("usr/alias")).unwrap(), Path::new("bin/tool"));
    for (name, mode, uid, gid) in [("pipe", 0o6640, 5, 0), ("full", 0o2600, 0, 6)] {
        let copy = data(&format!("{name}-too"));
        assert_eq!(copy.ino(), data(name).ino(), "{name}");
        assert_eq!(
            (copy.mode() & 0o7777, copy.uid(), copy.gid(), copy.mtime()),
            (mode, uid, gid, 1_500_000_000),
            "{name}"
        );
    }
    assert_eq!(data("full-too").rdev(), rustix::fs::makedev(1, 7));
    view.unmount(&sandbox);
    let error = sandbox
        .load(&docker_archive("x:1", &[base, middle, new().hard_link("h", "gone")].map(Tarball::finish)));
    let text = error.unwrap_err().chain();
    assert!(text.contains("layer 3/3") && text.contains("\"gone\" does not exist"), "{text}");
}

#[test]
fn a_linked_copy_goes_when_its_original_is_hidden() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let view = mounted(&sandbox, &[new().file("a", "1"), new().hard_link("b", "a").file(".wh.a", "")]);
    assert_eq!(view.paths(), ["b"]);
    view.unmount(&sandbox);
}

#[test]
fn parents_that_a_layer_does_not_mention_keep_their_attributes() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let base = new()
        .pax(&[("SCHILY.xattr.user.kept", b"yes")])
        .add(&Header { mode: 0o2750, uid: 5, gid: 6, ..Header::new(b'5', "a") }, b"")
        .add(&Header { mode: 0o700, uid: 7, ..Header::new(b'5', "a/b") }, b"")
        .add(&Header { mode: 0o711, uid: 3, gid: 4, ..Header::new(b'5', "./") }, b"");
    let view = mounted(&sandbox, &[base, new().file("a/b/file", "2").file("c/d/file", "2")]);
    let data = |name: &str| fs::symlink_metadata(view.root.join(name)).unwrap();
    let attributes = |name: &str| (data(name).mode() & 0o7777, data(name).uid(), data(name).gid());
    assert_eq!(attributes("a"), (0o2750, 5, 6));
    assert_eq!(attributes("a/b"), (0o700, 7, 0));
    assert_eq!(attributes("c/d"), (0o755, 0, 0));
    assert_eq!(attributes(""), (0o711, 3, 4), "the root of the image");
    assert_eq!((data("a").mtime(), data("a/b").mtime()), (1_500_000_000, 1_500_000_000));
    let nodes = tree::read(&view.root);
    assert_eq!(nodes.iter().find(|(path, _)| path == Path::new("a")).unwrap().1.xattrs[0].0, "user.kept");
    view.unmount(&sandbox);
}

#[test]
fn a_layer_writes_through_the_links_of_lower_layers_inside_the_root() {
    let sandbox = Sandbox::new();
    let new = Tarball::new;
    let base = new()
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("d/abs", "/usr/lib")
        .symlink("out", "../../../etc");
    let top = new().file("lib/a", "2").file("d/abs/b", "2").file("out/c", "2");
    let view = mounted(&sandbox, &[base, top]);
    assert_eq!(
        view.paths(),
        ["d", "d/abs", "etc", "etc/c", "lib", "out", "usr", "usr/lib", "usr/lib/a", "usr/lib/b"]
    );
    sandbox.check_canary("links");
    view.unmount(&sandbox);
}

#[test]
fn entries_replace_what_their_own_layer_had() {
    let sandbox = Sandbox::new();
    let archive = Tarball::new()
        .file("a", "1")
        .file("a", "2")
        .file("b/c/d", "1")
        .symlink("b", "a")
        .file("e/f", "1")
        .file("e/g", "1")
        .directory("e")
        .symlink("h", "a")
        .device(b'6', "h", (0, 0));
    let many = (0..2000).fold(archive, |tar, n| tar.file("many", &n.to_string()));
    let upper = sandbox.unpacked(&many.finish()).unwrap();
    assert_eq!(tree::paths(&upper), ["a", "b", "e", "e/f", "e/g", "h", "many"]);
    assert_eq!(fs::read_to_string(upper.join("a")).unwrap(), "2");
    assert_eq!(fs::read_to_string(upper.join("many")).unwrap(), "1999");
}

#[test]
fn every_compression_gives_the_same_snapshots() {
    let sandbox = Sandbox::new();
    let layers: Vec<Vec<u8>> =
        (0..3).map(|n| Tarball::new().file(format!("f{n}"), &"x".repeat(n * 1000)).finish()).collect();
    let mut chains = Vec::new();
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [(&str, Packer); 4] = [
        (PLAIN, |bytes| bytes.to_vec()),
        (GZIP, gzip),
        (ZSTD, zstd),
        // Members of gzip one after the other are one stream.
        (GZIP, |bytes| [gzip(&bytes[..700]), gzip(b""), gzip(&bytes[700..])].concat()),
    ];
    for (number, (kind, pack)) in packers.into_iter().enumerate() {
        let name = format!("docker.io/library/packed:{number}");
        let packed: Vec<_> = layers.iter().map(|layer| (pack(layer), kind, Digest::of(layer))).collect();
        let archive = Layout::new(&name, &packed).archive();
        assert_eq!(
            sandbox.load(&archive).unwrap()[0].name.as_deref(),
            Some(format!("packed:{number}").as_str())
        );
        chains.push(sandbox.images.unpack(&sandbox.images.resolve(NAMESPACE, &name).unwrap()).unwrap());
    }
    assert!(chains.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(
        sandbox.store.snapshots("overlay").unwrap().list().unwrap().len(),
        3,
        "each layer is there once"
    );
    assert_eq!(sandbox.images.list(NAMESPACE).unwrap().len(), 1, "one id, four names");
}

#[test]
fn whiteouts_and_opaque_marks_behind_links_hide_inside_the_root() {
    let sandbox = Sandbox::new();
    let canary = sandbox.canary().display().to_string();
    let inside = |path: &str| format!("{}/{path}", canary.trim_start_matches('/'));
    let lower = Tarball::new()
        .directory("d")
        .file("d/f", "x")
        .file("d/g", "x")
        .symlink("l", "/d")
        .symlink("out", &canary)
        .file(inside("file"), "x")
        .file(inside("folder/f"), "x");
    let upper = Tarball::new()
        .file("l/.wh.f", "")
        .file("out/.wh.file", "")
        .file("out/folder/.wh..wh..opq", "")
        // The directory is a link by now: what it leads to becomes opaque, and nothing else.
        .directory("e")
        .symlink("e", "/d")
        .file("e/.wh..wh..opq", "")
        .file("e/new", "x");
    let mounted = mounted(&sandbox, &[lower, upper]);
    let paths = tree::paths(&mounted.root);
    assert!(paths.contains(&"d/new".to_owned()) && paths.contains(&inside("folder")), "{paths:?}");
    for hidden in ["d/f".to_owned(), "d/g".to_owned(), inside("file"), inside("folder/f")] {
        assert!(!paths.contains(&hidden), "{hidden}: {paths:?}");
    }
    mounted.unmount(&sandbox);
    sandbox.check_canary("whiteouts behind links");
}
