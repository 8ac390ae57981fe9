//! Image archives: of every kind, from other programs, and wrong ones.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use image::{Error, Step, Wanted};
use oci::digest::Digest;

use crate::layers::Mounted;
use crate::sandbox::{NAMESPACE, Sandbox};
use crate::tarball::{GZIP, Header, Layout, PLAIN, Tarball, config, docker_archive, gzip, zstd};
use crate::tree;

fn layer(content: &str) -> Vec<u8> {
    Tarball::new().file("f", content).finish()
}

fn layout(content: &str) -> Layout {
    let plain = layer(content);
    Layout::new("docker.io/library/steel:v1", &[(gzip(&plain), GZIP, Digest::of(&plain))])
}

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_kind_of_archive_in_every_compression_is_loaded() {
    let sandbox = Sandbox::new();
    let docker = docker_archive("steel:v1", &[layer("one")]);
    for (kind, archive) in [("docker", docker), ("layout", layout("one").archive())] {
        for (compression, archive) in
            [("plain", archive.clone()), ("gzip", gzip(&archive)), ("zstd", zstd(&archive))]
        {
            let case = format!("{kind}, {compression}");
            let loaded = sandbox.load(&archive).unwrap_or_else(|error| panic!("{case}: {}", error.chain()));
            assert_eq!(loaded.len(), 1, "{case}");
            assert_eq!(loaded[0].name.as_deref(), Some("steel:v1"), "{case}");
            let image = sandbox.images.resolve(NAMESPACE, "steel:v1").unwrap();
            assert_eq!((&image.id, image.size_bytes), (&loaded[0].id, 3), "{case}");
            sandbox.images.remove(NAMESPACE, "steel:v1", false, &[]).unwrap();
            sandbox.store.gc().unwrap();
            sandbox.check_nothing_is_left(&case);
        }
    }
}

#[test]
fn a_layout_in_a_directory_is_loaded() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("layout");
    layout("one").write(&folder);
    let directory = fs::File::open(&folder).unwrap();
    let loaded = sandbox.images.load_layout(NAMESPACE, directory.as_fd(), &mut |_| {}).unwrap();
    assert_eq!(loaded[0].name.as_deref(), Some("steel:v1"));
    // A blob that is a link to a file of the host is not read.
    let sandbox = Sandbox::new();
    let blob = fs::read_dir(folder.join("blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    let aside = folder.join("aside");
    fs::rename(&blob, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &blob).unwrap();
    let error = sandbox.images.load_layout(NAMESPACE, directory.as_fd(), &mut |_| {}).unwrap_err();
    assert!(error.chain().contains(blob.file_name().unwrap().to_str().unwrap()), "{}", error.chain());
    sandbox.check_nothing_is_left("link");
}

#[test]
fn archives_of_skopeo_and_umoci_mean_what_their_programs_unpack() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("made");
    fs::create_dir(&folder).unwrap();
    run("umoci", &["init", "--layout", "oci"], &folder);
    run("umoci", &["new", "--image", "oci:v1"], &folder);
    run("umoci", &["unpack", "--image", "oci:v1", "bundle"], &folder);
    let script = |text: &str| {
        run("sh", &["-euc", text], &folder.join("bundle/rootfs"));
        run("umoci", &["repack", "--refresh-bundle", "--image", "oci:v1", "bundle"], &folder);
    };
    script(
        "mkdir -p a/b c d; echo one >a/b/file; echo two >c/file; ln c/file c/hard; ln -s /a/b c/link
         mknod c/null c 1 3; mkfifo c/fifo; chown 5:6 c/file; chmod 4755 c/file; echo x >d/x; chmod 1777 d",
    );
    script(
        "rm -r a/b; echo new >a/file; rm c/link; mkdir c/link; echo in >c/link/in; rm c/hard; ln c/file c/other",
    );
    script("rm -r d; echo file >d; mkdir -p deep/er/est; touch deep/er/est/file; rm c/fifo");
    run("umoci", &["unpack", "--image", "oci:v1", "whole"], &folder);
    run(
        "skopeo",
        &["copy", "-q", "--insecure-policy", "oci:oci:v1", "docker-archive:docker.tar:made/docker:v1"],
        &folder,
    );
    run(
        "skopeo",
        &["copy", "-q", "--insecure-policy", "oci:oci:v1", "oci-archive:oci.tar:made/oci:v1"],
        &folder,
    );
    run("tar", &["-C", "oci", "-cf", "plain.tar", "."], &folder);
    for (archive, name) in
        [("docker.tar", Some("made/docker:v1")), ("oci.tar", Some("made/oci:v1")), ("plain.tar", None)]
    {
        let loaded = sandbox.load(&fs::read(folder.join(archive)).unwrap());
        let loaded = loaded.unwrap_or_else(|error| panic!("{archive}: {}", error.chain()));
        assert_eq!(loaded[0].name.as_deref(), name, "{archive}: a lone tag is no name");
        let view = Mounted::new(&sandbox, loaded[0].id.as_str());
        // Made by nobody's entry, its time is that of the unpacking.
        let root = |path: &Path| fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        root(&view.root);
        root(&folder.join("whole/rootfs"));
        tree::assert_same(&view.root, &folder.join("whole/rootfs"), archive);
        view.unmount(&sandbox);
    }
}

