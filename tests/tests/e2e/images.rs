//! Images: archives of every kind in, the same image out.

use std::path::Path;
use std::process::Command;

use tests::host::{Host, fixture, path_text};

/// Runs a program of the machine, which must succeed.
fn program(name: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(name).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{name} is needed by this test: {error}"));
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An OCI layout of two layers, made by umoci: busybox, and a layer that adds and removes a file.
fn layout(folder: &Path) {
    program("umoci", &["init", "--layout", "oci"], folder);
    program("umoci", &["new", "--image", "oci:v1"], folder);
    program("umoci", &["unpack", "--image", "oci:v1", "bundle"], folder);
    program("tar", &["-C", "bundle/rootfs", "-xf", path_text(&fixture("busybox.tar"))], folder);
    program("umoci", &["repack", "--image", "oci:v1", "bundle"], folder);
    std::fs::remove_file(folder.join("bundle/rootfs/var/www/index.html")).expect("it was unpacked");
    std::fs::write(folder.join("bundle/rootfs/added"), "second layer\n").expect("it is written");
    program("umoci", &["repack", "--image", "oci:v1", "bundle"], folder);
    program(
        "umoci",
        &["config", "--image", "oci:v1", "--config.cmd", "cat", "--config.cmd", "/added"],
        folder,
    );
}

#[test]
fn archives_of_every_kind_become_the_same_runnable_image() {
    let host = Host::empty();
    let folder = tempfile::Builder::new().prefix("corten-images-").tempdir().expect("a folder");
    let path = folder.path();
    layout(path);
    program("tar", &["-C", "oci", "-cf", "oci.tar", "."], path);
    program(
        "skopeo",
        &["copy", "--insecure-policy", "oci:oci:v1", "docker-archive:docker.tar:example/app:v1"],
        path,
    );
    program(
        "skopeo",
        &["copy", "--insecure-policy", "oci:oci:v1", "oci-archive:named.tar:example/named:v1"],
        path,
    );
    program(
        "sh",
        &[
            "-c",
            "gzip -k docker.tar && zstd -q docker.tar -o docker.tar.zst 2>/dev/null || cp docker.tar docker.tar.zst",
        ],
        path,
    );
    for archive in ["docker.tar", "docker.tar.gz", "docker.tar.zst"] {
        let text = host.ok(&["load", "-i", path_text(&path.join(archive))]);
        assert!(text.contains("Loaded image: example/app:v1"), "{archive}: {text}");
        assert_eq!(host.ok(&["run", "--rm", "--network", "none", "example/app:v1"]), "second layer");
        assert_eq!(
            host.run(&["run", "--rm", "--network", "none", "example/app:v1", "ls", "/var/www/index.html"])
                .code,
            1
        );
        host.ok(&["rmi", "example/app:v1"]);
    }
    let text = host.ok(&["load", "-i", path_text(&path.join("named.tar"))]);
    assert!(text.contains("example/named:v1"), "{text}");
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", "example/named:v1"]), "second layer");
    let text = host.ok(&["load", "-i", path_text(&path.join("oci.tar"))]);
    assert!(text.contains("Loaded image"), "{text}");
    let bytes = std::fs::read(path.join("docker.tar")).expect("the archive");
    assert!(host.run_with_input(&["load"], &bytes).stdout.contains("Loaded image: example/app:v1"));
    let ids = host.ok(&["images", "-q", "--no-trunc"]);
    assert!(!ids.is_empty() && ids.lines().all(|id| id.starts_with("sha256:")), "{ids}");
}

#[test]
fn an_imported_tar_runs_and_can_be_named_inspected_and_removed() {
    let host = Host::empty();
    let id = host.ok(&[
        "import",
        "-c",
        "CMD [\"echo\", \"from import\"]",
        "-c",
        "ENV COLOUR=rust",
        path_text(&fixture("busybox.tar")),
        "steel:v1",
    ]);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", "steel:v1"]), "from import");
    host.ok(&["tag", "steel:v1", "other/name:x"]);
    let listing = host.ok(&["images"]);
    assert!(listing.starts_with("REPOSITORY") && listing.contains("other/name"), "{listing}");
    assert_eq!(host.ok(&["inspect", "-f", "{{.Id}}", "other/name:x"]), id);
    assert_eq!(host.ok(&["inspect", "-f", "{{json .Config.Env}}", "steel:v1"]), "[\"COLOUR=rust\"]");
    assert_eq!(host.ok(&["rmi", "steel:v1"]), "Untagged: steel:v1");
    host.ok(&["create", "--name", "user", "--network", "none", "other/name:x"]);
    host.fails(&["rmi", "other/name:x"], 1, "conflict");
    host.ok(&["rm", "user"]);
    assert!(host.ok(&["rmi", "other/name:x"]).contains("Deleted: sha256:"));
    assert_eq!(host.ok(&["images", "-q"]), "");
    assert_eq!(files(&host.root().join("content/blobs")), 0, "the bytes are gone with the image");
}

#[test]
fn the_same_archive_twice_at_once_is_one_image() {
    let host = Host::start();
    let tar = fixture("busybox.tar");
    let both: Vec<_> = ["a:1", "b:1"]
        .iter()
        .map(|name| host.command(&["import", path_text(&tar), name]).output())
        .map(|output| output.expect("corten runs"))
        .collect();
    assert!(both.iter().all(|output| output.status.success()));
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = host.command(&["run", "--rm", "--network", "none", "a:1", "true"]);
            command.spawn().expect("corten runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
}

fn files(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}
