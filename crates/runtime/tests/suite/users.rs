//! User and time namespaces, and mounts whose owners are mapped.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use oci::mount::Mount;
use oci::runtime_spec::{Device, IdMapping, Namespace, NamespaceKind, Rlimit, TimeOffset};
use runtime::{Exec, Exit, Rootfs};

use crate::fixture::{Image, TERMINAL, chain, eventually, read, terminal, until_readable};

const FIRST_USER: u32 = 100_000;
const FIRST_GROUP: u32 = 200_000;

/// An image in a user namespace of its own, whose files belong to its root.
fn mapped() -> Image {
    let mut image = Image::new();
    ask_for_users(&mut image);
    image.give_files(FIRST_USER, FIRST_GROUP);
    image
}

fn ask_for_users(image: &mut Image) {
    let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 65536 }];
    let linux = image.linux();
    linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
    linux.uid_mappings = map(FIRST_USER);
    linux.gid_mappings = map(FIRST_GROUP);
}

fn namespace(pid: u32, name: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string()
}

#[test]
fn root_inside_is_somebody_else_on_the_host() {
    let mut image = mapped();
    assert_eq!(
        image
            .sh("id -u; id -g; cat /proc/self/uid_map; touch /tmp/a; stat -c %u:%g /tmp/a /")
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["0", "0", "0", "100000", "65536", "0:0", "0:0"]
    );
    let mut running = image.sleeper();
    let status = fs::read_to_string(format!("/proc/{}/status", running.container().pid())).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    assert!(status.contains("Gid:\t200000\t200000\t200000\t200000"), "{status}");
    assert!(status.contains("Groups:\t \n"), "no group of the host is left: {status}");
}

#[test]
fn the_namespaces_belong_to_the_user_namespace() {
    // Each of these needs a capability in the namespace's owner.
    let mut image = mapped();
    let capabilities = image.process().capabilities.as_mut().unwrap();
    capabilities.bounding.extend(["CAP_SYS_ADMIN".to_owned(), "CAP_NET_ADMIN".to_owned()]);
    capabilities.effective = capabilities.bounding.clone();
    capabilities.permitted = capabilities.bounding.clone();
    image.linux().seccomp = None;
    let output = image.sh("ip -o link show lo | grep -q UP && ip link set lo down && ip link set lo up && hostname other && hostname \
         && mount -t tmpfs none /tmp && cut -d' ' -f1 /proc/1/stat && ip -o link show lo");
    assert!(output.starts_with("other\n1\n"), "{output}");
    assert!(output.contains("UP"), "{output}");
    let mut running = image.sleeper();
    let pid = running.container().pid();
    for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        assert_ne!(namespace(pid, name), namespace(std::process::id(), name), "{name}");
    }
}

#[test]
fn devices_of_the_host_are_shown_and_work() {
    let mut image = mapped();
    let output = image.sh("echo a > /dev/null && hexdump -n 1 /dev/zero | head -1 && stat -c %t:%T /dev/full && readlink /dev/fd \
         && ! mknod /tmp/n c 1 3 2>/dev/null");
    assert_eq!(
        output,
        "0000000 0000                                   \n1:7\n/proc/self/fd\n".replace(
            "                                   ",
            output.lines().next().unwrap().trim_start_matches("0000000 0000")
        )
    );
    let fifo = Device { kind: "p".into(), path: "/dev/fifo".into(), ..Device::default() };
    image.linux().devices = vec![fifo];
    image.sh("test -p /dev/fifo");
    let other =
        Device { kind: "c".into(), path: "/dev/zero".into(), major: 1, minor: 3, ..Device::default() };
    image.linux().devices = vec![other];
    let message = chain(&image.refused());
    assert!(message.contains("show the host's device `/dev/zero`"), "{message}");
}

