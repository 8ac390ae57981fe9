//! Volumes and bind mounts.

use tests::host::{Host, path_text};

#[test]
fn a_named_volume_outlives_its_containers() {
    let host = Host::start();
    host.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "echo kept > /data/file",
    ]);
    assert_eq!(
        host.ok(&["run", "--rm", "--network", "none", "-v", "data:/data:ro", "busybox", "cat", "/data/file"]),
        "kept"
    );
    assert!(host.ok(&["volume", "ls", "-q"]).lines().any(|name| name == "data"));
    host.ok(&["create", "--name", "holder", "--network", "none", "-v", "data:/data", "busybox", "true"]);
    host.fails(&["volume", "rm", "data"], 1, "in use");
    host.ok(&["rm", "holder"]);
    assert_eq!(host.ok(&["volume", "rm", "data"]), "data");
    host.fails(&["volume", "inspect", "data"], 1, "data");
}

#[test]
fn a_new_named_volume_begins_with_the_image_s_files() {
    let host = Host::start();
    let text = host.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "web:/var/www",
        "busybox",
        "cat",
        "/var/www/index.html",
    ]);
    assert!(text.contains("It works"), "{text}");
    host.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "web:/var/www",
        "busybox",
        "mv",
        "/var/www/index.html",
        "/var/www/mine",
    ]);
    assert_eq!(
        host.ok(&["run", "--rm", "--network", "none", "-v", "web:/var/www", "busybox", "ls", "/var/www"]),
        "mine",
        "only an empty volume is filled"
    );
}

#[test]
fn bind_mounts_are_read_write_or_read_only_as_asked() {
    let host = Host::start();
    let folder = host.path().join("shared");
    std::fs::create_dir(&folder).expect("a folder");
    let bind = format!("{}:/mnt", path_text(&folder));
    host.ok(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", "echo x > /mnt/file"]);
    assert_eq!(std::fs::read_to_string(folder.join("file")).expect("it was written"), "x\n");
    let read_only = format!("{bind}:ro");
    assert_eq!(
        host.run(&["run", "--rm", "--network", "none", "-v", &read_only, "busybox", "touch", "/mnt/other"])
            .code,
        1
    );
    let mount = format!("type=bind,source={},target=/mnt,readonly", path_text(&folder));
    assert_eq!(
        host.run(&["run", "--rm", "--network", "none", "--mount", &mount, "busybox", "touch", "/mnt/other"])
            .code,
        1
    );
    host.fails(
        &[
            "run",
            "--rm",
            "--network",
            "none",
            "--mount",
            "type=bind,source=/not/there,target=/mnt",
            "busybox",
            "true",
        ],
        125,
        "/not/there",
    );
}

#[test]
fn anonymous_volumes_go_with_the_container_when_asked() {
    let host = Host::start();
    host.ok(&["run", "--rm", "--network", "none", "-v", "/data", "busybox", "touch", "/data/x"]);
    host.until("its volume is gone", || host.ok(&["volume", "ls", "-q"]).is_empty());
    host.ok(&["run", "--name", "keeps", "--network", "none", "-v", "/data", "busybox", "touch", "/data/x"]);
    host.ok(&["rm", "keeps"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 1);
    host.ok(&["volume", "prune", "-f"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn a_volume_with_options_is_mounted_exactly_as_long_as_it_is_used_also_when_the_daemon_dies() {
    let mut host = Host::start();
    let is_mounted = |path: &str| {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
        table.lines().any(|line| line.split(' ').nth(4) == Some(path))
    };
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m"];
    host.ok(&[&["volume", "create", "--label", "a=b"], &options[..], &["ram"]].concat());
    host.ok(&[&["volume", "create"], &options[..], &["other"]].concat());
    let path = host.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "ram"]);
    let other = host.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "other"]);
    let run = |name: &str, volume: &str| {
        host.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "none",
            "-v",
            volume,
            "busybox",
            "sleep",
            "1000",
        ]);
    };
    run("stays", "ram:/x");
    run("ends", "other:/x");
    host.ok(&["exec", "stays", "sh", "-c", "echo kept > /x/file"]);
    let victim: u32 = host.ok(&["inspect", "-f", "{{.State.Pid}}", "ends"]).parse().expect("a pid");
    host.kill_daemon();
    tests::host::signal(victim, rustix::process::Signal::KILL);
    host.start_daemon();
    host.until("the volume of the one that ended is unmounted", || !is_mounted(&other));
    assert!(is_mounted(&path), "the other runs on");
    assert_eq!(
        host.ok(&["run", "--rm", "--network", "none", "-v", "ram:/y", "busybox", "cat", "/y/file"]),
        "kept"
    );
    assert!(is_mounted(&path));
    host.ok(&["rm", "-f", "stays", "ends"]);
    host.until("it is unmounted", || !is_mounted(&path));
    host.ok(&["volume", "rm", "ram", "other"]);
}

#[test]
fn a_list_of_volumes_tells_sizes_when_it_is_asked_to() {
    let host = Host::start();
    let write = ["dd", "if=/dev/zero", "of=/data/file", "bs=1024", "count=1024"];
    let run = ["run", "--rm", "--network", "none", "-v", "data:/data", "busybox"];
    host.ok(&[&run[..], &write].concat());
    let size =
        |flags: &[&str]| host.ok(&[&["volume", "ls", "--format", "{{.Name}} {{.Size}}"], flags].concat());
    assert_eq!(size(&[]), "data N/A");
    assert!(size(&["--size"]).starts_with("data 1.0"), "{}", size(&["--size"]));
    assert!(host.ok(&["volume", "ls", "-s"]).starts_with("DRIVER    VOLUME NAME   SIZE\n"));
    host.ok(&["volume", "rm", "data"]);
}