#[test]
fn several_tags_and_several_images_of_one_archive_are_loaded() {
    let sandbox = Sandbox::new();
    let layers = [layer("shared"), layer("one"), layer("two")];
    let diff_ids = layers.each_ref().map(|layer| Digest::of(layer));
    let configs = [
        config(&[diff_ids[0].clone(), diff_ids[1].clone()], ""),
        config(&[diff_ids[0].clone(), diff_ids[2].clone(), diff_ids[0].clone()], ""),
    ];
    let manifest = r#"[{"Config":"one.json","RepoTags":["a:1","b/c:2"],"Layers":["0/layer.tar","1/layer.tar"]},
        {"Config":"two.json","RepoTags":null,"Layers":["0/layer.tar","2.tar","0/layer.tar"]}]"#;
    let archive = Tarball::new()
        .add(&Header::new(b'0', "one.json"), &configs[0])
        .add(&Header::new(b'0', "two.json"), &configs[1])
        .add(&Header::new(b'0', "1/layer.tar"), &layers[1])
        .add(&Header::new(b'0', "2.tar"), &layers[2])
        // Older versions save a shared layer once, and link to it.
        .symlink("0/layer.tar", "../3/layer.tar")
        .add(&Header::new(b'0', "3/layer.tar"), &layers[0])
        .file("0/VERSION", "1.0")
        .file("manifest.json", manifest)
        .finish();
    let loaded = sandbox.load(&archive).unwrap_or_else(|error| panic!("{}", error.chain()));
    let names: Vec<_> = loaded.iter().map(|loaded| loaded.name.as_deref()).collect();
    assert_eq!(names, [Some("a:1"), Some("b/c:2"), None]);
    assert_eq!(sandbox.images.list(NAMESPACE).unwrap().len(), 2);
    assert_eq!(sandbox.images.resolve(NAMESPACE, "b/c:2").unwrap().names.len(), 2);
}

#[test]
fn of_an_index_the_image_for_this_machine_is_kept() {
    let sandbox = Sandbox::new();
    let ours = layout("ours");
    let manifest = &ours.members[2];
    let digest = Digest::of(&manifest.1);
    let entry = |digest: &Digest, size: usize, platform: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{platform}}}"#
        )
    };
    let host = oci::platform::Platform::host();
    let other = Digest::of(b"not in the archive");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{},{}]}}"#,
        entry(&other, 18, r#"{"os":"linux","architecture":"z80"}"#),
        entry(&other, 18, r#"{"os":"unknown","architecture":"unknown"}"#),
        entry(
            &digest,
            manifest.1.len(),
            &format!(r#"{{"os":"linux","architecture":"{}"}}"#, host.architecture)
        ),
    );
    let top = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"many/platforms:v1"}}}}]}}"#,
        Digest::of(index.as_bytes()),
        index.len()
    );
    let mut members = ours.members.clone();
    members[1].1 = top.into_bytes();
    members
        .push((format!("blobs/sha256/{}", Digest::of(index.as_bytes()).hex()), index.clone().into_bytes()));
    sandbox.load(&Layout { members }.archive()).unwrap_or_else(|error| panic!("{}", error.chain()));
    let image = sandbox.images.resolve(NAMESPACE, "many/platforms:v1").unwrap();
    assert_eq!((image.target.digest, image.manifest), (Digest::of(index.as_bytes()), digest));
    sandbox.store.gc().unwrap();
    assert!(sandbox.images.unpack(&sandbox.images.find(NAMESPACE, "many/platforms:v1").unwrap()).is_ok());
}

