//! Wrong input: one clear line, the right exit code, nothing left behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::host::{Host, Outcome, fixture, path_text};

/// One line that says what is wrong, at most a hint after it, and never a panic.
fn is_clear(outcome: &Outcome) {
    let text = &outcome.stderr;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let told = lines.iter().filter(|line| {
        !line.starts_with("hint:")
            && !line.starts_with("See ")
            && !line.starts_with("Run '")
            && !line.starts_with("Usage:")
    });
    assert_eq!(told.count(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn nothing_left(host: &Host, blobs_before: usize) {
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    let ingest = host.root().join("content/ingest");
    assert_eq!(fs::read_dir(&ingest).map_or(0, Iterator::count), 0, "{}", ingest.display());
    assert_eq!(blobs(host), blobs_before, "content was left behind");
}

fn blobs(host: &Host) -> usize {
    fs::read_dir(host.root().join("content/blobs/sha256")).map_or(0, Iterator::count)
}

#[test]
fn truncated_and_lying_archives_are_refused_and_leave_nothing() {
    let host = Host::start();
    let before = blobs(&host);
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let whole = fs::read(fixture("busybox.tar")).expect("the fixture");
    let mut bad_checksum = whole.clone();
    bad_checksum[100] ^= 0xff;
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty.tar", b"", ""),
        ("noise.tar", &[0x5a; 4096], ""),
        ("truncated.tar", &whole[..whole.len() / 2], ""),
        ("checksum.tar", &bad_checksum, ""),
        ("cut.tar.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3], ""),
    ];
    for (name, bytes, text) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("it is written");
        for arguments in [vec!["import", path_text(&path), "bad:1"], vec!["load", "-i", path_text(&path)]] {
            let outcome = host.fails(&arguments, 1, text);
            is_clear(&outcome);
        }
    }
    nothing_left(&host, before);
}

/// Makes a tar with GNU tar from names that a layer must not hold.
fn hostile_tar(folder: &Path, script: &str) -> std::path::PathBuf {
    let path = folder.join("hostile.tar");
    let output =
        Command::new("python3").args(["-c", script, path_text(&path)]).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

#[test]
fn entries_that_leave_their_root_are_refused_or_stay_inside() {
    let host = Host::start();
    let before = blobs(&host);
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let canary = folder.path().join("canary");
    fs::create_dir(&canary).expect("a folder");
    let target = path_text(&canary).to_owned();
    let head = "import tarfile,io,sys\nt=tarfile.open(sys.argv[1],'w')\n\
        def add(name,kind=b'0',link='',data=b''):\n i=tarfile.TarInfo(name);i.type=kind;i.linkname=link;i.size=len(data);t.addfile(i,io.BytesIO(data))\n";
    let cases = [
        "add('../../escaped',data=b'x')".to_owned(),
        format!("add('{target}/escaped',data=b'x')"),
        format!("add('link',b'2','{target}')\nadd('link/escaped',data=b'x')"),
        format!("add('link',b'2','{target}/escaped')\nadd('link',data=b'x')"),
        format!("add('hard',b'1','{target}/../canary/escaped')"),
        "add('a/../../escaped',data=b'x')".to_owned(),
        format!("add('a',b'2','..')\nadd('a/a/a/a/a/{}',data=b'x')", target.trim_start_matches('/')),
    ];
    for case in cases {
        let path = hostile_tar(folder.path(), &format!("{head}{case}\nt.close()"));
        let outcome = host.run(&["import", path_text(&path), "hostile:1"]);
        assert_eq!(
            fs::read_dir(&canary).expect("it is there").count(),
            0,
            "{case} left its root: {outcome:?}"
        );
        if outcome.code == 0 {
            host.ok(&["rmi", "hostile:1"]);
        } else {
            is_clear(&outcome);
        }
    }
    nothing_left(&host, before);
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let host = Host::start();
    let before = blobs(&host);
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let copy = Command::new("skopeo")
        .args(["copy", "--insecure-policy"])
        .arg(format!("tarball:{}", fixture("busybox.tar").display()))
        .arg(format!("oci:{}/oci:v1", folder.path().display()))
        .output()
        .expect("skopeo runs");
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
    let store = folder.path().join("oci/blobs/sha256");
    let largest = fs::read_dir(&store)
        .expect("blobs")
        .flatten()
        .max_by_key(|entry| entry.metadata().map_or(0, |data| data.len()))
        .expect("a layer");
    let mut bytes = fs::read(largest.path()).expect("the layer");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest.path(), bytes).expect("it is written");
    let tar = folder.path().join("bad.tar");
    assert!(
        Command::new("tar")
            .arg("-C")
            .arg(folder.path().join("oci"))
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status()
            .expect("tar")
            .success()
    );
    let outcome = host.fails(&["load", "-i", path_text(&tar)], 1, "sha256:");
    is_clear(&outcome);
    nothing_left(&host, before);
}

#[test]
fn users_that_do_not_exist_or_do_not_fit_never_become_root() {
    let host = Host::start();
    for user in ["nobody-here", "4294967296", "2147483648", "-1", "0x0", " 0", "1e3", "0:nogroup-here"] {
        let flag = format!("--user={user}");
        let outcome = host.run(&["run", "--rm", "--network", "none", &flag, "busybox", "id", "-u"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{user:?}: {outcome:?}");
        is_clear(&outcome);
    }
    nothing_left(&host, blobs(&host));
}

#[test]
fn invalid_and_unbuilt_flags_are_refused_before_anything_happens() {
    let host = Host::start();
    let cases: [(&[&str], &str); 21] = [
        (&["--no-such-flag", "busybox"], "no-such-flag"),
        (&["-p", "80:80:80:80", "busybox"], "invalid IP address"),
        (&["--network", "container:nobody-here", "busybox"], "nobody-here"),
        (
            &["--network", "bridge", "--link", "x", "busybox"],
            "could not get container for x: No such container: x",
        ),
        (&["--network", "bridge", "--dns", "1.1.1.300", "busybox"], "1.1.1.300"),
        (&["--network", "nobody-s", "busybox"], "nobody-s"),
        (&["--network", "bridge", "--ip", "10.0.0.9", "busybox"], "user defined networks"),
        (&["--gpus", "all", "busybox"], "could not select device driver"),
        (&["--health-cmd", "true", "--health-retries", "-1", "busybox"], "retries"),
        (&["-m", "12x", "busybox"], "12x"),
        (&["-m", "1k", "busybox"], "memory"),
        (&["--cpus", "-1", "busybox"], "-1"),
        (&["--ulimit", "nofile", "busybox"], "nofile"),
        (&["--ulimit", "nothing=1", "busybox"], "nothing"),
        (&["--cap-add", "NOT_A_CAP", "busybox"], "NOT_A_CAP"),
        (&["--sysctl", "kernel.core_pattern=x", "busybox"], "kernel.core_pattern"),
        (&["--security-opt", "nonsense=1", "busybox"], "nonsense"),
        (&["--restart", "sometimes", "busybox"], "sometimes"),
        (&["--rm", "--restart", "always", "busybox"], "--rm"),
        (&["-v", "relative/path:/x", "busybox"], "relative/path"),
        (&["--device", "/dev/not-there", "busybox"], "/dev/not-there"),
    ];
    for (arguments, text) in cases {
        let mut all = vec!["run"];
        if !arguments.contains(&"--network") {
            all.extend(["--network", "none"]);
        }
        all.extend(arguments);
        all.push("true");
        let outcome = host.run(&all);
        assert_eq!(outcome.code, 125, "{all:?}: {outcome:?}");
        assert!(outcome.stderr.contains(text), "{all:?}: {:?} lacks {text:?}", outcome.stderr);
        is_clear(&outcome);
    }
    nothing_left(&host, blobs(&host));
}

#[test]
fn images_with_hostile_trees_do_no_harm() {
    let host = Host::start();
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let canary = folder.path().join("canary");
    fs::create_dir(&canary).expect("a folder");
    let target = path_text(&canary);
    let base = fixture("busybox.tar");
    let trees: [(&str, String); 3] = [
        ("/dev is a link", format!("rm -rf dev; ln -s {target} dev")),
        ("/proc is a link", format!("rm -rf proc; ln -s {target} proc")),
        ("/etc is a link", format!("mkdir real; cp etc/* real; rm -rf etc; ln -s {target} etc")),
    ];
    for (what, change) in trees {
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).expect("a folder");
        let script = format!("tar -xf {} && {change} && tar -cf ../tree.tar .", path_text(&base));
        assert!(Command::new("sh").args(["-c", &script]).current_dir(&tree).status().expect("sh").success());
        host.ok(&["import", path_text(&folder.path().join("tree.tar")), "tree:1"]);
        let outcome = host.run(&["run", "--rm", "--network", "none", "tree:1", "/bin/busybox", "true"]);
        assert_eq!(fs::read_dir(&canary).expect("it is there").count(), 0, "{what}: {outcome:?}");
        if outcome.code != 0 {
            is_clear(&outcome);
        }
        fs::remove_dir_all(&tree).expect("it is removed");
    }
    let outcome = host.run(&["run", "--rm", "--network", "none", "-w", "/proc/self/fd/7", "busybox", "pwd"]);
    assert_ne!(outcome.code, 0, "a working directory behind a descriptor is refused: {outcome:?}");
}

/// Imports busybox after a change of its tree, as `tree:1`.
fn import_changed(host: &Host, folder: &Path, change: &str, flags: &[&str]) {
    let script = format!(
        "mkdir t && cd t && tar -xf {} && {change} && tar -cSf ../t.tar .",
        path_text(&fixture("busybox.tar"))
    );
    assert!(
        Command::new("sh").args(["-ec", &script]).current_dir(folder).status().expect("sh").success(),
        "{change}"
    );
    let tar = folder.join("t.tar");
    host.ok(&[&["import"], flags, &[path_text(&tar), "tree:1"]].concat());
    fs::remove_dir_all(folder.join("t")).expect("it is removed");
    fs::remove_file(tar).expect("it is removed");
}

#[test]
fn an_image_s_accounts_make_nobody_root_and_hold_nobody_up() {
    let host = Host::start();
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let users = ["2147483648", "4294967295", "4294967296", "-1", "0x0", " 0", "1e3"];
    let lines = users.map(|user| format!("echo '{user}:x:0:0::/:/bin/sh' >>etc/passwd")).join("; ");
    import_changed(&host, folder.path(), &lines, &[]);
    let run = |user: &str| {
        let flag = format!("--user={user}");
        host.run(&["run", "--rm", "--network", "none", &flag, "tree:1", "id", "-u"])
    };
    for user in users {
        let outcome = run(user);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{user:?}: {outcome:?}");
        is_clear(&outcome);
    }
    for change in [
        "rm etc/passwd; mkfifo etc/passwd",
        "rm etc/group; mkfifo etc/group",
        "rm etc/passwd; mknod etc/passwd c 1 5",
        "rm etc/passwd; mknod zero c 1 5; ln -s /zero etc/passwd",
        "truncate -s 4G etc/passwd",
        "truncate -s 4G etc/group",
    ] {
        import_changed(&host, folder.path(), change, &[]);
        let outcome = run("root");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{change}: {outcome:?}");
        assert!(
            outcome.stderr.contains("/etc/passwd` of the image")
                || outcome.stderr.contains("/etc/group` of the image"),
            "{outcome:?}"
        );
        is_clear(&outcome);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn an_image_s_volumes_are_filled_from_the_image_alone() {
    let host = Host::start();
    let folder = tempfile::Builder::new().prefix("corten-bad-").tempdir().expect("a folder");
    let canary = folder.path().join("canary");
    fs::create_dir(&canary).expect("a folder");
    fs::write(canary.join("secret"), "x").expect("it is written");
    let target = path_text(&canary);
    for (volume, change) in [
        ("/../../../../../../..".to_owned() + target, String::new()),
        ("/proc/self/root".to_owned() + target, String::new()),
        ("/data".to_owned(), format!("ln -s {target} data")),
        ("/data".to_owned(), format!("ln -s ../../../../../../..{target} data")),
        (
            "/data".to_owned(),
            format!("mkdir data; ln -s {target}/secret data/secret; ln -s {target} data/canary"),
        ),
        (
            "/data/x".to_owned(),
            format!("ln -s {target} data; mkdir -p .{target}/x; touch .{target}/x/inside"),
        ),
    ] {
        let change = if change.is_empty() { "true" } else { &change };
        import_changed(&host, folder.path(), change, &["-c", &format!("VOLUME [\"{volume}\"]")]);
        let script = "find / -xdev -name secret -type f; for v in $(cut -d' ' -f5 /proc/self/mountinfo); do case $v in /proc*|/sys*|/dev*) ;; *) find $v -name secret -type f;; esac; done";
        let outcome = host.run(&["run", "--rm", "--network", "none", "tree:1", "sh", "-c", script]);
        assert_eq!(outcome.stdout, "", "{volume} {change}: {outcome:?}");
        let left: Vec<_> =
            fs::read_dir(&canary).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["secret"], "{volume} {change}: {outcome:?}");
        if outcome.code != 0 {
            is_clear(&outcome);
        }
        host.until("its volume is gone", || host.ok(&["volume", "ls", "-q"]).is_empty());
    }
}

#[test]
fn a_full_disk_fails_one_thing_and_everything_can_still_be_removed() {
    let folder = tempfile::Builder::new().prefix("corten-full-").tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs", path_text(&disk)]).status();
    assert!(mount.expect("mount runs").success(), "mounting needs root");
    {
        let host = Host::on_root(&disk.join("root"));
        host.ok(&["import", path_text(&fixture("busybox.tar")), "busybox:latest"]);
        host.ok(&["run", "-d", "--name", "runs", "--network", "none", "busybox", "sleep", "1000"]);
        let filler = disk.join("filler");
        let fill = || {
            Command::new("dd")
                .args(["if=/dev/zero", "bs=64k", "status=none"])
                .arg(format!("of={}", filler.display()))
                .status()
        };
        fill().expect("dd runs");
        let outcome = host.run(&["import", path_text(&fixture("redis.tar")), "redis:1"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(
            outcome.stderr.to_lowercase().contains("no space") || outcome.stderr.contains("full"),
            "{outcome:?}"
        );
        is_clear(&outcome);
        assert!(host.ok(&["ps"]).contains("runs"));
        host.ok(&["logs", "runs"]);
        host.ok(&["stop", "-t", "0", "runs"]);
        host.ok(&["rm", "runs"]);
        host.ok(&["rmi", "busybox"]);
        fs::remove_file(&filler).expect("it is removed");
    }
    assert!(Command::new("umount").arg(&disk).status().expect("umount runs").success());
}