#[test]
fn masks_and_sysctls_work_in_a_user_namespace() {
    let mut image = mapped();
    image.linux().sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "77".into());
    let output = image.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start; stat -c %t:%T /proc/keys; \
         ls /proc/acpi 2>/dev/null; cat /proc/self/mountinfo");
    assert!(output.starts_with("77\n1:3\n"), "{output}");
    assert!(output.lines().any(|line| line.contains(" /proc/sys ") && line.contains("ro,")), "{output}");
}

#[test]
fn later_processes_are_in_the_user_namespace_too() {
    let mut image = mapped();
    let mut running = image.sleeper();
    let own = namespace(running.container().pid(), "user");
    assert_eq!(
        running.sh("readlink /proc/self/ns/user; id -u; touch /tmp/b; stat -c %u /tmp/b"),
        format!("{own}\n0\n0\n")
    );
    let mut other = running.process(&["/bin/sh", "-c", "id -u; id -g; id -G"]);
    (other.user.uid, other.user.gid, other.user.additional_gids) = (7, 8, vec![8, 9]);
    assert_eq!(running.try_exec(&other, None).unwrap().stdout, "7\n8\n8 9\n");
    // A shim that was started again knows of it.
    let container = running.container.take().unwrap();
    let state: runtime::State =
        serde_json::from_slice(&serde_json::to_vec(&container.state()).unwrap()).unwrap();
    running.container = Some(runtime::Container::attach(state, container.into_descriptors()).unwrap());
    assert_eq!(running.sh("readlink /proc/self/ns/user").trim(), own);
}

#[test]
fn limits_are_set_by_the_parent() {
    let mut image = mapped();
    let limit = |kind: &str, value| Rlimit { kind: kind.into(), soft: value, hard: value };
    image.process().rlimits = vec![limit("RLIMIT_NOFILE", 777), limit("RLIMIT_CORE", 7)];
    image.process().oom_score_adj = Some(17);
    let script = "grep 'open files' /proc/self/limits; grep 'core file' /proc/self/limits; cat /proc/self/oom_score_adj";
    let check = |output: &str| {
        let words: Vec<_> = output.split_whitespace().collect();
        assert_eq!(words.iter().filter(|word| **word == "777").count(), 2, "{output}");
        assert_eq!(words.iter().filter(|word| **word == "7").count(), 2, "{output}");
        assert_eq!(words.last(), Some(&"17"), "{output}");
    };
    check(&image.sh(script));
    check(&image.sleeper().sh(script));
    image.process().rlimits = vec![limit("RLIMIT_NOFILE", u64::MAX)];
    let message = chain(&image.refused());
    assert!(message.contains("set the resource limits"), "{message}");
    image.default_rlimits = vec!["RLIMIT_NOFILE".into()];
    let output = image.args(&["/bin/true"]).run();
    let warnings: Vec<_> = output.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("set resource limit 7")), "{warnings:?}");
}

#[test]
fn a_terminal_belongs_to_root_inside() {
    let mut image = mapped();
    image.args(&["/bin/sh", "-c", "tty; stat -c %u:%g:%a $(tty); echo x > $(tty)"]);
    image.process().terminal = true;
    let created = image.try_create(TERMINAL).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let mut master = terminal(created.terminal);
    let mut container = created.container;
    container.start().unwrap();
    assert_eq!(read(&mut master), "/dev/pts/0\r\n0:5:620\r\nx\r\n");
    until_readable(container.pidfd());
    container.destroy().unwrap();

    let mut running = image.sleeper();
    let mut process = running.process(&["/bin/sh", "-c", "tty; stat -c %u:%g $(tty); echo y > $(tty)"]);
    process.user.uid = 7;
    let request = Exec {
        process: &process,
        stdio: TERMINAL,
        default_rlimits: &[],
        privileged: false,
        keep_keyring: false,
    };
    let child = running.container().exec(request).unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(read(&mut terminal(child.terminal)), "/dev/pts/0\r\n7:5\r\ny\r\n");
    linux::pidfd::wait(std::os::fd::AsFd::as_fd(&child.pidfd)).unwrap();
}