#[test]
fn images_for_other_machines_are_stored_when_all_are_wanted() {
    let (ours, theirs) = (layout("ours"), layout("theirs"));
    let entry = |layout: &Layout, architecture: &str| {
        let manifest = &layout.members[2].1;
        let (digest, size) = (Digest::of(manifest), manifest.len());
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let host = oci::platform::Platform::host();
    let entries = [entry(&ours, &host.architecture), entry(&theirs, "z80")].join(",");
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
    let mut members = ours.members.clone();
    members[1].1 = index.into_bytes();
    members.extend(theirs.members[2..].iter().cloned());
    let archive = Layout { members }.archive();
    let foreign: Vec<Digest> = theirs.members[2..].iter().map(|(_, bytes)| Digest::of(bytes)).collect();
    for (wanted, images, are_stored) in [(Wanted::Machine, 1, false), (Wanted::All, 2, true)] {
        let sandbox = Sandbox::new();
        let unnamed = sandbox.images.load_unnamed(sandbox.input(&archive), wanted, false).unwrap();
        assert_eq!(unnamed.images.len(), images);
        for digest in &foreign {
            assert_eq!(sandbox.store.content().info(digest).unwrap().is_some(), are_stored, "{digest}");
        }
    }
}

#[test]
fn an_image_for_another_machine_is_loaded_but_not_unpacked() {
    let sandbox = Sandbox::new();
    let plain = layer("one");
    let text = String::from_utf8(config(&[Digest::of(&plain)], "")).unwrap();
    let foreign = text.replace(&oci::platform::Platform::host().architecture, "z80");
    let archive = Tarball::new()
        .file("c.json", &foreign)
        .add(&Header::new(b'0', "l.tar"), &plain)
        .file("manifest.json", r#"[{"Config":"c.json","RepoTags":["foreign:1"],"Layers":["l.tar"]}]"#)
        .finish();
    sandbox.load(&archive).unwrap();
    let image = sandbox.images.find(NAMESPACE, "foreign:1").unwrap();
    let error = sandbox.images.unpack(&image).unwrap_err();
    assert!(error.to_string().contains("linux/z80"), "{error}");
}

#[test]
fn an_image_that_does_not_say_what_it_is_for_is_unpacked() {
    let sandbox = Sandbox::new();
    let plain = layer("one");
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, Digest::of(&plain));
    let archive = Tarball::new()
        .file("c.json", &config)
        .add(&Header::new(b'0', "l.tar"), &plain)
        .file("manifest.json", r#"[{"Config":"c.json","RepoTags":["silent:1"],"Layers":["l.tar"]}]"#)
        .finish();
    sandbox.load(&archive).unwrap();
    assert!(sandbox.images.unpack(&sandbox.images.find(NAMESPACE, "silent:1").unwrap()).is_ok());
}

#[test]
fn wrong_archives_are_refused_and_leave_nothing() {
    let sandbox = Sandbox::new();
    let good = layout("one");
    let changed = |number: usize, from: &str, to: &str| {
        let mut members = good.members.clone();
        let text = String::from_utf8(members[number].1.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        members[number].1 = text.replacen(from, to, 1).into_bytes();
        Layout { members }.archive()
    };
    let without = |number: usize| {
        let mut members = good.members.clone();
        members.remove(number);
        Layout { members }.archive()
    };
    let bytes_changed = |number: usize| {
        let mut members = good.members.clone();
        let last = members[number].1.len() - 1;
        members[number].1[last] ^= 1;
        Layout { members }.archive()
    };
    let plain = layer("one");
    let lying = Layout::new("docker.io/library/steel:v1", &[(gzip(&plain), GZIP, Digest::of(b"other"))]);
    let manifest = |from: &'static str, to: &'static str| {
        let layers = [(gzip(&plain), GZIP, Digest::of(&plain))];
        let change = |text: String| {
            assert!(text.contains(from), "{text}");
            // The last one is the layer's.
            let (before, after) = text.rsplit_once(from).unwrap();
            format!("{before}{to}{after}")
        };
        Layout::with_manifest("docker.io/library/steel:v1", &layers, &change).archive()
    };
    let hostile = Tarball::new().file("ok", "x").file("../out", "x").finish();
    let docker = |config_json: &[u8], manifest: &str| {
        Tarball::new()
            .add(&Header::new(b'0', "c.json"), config_json)
            .add(&Header::new(b'0', "l.tar"), &plain)
            .file("manifest.json", manifest)
            .finish()
    };
    let right_config = config(&[Digest::of(&plain)], "");
    let right = r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#;
    let wrong_name = Tarball::new()
        .add(&Header::new(b'0', format!("{}.json", "0".repeat(64))), &right_config)
        .add(&Header::new(b'0', "l.tar"), &plain)
        .file("manifest.json", &right.replace("c.json", &format!("{}.json", "0".repeat(64))))
        .finish();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", Vec::new(), &["empty"]),
        ("no archive", b"hello".repeat(500), &["not a tar archive"]),
        ("short", b"hello".to_vec(), &["truncated"]),
        ("xz", [b"\xfd7zXZ\0".as_slice(), &[0; 600]].concat(), &["xz", "gzip and zstd"]),
        ("no image in it", layer("one"), &["no index.json and no manifest.json"]),
        ("old docker", Tarball::new().file("repositories", "{}").finish(), &["before 1.10"]),
        (
            "twice the same member",
            Tarball::new().file("index.json", "{}").file("./index.json", "{}").finish(),
            &["`index.json` occurs twice"],
        ),
        (
            "index that is none",
            changed(1, "schemaVersion", "schemaVision"),
            &["index.json", "schema version 0"],
        ),
        (
            "index that is both",
            changed(1, "\"manifests\"", "\"layers\":[],\"manifests\""),
            &["both a manifest and an index"],
        ),
        (
            "index without images",
            Tarball::new().file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#).finish(),
            &["no images"],
        ),
        (
            "wrong name",
            changed(1, "steel:v1", "../steel"),
            &["`docker.io/library/../steel` is not an image name"],
        ),
        ("manifest is missing", without(2), &["blobs/sha256/", "is missing"]),
        ("config is missing", without(3), &["is missing"]),
        ("layer is missing", without(4), &["is missing"]),
        (
            "manifest is damaged",
            changed(2, "\"layers\"", "\"lairs\":1,\"layers\""),
            &["blobs/sha256/", "bytes, but its descriptor says"],
        ),
        ("manifest lies about its size", changed(1, "\"size\":", "\"size\":1"), &["its descriptor says 1"]),
        ("negative size", changed(1, "\"size\":", "\"size\":-"), &["index.json"]),
        (
            "digest that is a path",
            changed(1, "\"digest\":\"sha256:", "\"digest\":\"sha256:../"),
            &["index.json"],
        ),
        ("config is damaged", bytes_changed(3), &["is not what its name says", "expected"]),
        ("layer is damaged", bytes_changed(4), &["is not what its name says", "expected"]),
        (
            "layer's size is wrong",
            manifest("\"size\":", "\"size\":1"),
            &["blobs/sha256/", "its descriptor says 1"],
        ),
        ("layer is encrypted", manifest("+gzip", "+gzip+encrypted"), &["layer 1/1", "+encrypted"]),
        (
            "layer is something else",
            manifest(GZIP, "application/vnd.in-toto+json"),
            &["layer 1/1", "in-toto"],
        ),
        ("manifest without layers", manifest("\"layers\"", "\"lairs\""), &["not a manifest"]),
        (
            "a chart, not an image",
            manifest("application/vnd.oci.image.config.v1+json", "application/vnd.cncf.helm.config.v1+json"),
            &["is not an image", "helm"],
        ),
        (
            "too many layers",
            Layout::new("docker.io/library/steel:v1", &vec![(plain.clone(), PLAIN, Digest::of(&plain)); 500])
                .archive(),
            &["occurs twice"],
        ),
        (
            "too many layers, docker",
            docker_archive("a:1", &vec![plain.clone(); 500]),
            &["500 layers, more than 499"],
        ),
        ("layer lies about its content", lying.archive(), &["layer 1/1", "but the image says"]),
        (
            "layer wants out",
            docker_archive("a:1", &[layer("fine"), hostile]),
            &["layer 2/2", "\"../out\"", "leaves the root"],
        ),
        ("docker: no JSON", docker(&right_config, "["), &["manifest.json", "JSON"]),
        ("docker: no images", docker(&right_config, "[]"), &["lists no images"]),
        (
            "docker: config missing",
            docker(&right_config, &right.replace("c.json", "d.json")),
            &["`d.json` is missing"],
        ),
        (
            "docker: layer missing",
            docker(&right_config, &right.replace("l.tar", "m.tar")),
            &["`m.tar` is missing"],
        ),
        (
            "docker: layer of the host",
            docker(&right_config, &right.replace("l.tar", "/etc/passwd")),
            &["`/etc/passwd` is missing"],
        ),
        (
            "docker: too few layers",
            docker(&right_config, &right.replace("\"l.tar\"", "")),
            &["has 0 layers", "lists 1"],
        ),
        ("docker: no layers", docker(&config(&[], ""), &right.replace("\"l.tar\"", "")), &["no layers"]),
        (
            "docker: wrong diff id",
            docker(&config(&[Digest::of(b"x")], ""), right),
            &["layer 1/1", "but the image says"],
        ),
        ("docker: config is none", docker(b"[]", right), &["c.json is not an image configuration"]),
        (
            "docker: wrong name",
            docker(&right_config, &right.replace("a:1", "A:1")),
            &["`A:1` is not an image name"],
        ),
        ("docker: config is not its name", wrong_name, &["is not what its name says"]),
        (
            "docker: link that leaves",
            Tarball::new().symlink("x/layer.tar", "../../etc/shadow").finish(),
            &["leaves the archive"],
        ),
    ];
    for (case, archive, texts) in cases {
        let error = sandbox.load(&archive).expect_err(case);
        let text = error.chain();
        for expected in texts {
            assert!(text.contains(expected), "{case}: {text:?} lacks {expected:?}");
        }
        assert!(!text.contains('\n') && text.len() < 1000, "{case}: {text:?}");
        assert_eq!(error.code(), api::code::Code::InvalidArgument, "{case}: {text}");
        sandbox.check_nothing_is_left(case);
        sandbox.check_canary(case);
    }
    assert!(
        sandbox.load(&docker(&right_config, right)).is_ok(),
        "the archive that the wrong ones were made of"
    );
}

#[test]
fn a_truncated_archive_leaves_nothing() {
    let sandbox = Sandbox::new();
    let archive = layout("one").archive();
    for length in (0..archive.len() - 1024).step_by(511) {
        assert!(sandbox.load(&archive[..length]).is_err(), "{length}");
        sandbox.check_nothing_is_left("truncated");
    }
}

#[test]
fn the_same_archive_twice_at_once_is_one_image() {
    let sandbox = Sandbox::new();
    let layers: Vec<Vec<u8>> =
        (0..4).map(|n| Tarball::new().file(format!("f{n}"), &"x".repeat(100_000)).finish()).collect();
    let archive = docker_archive("steel:v1", &layers);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| sandbox.load(&archive).unwrap())).collect();
        // Garbage is collected meanwhile: what is under way must not be taken for it.
        while threads.iter().any(|thread| !thread.is_finished()) {
            sandbox.store.gc().unwrap();
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap()[0].name.as_deref(), Some("steel:v1"));
        }
    });
    assert_eq!(sandbox.images.list(NAMESPACE).unwrap().len(), 1);
    assert_eq!(sandbox.store.snapshots("overlay").unwrap().list().unwrap().len(), 4);
    sandbox.check_nothing_is_left("after four loads");
    let mount = Mounted::new(&sandbox, "steel:v1");
    assert_eq!(tree::paths(&mount.root).len(), 4);
    mount.unmount(&sandbox);
}

