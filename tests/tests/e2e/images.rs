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

#[test]
fn a_saved_image_goes_through_other_tools_and_comes_back_the_same() {
    let host = Host::empty();
    let folder = tempfile::Builder::new().prefix("corten-images-").tempdir().expect("a folder");
    let path = folder.path();
    layout(path);
    program(
        "skopeo",
        &["copy", "--insecure-policy", "oci:oci:v1", "oci-archive:first.tar:example/app:v1"],
        path,
    );
    host.ok(&["load", "-i", path_text(&path.join("first.tar"))]);
    host.ok(&["tag", "example/app:v1", "example/app:v2"]);
    let of =
        |name: &str| host.ok(&["inspect", "-f", "{{.Id}} {{json .RepoDigests}} {{json .RepoTags}}", name]);
    let before = of("example/app:v1");
    let saved = path.join("saved.tar");
    host.ok(&["save", "-o", path_text(&saved), "example/app"]);
    let hidden = |name: std::ffi::OsString| name.to_string_lossy().starts_with('.');
    let mut left = std::fs::read_dir(path).expect("the folder").flatten();
    assert!(!left.any(|entry| hidden(entry.file_name())), "no draft is left");

    // Each reads the half of the archive that it knows.
    program(
        "skopeo",
        &["copy", "--insecure-policy", "docker-archive:saved.tar:example/app:v2", "dir:d"],
        path,
    );
    program("skopeo", &["copy", "--insecure-policy", "oci-archive:saved.tar:v1", "oci:again:v1"], path);
    let store = ["--root", "store", "--runroot", "run", "--storage-driver", "vfs"];
    program("podman", &[&store[..], &["load", "-q", "-i", "saved.tar"]].concat(), path);
    let names = ["save", "-q", "-o", "podman.tar", "localhost/example/app:v1"];
    program("podman", &[&store[..], &names].concat(), path);

    host.ok(&["rmi", "-f", "example/app:v1", "example/app:v2"]);
    // podman says of everything that it loads from a file that it is the machine's own.
    for (archive, name) in [("podman.tar", "localhost/example/app:v1"), ("saved.tar", "example/app:v1")] {
        host.ok(&["load", "-q", "-i", path_text(&path.join(archive))]);
        assert_eq!(host.ok(&["run", "--rm", "--network", "none", name]), "second layer", "{archive}");
        if archive == "podman.tar" {
            host.ok(&["rmi", name]);
        }
    }
    assert_eq!(of("example/app:v1"), before, "id, digest and names");
    let bytes = std::fs::read(&saved).expect("the archive");
    host.ok(&["save", "-o", path_text(&saved), "example/app:v1", "example/app:v2"]);
    assert_eq!(std::fs::read(&saved).expect("the archive"), bytes, "the same images are the same bytes");
}

#[test]
fn a_save_that_is_cut_off_fails_and_leaves_no_file() {
    let mut host = Host::empty();
    let folder = tempfile::Builder::new().prefix("corten-images-").tempdir().expect("a folder");
    let path = folder.path();
    std::fs::create_dir(path.join("root")).expect("a folder");
    std::fs::write(path.join("root/big"), vec![7; 32 << 20]).expect("it is written");
    program("tar", &["-C", "root", "-cf", "root.tar", "."], path);
    host.ok(&["import", path_text(&path.join("root.tar")), "big"]);
    // Nobody reads it, so it cannot come to its end before the daemon does.
    let mut command = host.command(&["save", "big"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("corten runs");
    let mut output = child.stdout.take().expect("a pipe");
    let mut first = [0; 512];
    std::io::Read::read_exact(&mut output, &mut first).expect("the archive begins");
    let target = path.join("out.tar");
    host.fails(&["save", "-o", path_text(&target), "big", "nothing"], 1, "No such image");
    assert!(!target.exists());
    host.kill_daemon();
    std::io::copy(&mut output, &mut std::io::sink()).expect("it ends");
    assert!(!child.wait().expect("it ends").success(), "half an archive is no success");
    host.start_daemon();
    host.ok(&["save", "-o", path_text(&target), "big"]);
    assert!(target.exists());
}

#[test]
fn what_nothing_uses_is_told_and_removed() {
    let host = Host::start();
    host.ok(&[
        "run",
        "--name",
        "old",
        "--network",
        "none",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "head -c 9000 /dev/zero > /f",
    ]);
    host.ok(&["network", "create", "unused"]);
    let usage = host.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}"]);
    let lines: Vec<&str> = usage.lines().collect();
    assert!(lines[0].starts_with("Images 1 1 "), "{usage}");
    assert_eq!(lines[1..], ["Containers 1 0 9kB", "Local Volumes 1 1 0B", "Build Cache 0 0 0B"]);
    let details = host.ok(&["system", "df", "-v"]);
    assert!(details.contains("busybox") && details.contains("old"), "{details}");
    let steps = host.ok(&["history", "--format", "{{.Comment}} {{.Size}}", "busybox"]);
    assert!(steps.starts_with("imported from a tar archive "), "{steps}");
    let refused = host.run_with_input(&["system", "prune"], b"n\n");
    assert!(refused.stdout.contains("all stopped containers") && refused.code == 1, "{refused:?}");
    let pruned = host.ok(&["system", "prune", "-af", "--volumes"]);
    for title in
        ["Deleted Containers:", "Deleted Networks:\nunused", "Deleted Volumes:", "untagged: busybox:latest"]
    {
        assert!(pruned.contains(title), "{title}: {pruned}");
    }
    let empty = host.ok(&["system", "df", "--format", "{{.TotalCount}} {{.Reclaimable}}"]);
    assert_eq!(empty, "0 0B\n0 0B\n0 0B\n0 0B");
}

#[test]
fn a_commit_whose_daemon_is_killed_lets_its_container_go_on() {
    let mut host = Host::start();
    // What cannot be compressed takes its time.
    let script = "head -c 150000000 /dev/urandom > /file; echo made; while :; do sleep 1; done";
    host.ok(&["run", "-d", "--name", "busy", "--network", "none", "busybox", "sh", "-c", script]);
    host.until("the file is there", || host.ok(&["logs", "busy"]) == "made");
    let status = |host: &Host| host.ok(&["inspect", "-f", "{{.State.Status}}", "busy"]);
    let mut child = host
        .command(&["commit", "busy", "half"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("corten runs");
    host.until("it stands still", || status(&host) == "paused");
    host.kill_daemon();
    assert!(!child.wait().expect("it ends").success());
    host.start_daemon();
    assert_eq!(status(&host), "running");
    host.fails(&["inspect", "--type", "image", "half"], 1, "No such image");
    let id = host.ok(&[
        "commit",
        "-a",
        "me",
        "-m",
        "a word",
        "-c",
        "CMD [\"stat\", \"-c\", \"%s\", \"/file\"]",
        "busy",
        "whole:1",
    ]);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", "whole:1"]), "150000000");
}