#[test]
fn a_user_namespace_can_be_joined_by_its_path() {
    let mut first = mapped();
    let mut first = first.sleeper();
    let pid = first.container().pid();
    let mut second = mapped();
    for namespace in &mut second.linux().namespaces {
        let name = match namespace.kind {
            NamespaceKind::User => "user",
            NamespaceKind::Network => "net",
            NamespaceKind::Pid => "pid",
            _ => continue,
        };
        namespace.path = Some(format!("/proc/{pid}/ns/{name}").into());
    }
    let joined = "readlink /proc/self/ns/user; readlink /proc/self/ns/net; readlink /proc/self/ns/pid; id -u";
    let expected = ["user", "net", "pid"].map(|name| namespace(pid, name) + "\n").concat() + "0\n";
    assert_eq!(second.sh(joined), expected, "with its mappings given");
    second.linux().uid_mappings.clear();
    second.linux().gid_mappings.clear();
    assert_eq!(second.sh(joined), expected, "with its mappings looked up");
    ask_for_users(&mut second);
    second.linux().namespaces.pop();
    second.linux().uid_mappings[0].size = 7;
    let message = chain(&second.refused());
    assert!(message.contains("has other mappings than the specification"), "{message}");
}

#[test]
fn a_program_that_is_not_there_and_a_map_that_is_refused_leave_nothing() {
    let mut image = mapped();
    image.args(&["/bin/no"]);
    assert!(image.refused().to_string().contains("no such file"));
    image.linux().uid_mappings[0].container_id = 1;
    let message = chain(&image.refused());
    assert!(message.contains("become root of the user namespace"), "nobody is root: {message}");
    let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    assert_eq!(children.trim(), "", "no process is left");
}

#[test]
fn a_child_that_is_killed_anywhere_is_told_and_leaves_nothing() {
    // The cgroup's limit of tasks ends it at the fork into the second process.
    let mut image = mapped();
    image.linux().resources.as_mut().unwrap().pids = Some(oci::runtime_spec::Pids { limit: 1 });
    let message = chain(&image.refused());
    assert!(message.contains("go on in the new namespaces"), "{message}");
}

#[test]
fn clocks_are_set_off_in_a_time_namespace() {
    let mut image = Image::new();
    image.linux().namespaces.push(Namespace { kind: NamespaceKind::Time, path: None });
    let day = TimeOffset { secs: 86_400 * 1000, nanosecs: 5 };
    image.linux().time_offsets = [("boottime".to_owned(), day), ("monotonic".to_owned(), day)].into();
    let uptime = |text: &str| text.split('.').next().unwrap().trim().parse::<i64>().unwrap();
    assert!(uptime(&image.sh("cut -d' ' -f1 /proc/uptime")) > 86_400 * 1000);
    let mut running = image.sleeper();
    assert_ne!(namespace(running.container().pid(), "time"), namespace(std::process::id(), "time"));
    assert!(uptime(&running.sh("cut -d' ' -f1 /proc/uptime")) > 86_400 * 1000, "and later processes");
    assert!(uptime(&fs::read_to_string("/proc/uptime").unwrap()) < 86_400 * 1000, "ours not");
}

#[test]
fn time_and_user_namespaces_go_together() {
    let mut image = mapped();
    image.linux().namespaces.push(Namespace { kind: NamespaceKind::Time, path: None });
    let offset = TimeOffset { secs: 86_400 * 1000, nanosecs: 0 };
    image.linux().time_offsets = [("boottime".to_owned(), offset)].into();
    let output = image.sh("id -u; cut -d. -f1 /proc/uptime");
    assert!(output.starts_with("0\n864"), "{output}");
}

