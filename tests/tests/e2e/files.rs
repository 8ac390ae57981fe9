//! A container's files: copied in and out, compared, exported.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::host::{Host, path_text};

/// A container that runs until it is killed.
fn run(host: &Host, name: &str, more: &[&str]) {
    let mut arguments = vec!["run", "-d", "--name", name, "--network", "none"];
    arguments.extend(more);
    arguments.extend(["busybox", "sleep", "1000"]);
    host.ok(&arguments);
}

fn exec(host: &Host, name: &str, script: &str) -> String {
    host.ok(&["exec", name, "sh", "-c", script])
}

/// What is below a directory: names, and content of files.
fn tree(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry").path();
            let name = entry.strip_prefix(path).expect("below it").display().to_string();
            if entry.is_dir() {
                found.push(format!("{name}/"));
                waiting.push(entry);
            } else {
                found.push(format!("{name}={}", fs::read_to_string(&entry).expect("text")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn cp_names_what_it_copies_as_docker_does() {
    let host = Host::start();
    run(&host, "c1", &[]);
    let here = host.path().join("here");
    fs::create_dir_all(here.join("src")).expect("a directory");
    fs::write(here.join("src/f"), "1").expect("a file");
    fs::write(here.join("one"), "2").expect("a file");
    symlink("one", here.join("link")).expect("a link");
    let at = |name: &str| format!("{}/{name}", path_text(&here));
    let into = |from: &str, to: &str| host.ok(&["cp", &at(from), &format!("c1:{to}")]);
    exec(&host, "c1", "mkdir -p /w/there; ln -s /w/there /w/alias; echo old > /w/old");
    into("src", "/w/new");
    into("src", "/w/there");
    into("src/.", "/w/alias");
    into("one", "/w/old");
    into("one", "/w/there/renamed");
    into("link", "/w/link");
    host.ok(&["cp", "-L", &at("link"), "c1:/w/followed"]);
    let found = exec(
        &host,
        "c1",
        "cd /w && find . -type f | sort | while read f; do echo $f=$(cat $f); done; readlink link",
    );
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [
            "./followed=2",
            "./new/f=1",
            "./old=2",
            "./there/f=1",
            "./there/renamed=2",
            "./there/src/f=1",
            "one"
        ]
    );
    let from = |from: &str, to: &str| host.ok(&["cp", &format!("c1:{from}"), &at(to)]);
    fs::create_dir(here.join("out")).expect("a directory");
    from("/w/there", "out");
    from("/w/there/src/.", "out");
    from("/w/new", "out/fresh");
    from("/w/old", "out/name");
    host.ok(&["cp", "-L", "c1:/w/alias", &at("out/as")]);
    assert_eq!(
        tree(&here.join("out")),
        [
            "as/",
            "as/f=1",
            "as/renamed=2",
            "as/src/",
            "as/src/f=1",
            "f=1",
            "fresh/",
            "fresh/f=1",
            "name=2",
            "there/",
            "there/f=1",
            "there/renamed=2",
            "there/src/",
            "there/src/f=1"
        ]
    );
    assert_eq!(fs::metadata(here.join("out/name")).expect("it").uid(), 0);
}

#[test]
fn cp_refuses_in_dockers_words() {
    let host = Host::start();
    run(&host, "c1", &["--read-only", "-v", "data:/data", "-v", "fixed:/fixed:ro"]);
    let here = host.path().join("here");
    fs::create_dir_all(here.join("dir")).expect("a directory");
    fs::write(here.join("file"), "x").expect("a file");
    let at = |name: &str| format!("{}/{name}", path_text(&here));
    let (file, dir) = (at("file"), at("dir"));
    for (from, to, text) in [
        ("c1:/x", "c1:/y", "copying between containers is not supported"),
        (&*file, &*dir, "must specify at least one container source"),
        ("c1:/none", &*dir, "Could not find the file /none in container c1"),
        ("other:/x", &*dir, "No such container: other"),
        ("c1:/etc", &*file, "cannot copy directory"),
        (&*dir, "c1:/etc/passwd", "cannot copy directory"),
        (&*at("nothing"), "c1:/data", "nothing: no such file or directory"),
        (&*file, "c1:/data/none/", "no such directory"),
        ("c1:/etc/passwd", &*at("none/dir/x"), "/none/dir\" does not exist"),
        ("c1:/etc/passwd", &*at("none/"), "no such directory"),
        (&*file, "c1:/etc", "container rootfs is marked read-only"),
        (&*file, "c1:/fixed", "mounted volume is marked read-only"),
        ("c1:/etc/passwd", "/dev/null", "must be a directory or a regular file: got a device"),
        (&*file, "c1:/dev/null/x", "Could not find the file /dev/null"),
    ] {
        host.fails(&["cp", from, to], 1, text);
    }
    host.ok(&["cp", &file, "c1:/data"]);
    assert_eq!(exec(&host, "c1", "cat /data/file"), "x");
    host.fails(
        &["export", "-o", "/none/x", "c1"],
        1,
        "invalid output path: directory \"/none\" does not exist",
    );
    host.fails(&["diff", "none"], 1, "No such container: none");
}

#[test]
fn a_paused_and_a_stopped_container_have_files_too() {
    let host = Host::start();
    run(&host, "c1", &["-v", "data:/data"]);
    let file = host.path().join("file");
    fs::write(&file, "text").expect("a file");
    let file = path_text(&file);
    host.ok(&["pause", "c1"]);
    host.ok(&["cp", file, "c1:/paused"]);
    host.ok(&["unpause", "c1"]);
    assert_eq!(exec(&host, "c1", "cat /paused"), "text");
    host.ok(&["stop", "-t", "0", "c1"]);
    host.ok(&["cp", file, "c1:/stopped"]);
    host.ok(&["cp", file, "c1:/data/volume"]);
    let out = host.path().join("out");
    host.ok(&["cp", "c1:/data", path_text(&out)]);
    assert_eq!(fs::read_to_string(out.join("volume")).expect("it"), "text");
    host.ok(&["start", "c1"]);
    assert_eq!(exec(&host, "c1", "cat /stopped /data/volume"), "texttext");
}

#[test]
fn a_container_that_moves_its_links_never_gets_at_the_host() {
    let host = Host::start();
    let outside = host.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("secret"), "host's").expect("a file");
    let script = format!(
        "mkdir -p /w; cd /w; while :; do mkdir x; echo own > x/secret; rm -rf x; ln -s {} x; rm x; done",
        outside.display()
    );
    host.ok(&["run", "-d", "--name", "c1", "--network", "none", "busybox", "sh", "-c", &script]);
    let (target, source) = (host.path().join("target"), host.path().join("source"));
    fs::create_dir_all(source.join("x")).expect("a directory");
    fs::write(source.join("x/planted"), "x").expect("a file");
    for _ in 0..12 {
        drop(fs::remove_dir_all(&target));
        fs::create_dir(&target).expect("a directory");
        // Whether they succeed is the container's luck.
        host.run(&["cp", "c1:/w/x/.", path_text(&target)]);
        host.run(&["cp", "-L", "c1:/w/x/secret", path_text(&target)]);
        host.run(&["cp", path_text(&source.join("x/planted")), "c1:/w/x/planted"]);
        host.run(&["cp", &format!("{}/.", path_text(&source)), "c1:/w"]);
        let copied = fs::read_to_string(target.join("secret")).unwrap_or_default();
        assert!(!copied.contains("host"), "{copied}");
    }
    assert_eq!(tree(&outside), ["secret=host's"]);
}

#[test]
fn a_copy_that_the_daemon_does_not_survive_leaves_nothing_mounted() {
    let mut host = Host::start();
    run(&host, "c1", &[]);
    host.ok(&["create", "--name", "c2", "--network", "none", "-v", "data:/data", "busybox", "true"]);
    for container in ["c1", "c2"] {
        let mut copy = host
            .command(&["cp", "-", &format!("{container}:/tmp")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a copy");
        let mut input = copy.stdin.take().expect("a pipe");
        // Half of an archive: the worker waits for the rest of a file.
        let archive = archive(host.path(), "half", 4 << 20);
        input.write_all(&archive[..archive.len() / 2]).expect("it reads");
        let daemon = host.daemon_pid();
        host.until("a worker is at it", || !workers(daemon).is_empty());
        let workers = workers(daemon);
        host.kill_daemon();
        drop(input);
        assert!(!copy.wait().expect("it ends").success());
        host.until("the worker is gone", || {
            workers.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        });
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let root = path_text(host.path()).to_owned();
        assert!(!mounts.lines().any(|line| line.contains(&root) && line.contains("overlay")), "{mounts}");
        host.start_daemon();
        let file = host.path().join("file");
        fs::write(&file, "after").expect("a file");
        host.ok(&["cp", path_text(&file), &format!("{container}:/tmp/after")]);
    }
    assert_eq!(exec(&host, "c1", "cat /tmp/after"), "after");
    host.ok(&["start", "-a", "c2"]);
}

/// The processes of the daemon that copy files.
fn workers(daemon: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{daemon}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: String = children.collect();
    let is_worker = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"files")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_worker).collect()
}

/// A tar archive with one file of so many bytes.
fn archive(folder: &Path, name: &str, size: usize) -> Vec<u8> {
    fs::write(folder.join(name), vec![b'x'; size]).expect("a file");
    let made = Command::new("tar").arg("-C").arg(folder).args(["-cf", "-", name]).output().expect("tar");
    assert!(made.status.success());
    made.stdout
}

#[test]
fn two_copies_at_once_are_both_whole() {
    let host = Host::start();
    run(&host, "c1", &[]);
    host.ok(&["create", "--name", "c2", "--network", "none", "busybox", "true"]);
    for container in ["c1", "c2"] {
        std::thread::scope(|scope| {
            let copies: Vec<_> = (0..4)
                .map(|number| {
                    let (host, file) = (&host, host.path().join(format!("{container}-{number}")));
                    scope.spawn(move || {
                        fs::write(&file, vec![b'0' + number; 1 << 20]).expect("a file");
                        host.ok(&["cp", path_text(&file), &format!("{container}:/f{number}")]);
                        host.ok(&[
                            "cp",
                            &format!("{container}:/f{number}"),
                            path_text(&file.with_extension("back")),
                        ]);
                        assert_eq!(fs::read(&file).ok(), fs::read(file.with_extension("back")).ok());
                    })
                })
                .collect();
            for copy in copies {
                copy.join().expect("it is whole");
            }
        });
    }
}

#[test]
fn a_path_longer_than_any_is_refused() {
    let host = Host::start();
    run(&host, "c1", &[]);
    let longest = format!("/{}", "a/".repeat(2048));
    assert!(longest.len() > 4096);
    host.fails(&["cp", &format!("c1:{longest}"), path_text(host.path())], 1, "File name too long");
    let file = host.path().join("file");
    fs::write(&file, "x").expect("a file");
    host.fails(&["cp", path_text(&file), &format!("c1:{longest}")], 1, "no such directory");
}

#[test]
fn diff_and_export_show_what_a_container_has() {
    let host = Host::start();
    run(&host, "c1", &["-v", "data:/data"]);
    let script =
        "rm -rf /root; mkdir /opt; echo x > /opt/f; echo y >> /etc/passwd; echo z > /data/z; touch /etc";
    exec(&host, "c1", script);
    let changes = host.ok(&["diff", "c1"]);
    assert_eq!(
        changes.lines().collect::<Vec<_>>(),
        ["A /data", "C /etc", "C /etc/passwd", "A /opt", "A /opt/f", "D /root"]
    );
    // A directory that was made anew hides what was in the old one.
    exec(&host, "c1", "rm -rf /etc; mkdir /etc 2>/dev/null; rm -rf /opt; true");
    let tar = host.path().join("tree.tar");
    fs::write(&tar, "old").expect("a file");
    host.ok(&["export", "-o", path_text(&tar), "c1"]);
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<_> = listed.lines().collect();
    assert!(names.contains(&"bin/busybox") && names.contains(&"data/"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("data/z") || name.starts_with('/')), "{names:?}");
    let leftovers = fs::read_dir(host.path()).expect("a directory").flatten();
    assert!(!leftovers.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".tree")));
    host.fails(&["export", "-o", path_text(&tar), "none"], 1, "No such container: none");
    assert!(fs::metadata(&tar).expect("the old one").len() > 1 << 20);
}
