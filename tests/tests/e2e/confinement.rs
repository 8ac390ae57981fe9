//! What a container's process may and may not do.

use tests::host::Host;

fn status(host: &Host, flags: &[&str]) -> String {
    let mut all = vec!["run", "--rm", "--network", "none"];
    all.extend(flags);
    all.extend(["busybox", "cat", "/proc/self/status"]);
    host.ok(&all)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
    line.trim_start_matches(':').trim()
}

/// Docker's fourteen default capabilities.
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

#[test]
fn capabilities_seccomp_and_privileges_are_docker_s() {
    let host = Host::start();
    let plain = status(&host, &[]);
    assert_eq!(field(&plain, "CapEff"), DEFAULT_CAPABILITIES);
    assert_eq!(field(&plain, "CapBnd"), DEFAULT_CAPABILITIES);
    assert_eq!(field(&plain, "CapInh"), "0000000000000000");
    assert_eq!(field(&plain, "CapAmb"), "0000000000000000");
    assert_eq!(field(&plain, "Seccomp"), "2");
    assert_eq!(field(&plain, "NoNewPrivs"), "0");
    let bare =
        status(&host, &["--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges"]);
    assert_eq!(field(&bare, "CapEff"), "0000000000000001");
    assert_eq!(field(&bare, "NoNewPrivs"), "1");
    let open = status(&host, &["--security-opt", "seccomp=unconfined"]);
    assert_eq!(field(&open, "Seccomp"), "0");
    let other = status(&host, &["-u", "33"]);
    assert_eq!(field(&other, "CapEff"), "0000000000000000");
    let privileged = status(&host, &["--privileged"]);
    assert_ne!(field(&privileged, "CapEff"), DEFAULT_CAPABILITIES);
    assert_eq!(field(&privileged, "Seccomp"), "0");
}

#[test]
fn exec_is_confined_as_init_is() {
    let host = Host::start();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "--cap-drop",
        "MKNOD",
        "--security-opt",
        "no-new-privileges",
        "busybox",
        "sleep",
        "1000",
    ]);
    let init = host.ok(&["exec", "box", "cat", "/proc/1/status"]);
    let exec = host.ok(&["exec", "box", "cat", "/proc/self/status"]);
    for name in
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups", "Uid", "Gid"]
    {
        assert_eq!(field(&exec, name), field(&init, name), "{name}");
    }
    let groups = |pid: &str| host.ok(&["exec", "box", "cat", &format!("/proc/{pid}/cgroup")]);
    assert_eq!(groups("self"), groups("1"));
}

#[test]
fn only_the_standard_descriptors_are_open() {
    let host = Host::start();
    // `ls` itself holds the directory open as the fourth one.
    assert_eq!(
        host.ok(&["run", "--rm", "--network", "none", "busybox", "ls", "/proc/self/fd"]),
        "0\n1\n2\n3"
    );
    host.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "box", "ls", "/proc/self/fd"]), "0\n1\n2\n3");
    assert_eq!(host.ok(&["exec", "box", "ls", "/proc/1/fd"]), "0\n1\n2");
}

#[test]
fn the_kernel_s_dangerous_files_are_hidden_or_read_only() {
    let host = Host::start();
    let script = "cat /proc/kcore 2>/dev/null | wc -c; ls /sys/firmware 2>/dev/null | wc -l; \
        echo 1 2>/dev/null > /proc/sys/kernel/hostname || echo refused; \
        echo b 2>/dev/null > /proc/sysrq-trigger || echo refused; \
        mount -t tmpfs none /mnt 2>/dev/null || echo refused; \
        mknod /tmp/sda b 8 0 && (head -c1 /tmp/sda 2>/dev/null || echo refused)";
    let text = host.ok(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", script]);
    assert_eq!(text, "0\n0\nrefused\nrefused\nrefused\nrefused");
}

#[test]
fn every_namespace_is_the_container_s_own() {
    let host = Host::start();
    let script = "for n in pid mnt uts ipc net cgroup; do readlink /proc/self/ns/$n; done";
    let inside = host.ok(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", script]);
    for name in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let outside =
            std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string();
        assert!(!inside.contains(&outside), "{name} is shared with the host");
    }
    assert_eq!(
        host.ok(&[
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "echo $$; ps > /list; wc -l < /list"
        ]),
        "1\n3"
    );
}

#[test]
fn the_host_sees_no_mount_of_a_container() {
    let host = Host::start();
    host.ok(&["run", "-d", "--network", "none", "busybox", "sleep", "1000"]);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    assert!(!mounts.contains(tests::host::path_text(host.path())), "{mounts}");
}

#[test]
fn sockets_and_state_belong_to_root_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = Host::start();
    host.ok(&["run", "-d", "--network", "none", "busybox", "sleep", "1000"]);
    for folder in [host.root(), host.state()] {
        let mode = std::fs::metadata(&folder).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", folder.display());
    }
    let abstract_sockets = std::fs::read_to_string("/proc/net/unix").expect("the sockets");
    assert!(
        !abstract_sockets.contains("@corten"),
        "an abstract socket is reachable from host-network containers"
    );
}
