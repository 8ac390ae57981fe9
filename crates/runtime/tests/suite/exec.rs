//! Processes that enter a running container.

use std::fs;

use oci::runtime_spec::{Capabilities, NamespaceKind, User};
use runtime::{Error, Exec, Exit, Stdio};

use crate::confinement::status;
use crate::fixture::{Image, until_readable};

const KEYS: [&str; 12] = [
    "Uid",
    "Gid",
    "Groups",
    "Umask",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
];

#[test]
fn exec_is_confined_exactly_like_the_first_process() {
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            let mut image = Image::new();
            image.process().no_new_privileges = no_new_privileges;
            image.process().user = User { uid, gid: 7, umask: Some(0o027), additional_gids: vec![11, 12] };
            let mut running = image.sleeper();
            let first = fs::read_to_string(format!("/proc/{}/status", running.container().pid())).unwrap();
            let later = running.sh("cat /proc/self/status");
            for key in KEYS {
                assert_eq!(
                    status(&first, key),
                    status(&later, key),
                    "{key}, uid {uid}, nnp {no_new_privileges}"
                );
            }
            assert_eq!(status(&later, "Seccomp"), "2");
        }
    }
}

#[test]
fn exec_joins_every_namespace_and_cgroup() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let pid = running.container().pid();
    let namespaces = running
        .sh("cd /proc/self/ns && for n in cgroup ipc mnt net pid uts; do echo $n $(readlink $n); done");
    for line in namespaces.lines() {
        let (name, inside) = line.split_once(' ').unwrap();
        let first = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_eq!(inside, first.to_str().unwrap());
    }
    assert_eq!(running.sh("readlink /proc/self/root; hostname"), "/\ninside\n");
    let process = running.process(&["/bin/sleep", "1000"]);
    let request = Exec {
        process: &process,
        stdio: Stdio::Null,
        default_rlimits: &[],
        privileged: false,
        keep_keyring: false,
    };
    let later = running.container().exec(request).unwrap();
    let cgroups = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups(later.pid), cgroups(pid));
    assert!(running.container().processes().unwrap().contains(&later.pid));
    later.kill(9).unwrap();
    until_readable(&later.pidfd);
    assert_eq!(later.try_wait().unwrap(), Some(Exit::Signal(9)));
    assert!(matches!(later.kill(9), Err(Error::NotRunning { .. })));
}

#[test]
fn exec_works_where_namespaces_are_the_hosts() {
    let mut image = Image::new();
    let kept = [NamespaceKind::Mount, NamespaceKind::Uts];
    image.linux().namespaces.retain(|namespace| kept.contains(&namespace.kind));
    image.process().args = vec!["/bin/sleep".into(), "1000".into()];
    let mut running = image.start();
    assert_eq!(running.sh("hostname; test -d /proc/1"), "inside\n");
    running.container().kill_all(9).unwrap();
    assert_eq!(running.wait(), Exit::Signal(9));
}

#[test]
fn exec_opens_only_standard_descriptors() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let process = running.process(&["/bin/ls", "/proc/self/fd"]);
    assert_eq!(running.try_exec(&process, None).unwrap().stdout, "0\n1\n2\n3\n");
}

#[test]
fn exec_passes_input_output_and_exit_code() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let process = running.process(&["/bin/sh", "-c", "cat; echo err >&2; exit 7"]);
    let output = running.try_exec(&process, Some(b"input")).unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("input", "err\n"));
    assert_eq!(output.exit, Exit::Code(7));
}

#[test]
fn exec_sees_what_the_container_mounted() {
    let mut image = Image::new();
    let volume = image.host_directory("volume");
    fs::write(volume.join("file"), "from the host").unwrap();
    image.mount("bind", &volume, "/volume", &["rbind", "ro"]);
    assert_eq!(image.sleeper().sh("cat /volume/file"), "from the host");
}

#[test]
fn exec_can_have_its_own_rights() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let mut process = running.process(&["/bin/cat", "/proc/self/status"]);
    process.capabilities = Some(Capabilities::default());
    process.user.uid = 5;
    let output = running.try_exec(&process, None).unwrap().stdout;
    assert_eq!(status(&output, "CapBnd"), "0000000000000000");
    assert_eq!(status(&output, "Uid"), "5 5 5 5");
}

#[test]
fn a_privileged_exec_has_no_filter() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let process = running.process(&["/bin/grep", "-q", "Seccomp:.0", "/proc/self/status"]);
    let request = Exec {
        process: &process,
        stdio: Stdio::Null,
        default_rlimits: &[],
        privileged: true,
        keep_keyring: false,
    };
    let made = running.container().exec(request).unwrap();
    until_readable(&made.pidfd);
    assert_eq!(made.try_wait().unwrap(), Some(Exit::Code(0)));
}

#[test]
fn exec_fails_clearly() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let error = |running: &mut crate::fixture::Running<'_>, args: &[&str]| {
        let process = running.process(args);
        running.try_exec(&process, None).expect_err("it must fail")
    };
    let missing = error(&mut running, &["nonsense"]);
    assert_eq!(missing.to_string(), r#"exec: "nonsense": executable file not found in $PATH"#);
    assert_eq!(missing.code(), api::code::Code::NotFound);
    assert_eq!(error(&mut running, &["/etc"]).code(), api::code::Code::PermissionDenied);
    running.container().kill(9).unwrap();
    running.wait();
    assert!(matches!(error(&mut running, &["true"]), Error::NotRunning { .. }));
}

#[test]
fn exec_into_a_paused_container_is_refused() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    running.container().pause().unwrap();
    let process = running.process(&["/bin/true"]);
    let error = running.try_exec(&process, None).expect_err("it would never answer");
    assert!(matches!(error, Error::Paused { .. }));
    running.container().resume().unwrap();
    running.sh("true");
}

#[test]
fn a_process_that_is_being_made_cannot_be_looked_into() {
    // Until execve it is a copy of its parent: memory, descriptors and the path to the host's executable.
    let mut image = Image::new();
    let mut running = image.args(&["/bin/sleep", "1000"]).create();
    for path in ["/proc/1/exe", "/proc/1/cwd", "/proc/1/fd/0"] {
        let process = running.process(&["/bin/readlink", path]);
        assert_eq!(running.try_exec(&process, None).unwrap().stdout, "", "{path}");
    }
    running.container().start().unwrap();
    assert_eq!(running.sh("readlink /proc/1/exe"), "/bin/busybox\n");
}

#[test]
fn a_removed_null_device_does_not_hand_out_the_hosts() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    running.sh("rm /dev/null && echo fake > /dev/null");
    let process = running.process(&["/bin/true"]);
    let request = Exec {
        process: &process,
        stdio: Stdio::Null,
        default_rlimits: &[],
        privileged: false,
        keep_keyring: false,
    };
    let error = running.container().exec(request).expect_err("there is no null device");
    assert!(error.to_string().contains("/dev/null"), "{error}");
}