#[test]
fn progress_is_told_for_each_step() {
    let sandbox = Sandbox::new();
    let noise: Vec<u8> = (0..20_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let layer = Tarball::new().add(&Header::new(b'0', "noise"), &noise).file("f", "x").finish();
    let archive =
        Layout::new("docker.io/library/steel:v1", &[(layer.clone(), PLAIN, Digest::of(&layer))]).archive();
    let mut steps = Vec::new();
    sandbox.images.load(NAMESPACE, sandbox.input(&archive), &mut |progress| steps.push(progress)).unwrap();
    let count = |step: Step| steps.iter().filter(|progress| progress.step == step).count();
    assert!(count(Step::Reading) > 2 && count(Step::Storing) > 2, "{steps:?}");
    assert!(
        steps
            .iter()
            .filter(|progress| progress.step == Step::Storing)
            .all(|progress| progress.blob.is_some())
    );
}

#[test]
fn a_layer_that_the_disk_damaged_is_not_unpacked_again() {
    let sandbox = Sandbox::new();
    sandbox.load(&layout("one").archive()).unwrap();
    let image = sandbox.images.find(NAMESPACE, "steel:v1").unwrap();
    let chain_id = sandbox.images.unpack(&image).unwrap();
    sandbox.store.snapshots("overlay").unwrap().remove(chain_id.as_str()).unwrap();
    assert!(sandbox.images.unpack(&image).is_ok(), "from content, as long as that is whole");
    sandbox.store.snapshots("overlay").unwrap().remove(chain_id.as_str()).unwrap();
    let other = layer("two");
    fs::write(
        sandbox.store.layout().blobs(oci::digest::Algorithm::Sha256).join(image.layers[0].digest.hex()),
        gzip(&other),
    )
    .unwrap();
    let error = sandbox.images.unpack(&image).unwrap_err();
    assert!(matches!(error, Error::DamagedLayer { .. }), "{error:?}");
    assert_eq!(error.code(), api::code::Code::DataLoss);
}
