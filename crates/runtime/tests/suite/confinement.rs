//! What a process may do: capabilities, identity, privileges, limits, descriptors, paths that are hidden.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oci::runtime_spec::{Capabilities, Rlimit, User};
use runtime::Exit;

use crate::fixture::{Image, chain};

/// One line of `/proc/self/status`.
pub(crate) fn status(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{key} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The default set of Docker.
const DEFAULT_MASK: &str = "00000000a80425fb";

#[test]
fn capabilities_are_exactly_those_asked_for() {
    let mut image = Image::new();
    let text = image.sh("cat /proc/self/status");
    for key in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status(&text, key), DEFAULT_MASK, "{key}");
    }
    for key in ["CapInh", "CapAmb"] {
        assert_eq!(status(&text, key), "0000000000000000", "{key}");
    }
    image.process().capabilities = None;
    let text = image.sh("cat /proc/self/status");
    assert_eq!(status(&text, "CapBnd"), "0000000000000000");
    assert_eq!(status(&text, "CapEff"), "0000000000000000");
}

#[test]
fn ambient_capabilities_reach_an_ordinary_user() {
    let mut image = Image::new();
    let sets = vec!["CAP_NET_RAW".to_owned()];
    image.process().capabilities = Some(Capabilities {
        bounding: sets.clone(),
        effective: sets.clone(),
        permitted: sets.clone(),
        inheritable: sets.clone(),
        ambient: sets,
    });
    image.process().user.uid = 1000;
    let text = image.sh("cat /proc/self/status");
    for key in ["CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"] {
        assert_eq!(status(&text, key), "0000000000002000", "{key}");
    }
}

#[test]
fn an_ordinary_user_has_no_capabilities() {
    let mut image = Image::new();
    image.process().user.uid = 1000;
    let text = image.sh("cat /proc/self/status");
    assert_eq!(status(&text, "CapEff"), "0000000000000000");
    assert_eq!(status(&text, "CapPrm"), "0000000000000000");
    assert_eq!(status(&text, "CapBnd"), DEFAULT_MASK);
}

#[test]
fn identity_and_groups_are_exactly_those_asked_for() {
    let mut image = Image::new();
    let text = image.sh("cat /proc/self/status");
    assert_eq!(status(&text, "Groups"), "");
    image.process().user = User { uid: 1000, gid: 1001, umask: Some(0o077), additional_gids: vec![5, 2000] };
    let text = image.sh("cat /proc/self/status");
    assert_eq!(status(&text, "Uid"), "1000 1000 1000 1000");
    assert_eq!(status(&text, "Gid"), "1001 1001 1001 1001");
    assert_eq!(status(&text, "Groups"), "5 2000");
    assert_eq!(status(&text, "Umask"), "0077");
}

#[test]
fn the_default_umask_is_022() {
    assert_eq!(status(&Image::new().sh("cat /proc/self/status"), "Umask"), "0022");
}

#[test]
fn setuid_programs_raise_privileges_only_without_no_new_privileges() {
    let mut image = Image::new();
    // busybox's ping needs a raw socket, and keeps the setuid bit's effect for it.
    fs::set_permissions(image.path("bin/busybox"), Permissions::from_mode(0o4755)).unwrap();
    image.process().user.uid = 1000;
    image.args(&["/bin/ping", "-c", "1", "-W", "1", "127.0.0.1"]);
    image.process().no_new_privileges = true;
    assert_eq!(image.run().exit, Exit::Code(1));
    image.process().no_new_privileges = false;
    let output = image.run();
    assert_eq!(output.exit, Exit::Code(0), "{output:?}");
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privileges() {
    for no_new_privileges in [false, true] {
        let mut image = Image::new();
        image.process().no_new_privileges = no_new_privileges;
        let text = image.sh("cat /proc/self/status");
        assert_eq!(status(&text, "Seccomp"), "2");
        assert_eq!(status(&text, "Seccomp_filters"), "1");
    }
    let mut image = Image::new();
    image.linux().seccomp = None;
    assert_eq!(status(&image.sh("cat /proc/self/status"), "Seccomp"), "0");
}

#[test]
fn only_standard_descriptors_are_open() {
    // A descriptor of ours that would survive execve, as other code in our process might leave.
    let leaked = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let mut sleeper = Image::new();
    let mut sleeper = sleeper.sleeper();
    let directory = format!("/proc/{}/fd", sleeper.container().pid());
    assert_eq!(fs::read_dir(directory).unwrap().count(), 3);
    let mut image = Image::new();
    let output = image.args(&["/bin/ls", "/proc/self/fd"]).run();
    // The fourth is the directory that `ls` reads.
    assert_eq!(output.stdout, "0\n1\n2\n3\n");
}

#[test]
fn the_working_directory_cannot_be_a_descriptor_of_the_host() {
    let directory = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&directory, rustix::io::FdFlags::empty()).unwrap();
    let is_root = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new("/"));
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_root);
    let numbers: Vec<_> = open.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!numbers.is_empty());
    let mut image = Image::new();
    for number in numbers {
        image.process().cwd = format!("/proc/self/fd/{number}");
        assert!(image.try_create(runtime::Stdio::Null).is_err(), "{number}");
    }
}