#[test]
fn files_of_a_bind_mount_are_shown_as_others() {
    let mut image = mapped();
    let shared = image.host_directory("shared");
    fs::write(shared.join("roots"), "").unwrap();
    fs::write(shared.join("users"), "").unwrap();
    chown(shared.join("users"), Some(33), Some(34)).unwrap();
    image.mount("bind", &shared, "/shared", &["bind", "idmap"]);
    image.mount("bind", &shared, "/plain", &["bind"]);
    let output = image.sh("stat -c %u:%g /shared/roots /shared/users /plain/users; touch /shared/new");
    assert_eq!(output, "0:0\n33:34\n65534:65534\n");
    let new = fs::metadata(shared.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (0, 0), "written as the host's root");

    // With mappings of its own, without a user namespace.
    let mut image = Image::new();
    image.mount("bind", &shared, "/shared", &["rbind", "ridmap"]);
    let message = chain(&image.refused());
    assert!(message.contains("the container has none"), "{message}");
    let mount = image.spec.mounts.last_mut().unwrap();
    mount.uid_mappings = vec![IdMapping { container_id: 0, host_id: 500, size: 100 }];
    mount.gid_mappings = vec![IdMapping { container_id: 0, host_id: 600, size: 100 }];
    assert_eq!(image.sh("stat -c %u:%g /shared/users"), "533:634\n");
}

#[test]
fn a_root_of_mapped_layers_needs_no_other_files() {
    let mut image = Image::new();
    ask_for_users(&mut image);
    image.root_options = vec!["uidmap=0:100000:65536".into(), "gidmap=0:200000:65536".into()];
    if !Rootfs::maps_owners() {
        assert!(image.try_rootfs().is_err());
        return;
    }
    for directory in ["upper", "work"] {
        chown(image.host_directory(directory), Some(FIRST_USER), Some(FIRST_GROUP)).unwrap();
    }
    let output = image.sh("stat -c %u:%g /bin/busybox; cp /etc/is-a-container /etc/copy; chmod 600 /bin/busybox; stat -c %u:%g:%a /bin/busybox");
    assert_eq!(output, "0:0\n0:0:600\n");
    let upper = image.host_directory("upper");
    let copied = fs::metadata(upper.join("bin/busybox")).unwrap();
    assert_eq!((copied.uid(), copied.gid()), (FIRST_USER, FIRST_GROUP));
    let layer = fs::metadata(image.path("bin/busybox")).unwrap();
    assert_eq!((layer.uid(), layer.mode() & 0o777), (0, 0o755), "the layer itself is as it was");
}

#[test]
fn mounts_with_half_or_broken_mappings_are_refused() {
    let bind = |options: &[&str]| Mount {
        kind: "bind".into(),
        source: "/etc".into(),
        target: String::new(),
        options: options.iter().map(ToString::to_string).collect(),
    };
    for (options, word) in [
        (&["uidmap=0:1:1"][..], "need each other"),
        (&["uidmap=0:1", "gidmap=0:1:1"], "`0:1`"),
        (&["uidmap=0:1:1:1", "gidmap=0:1:1"], "`0:1:1:1`"),
        (&["uidmap=-1:1:1", "gidmap=0:1:1"], "`-1:1:1`"),
    ] {
        let message = Rootfs::mount(&[bind(options)]).expect_err("it must be refused").to_string();
        assert!(message.contains(word), "{options:?}: {message}");
    }
    let mapped = bind(&["ro", "rbind", "uidmap=0:7:100,100:1000:5", "gidmap=0:8:100"]);
    let root = Rootfs::mount(&[mapped]).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let found = rustix::fs::fstat(root.as_fd()).unwrap();
    assert_eq!((found.st_uid, found.st_gid), (7, 8));
    assert!(Path::new("/etc").metadata().unwrap().uid() == 0);
}

#[test]
fn many_at_once_are_mapped() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut image = mapped();
                for _ in 0..4 {
                    assert_eq!(image.sh("id -u"), "0\n");
                }
                assert_eq!(image.args(&["/bin/false"]).run().exit, Exit::Code(1));
            });
        }
    });
    eventually("no holder of a namespace is left", || {
        fs::read_to_string("/proc/thread-self/children").unwrap_or_default().trim().is_empty()
    });
}