#[test]
fn the_working_directory_must_be_below_the_root() {
    let mut image = Image::new();
    image.linux().namespaces.retain(|namespace| namespace.kind != oci::runtime_spec::NamespaceKind::Pid);
    let cwd = format!("/proc/{}/root", std::process::id());
    image.process().cwd = cwd.clone();
    let message = chain(&image.refused());
    assert_eq!(message, format!("working directory `{cwd}` is outside the container"));
}

#[test]
fn the_working_directory_is_made_only_when_asked() {
    let mut image = Image::new();
    image.process().cwd = "/a/b/c".into();
    let message = chain(&image.refused());
    assert!(
        message.starts_with("chdir to cwd (\"/a/b/c\") set in config.json failed: no such file"),
        "{message}"
    );
    image.ensure_cwd = true;
    assert_eq!(image.sh("pwd"), "/a/b/c\n");
}

#[test]
fn a_private_working_directory_is_entered_before_rights_go() {
    let mut image = Image::new();
    fs::create_dir(image.path("home")).unwrap();
    fs::set_permissions(image.path("home"), Permissions::from_mode(0o700)).unwrap();
    image.process().cwd = "/home".into();
    image.process().user.uid = 1000;
    assert_eq!(image.sh("readlink /proc/self/cwd"), "/home\n");
}

#[test]
fn masked_paths_show_nothing() {
    let mut image = Image::new();
    fs::write(image.path("secret"), "secret").unwrap();
    fs::create_dir(image.path("secrets")).unwrap();
    fs::write(image.path("secrets/one"), "secret").unwrap();
    fs::create_dir(image.path("more")).unwrap();
    fs::write(image.path("more/one"), "secret").unwrap();
    image.linux().masked_paths.extend(["/secret", "/secrets", "/more", "/absent"].map(String::from));
    let script = "cat /secret; ls -A /secrets /more; stat -c %t:%T:%F /secret; ! touch /secrets/x; ! touch /more/x; \
                  ls /absent || cat /proc/kcore /proc/keys";
    let output = image.args(&["/bin/sh", "-c", script]).run();
    assert_eq!(output.stdout, "/more:\n\n/secrets:\n1:3:character special file\n");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{}", output.stderr);
}

#[test]
fn read_only_paths_cannot_be_written() {
    let mut image = Image::new();
    fs::create_dir(image.path("fixed")).unwrap();
    image.linux().readonly_paths.push("/fixed".into());
    let script = "touch /fixed/x; echo 1 > /proc/sys/kernel/panic; true";
    let output = image.args(&["/bin/sh", "-c", script]).run();
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{}", output.stderr);
}

#[test]
fn limits_are_set_and_impossible_ones_fail_unless_they_are_defaults() {
    let mut image = Image::new();
    let limit = |kind: &str, soft, hard| Rlimit { kind: kind.into(), soft, hard };
    image.process().rlimits = vec![limit("RLIMIT_NOFILE", 100, 200), limit("RLIMIT_CORE", 0, 0)];
    assert_eq!(image.sh("ulimit -n; ulimit -Hn; ulimit -c"), "100\n200\n0\n");
    // More than fs.nr_open is refused to everyone.
    image.process().rlimits = vec![limit("RLIMIT_NOFILE", 1 << 40, 1 << 40)];
    let message = chain(&image.refused());
    assert!(message.contains("set resource limit 7"), "{message}");
    image.default_rlimits = vec!["RLIMIT_NOFILE".into()];
    let output = image.args(&["/bin/true"]).run();
    assert_eq!(output.exit, Exit::Code(0));
    assert_eq!(output.warnings.len(), 1, "{:?}", output.warnings);
}

#[test]
fn the_oom_score_is_set_and_lowering_it_is_not_fatal() {
    let mut image = Image::new();
    image.process().oom_score_adj = Some(500);
    assert_eq!(image.sh("cat /proc/self/oom_score_adj"), "500\n");
    image.process().oom_score_adj = Some(-900);
    let output = image.args(&["/bin/cat", "/proc/self/oom_score_adj"]).run();
    assert!(output.stdout == "-900\n" || output.warnings.len() == 1, "{output:?}");
}

#[test]
fn the_session_keyring_is_new() {
    let mut image = Image::new();
    image.linux().masked_paths.clear();
    let host = fs::read_to_string("/proc/keys").unwrap();
    let inside = image.sh("cat /proc/keys");
    // Others of the same user are listed too; ours was not there before.
    let mut sessions = inside.lines().filter(|line| line.contains(" _ses"));
    let is_new = |line: &str| !host.contains(line.split(' ').next().unwrap());
    assert!(sessions.any(is_new), "{inside}");
}

#[test]
fn signals_are_at_their_defaults() {
    // Rust ignores SIGPIPE, and a shim blocks the signals that it reads from a descriptor.
    let text = Image::new().sh("cat /proc/1/status");
    assert_eq!(status(&text, "SigBlk"), "0000000000000000");
    let text = Image::new().args(&["/bin/cat", "/proc/self/status"]).run().stdout;
    assert_eq!(status(&text, "SigIgn"), "0000000000000000");
}
