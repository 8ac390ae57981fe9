//! From create to destroy: starting, signals, freezing, limits, taking up again.

use std::fs;

use oci::runtime_spec::{Memory, Pids, Resources};
use runtime::{Container, Create, Created, Error, Exit, Stdio};

use crate::fixture::{Image, Running, assert_nothing_left, eventually, until_readable};

#[test]
fn exit_codes_and_signals_are_told() {
    let mut image = Image::new();
    for (script, expected) in
        [("exit 0", Exit::Code(0)), ("exit 3", Exit::Code(3)), ("exit 255", Exit::Code(255))]
    {
        assert_eq!(image.args(&["/bin/sh", "-c", script]).run().exit, expected);
    }
    let mut running = image.sleeper();
    running.container().kill(9).unwrap();
    assert_eq!(running.wait(), Exit::Signal(9));
    assert_eq!(running.wait().status(), 137);
    assert!(matches!(running.container().kill(9), Err(Error::NotRunning { .. })));
}

#[test]
fn nothing_runs_before_the_start() {
    let mut image = Image::new();
    let mark = image.host_directory("mark");
    image.mount("bind", &mark, "/mark", &["rbind"]);
    image.args(&["/bin/touch", "/mark/ran"]);
    let Created { mut container, .. } = image.try_create(Stdio::Null).unwrap();
    assert_eq!(container.try_wait().unwrap(), None);
    assert!(!mark.join("ran").exists());
    container.start().unwrap();
    until_readable(container.pidfd());
    assert!(mark.join("ran").exists());
    assert!(matches!(container.start(), Err(Error::NotRunning { .. } | Error::AlreadyStarted { .. })));
    container.destroy().unwrap();
    assert_nothing_left(&image);
}

#[test]
fn a_container_that_is_never_started_leaves_nothing() {
    let image = Image::new();
    let Created { container, .. } = image.try_create(Stdio::Null).unwrap();
    container.destroy().unwrap();
    assert_nothing_left(&image);
}

#[test]
fn dropping_the_start_ends_the_waiting_process() {
    let mut image = Image::new();
    image.args(&["/bin/sleep", "1000"]);
    let Created { container, .. } = image.try_create(Stdio::Null).unwrap();
    // Another one, cloned while the first waits: it must not hold the first one's pipe.
    let other = Image::new();
    let second = other.try_create(Stdio::Null).unwrap();
    let state = container.state();
    let mut descriptors = container.into_descriptors();
    descriptors.start = None;
    until_readable(&descriptors.pidfd);
    Container::attach(state, descriptors).unwrap().destroy().unwrap();
    second.container.destroy().unwrap();
    assert_nothing_left(&image);
}

#[test]
fn a_container_can_be_taken_up_again() {
    let mut image = Image::new();
    image.args(&["/bin/sleep", "1000"]);
    let Created { container, .. } = image.try_create(Stdio::Null).unwrap();
    let state = serde_json::to_string(&container.state()).unwrap();
    let descriptors = container.into_descriptors();
    let mut container = Container::attach(serde_json::from_str(&state).unwrap(), descriptors).unwrap();
    container.start().unwrap();
    assert!(matches!(container.start(), Err(Error::AlreadyStarted { .. })));
    let text = fs::read_to_string(format!("/proc/{}/cmdline", container.pid())).unwrap();
    assert!(text.contains("sleep"), "{text}");
    assert_eq!(serde_json::to_string(&container.state()).unwrap(), state);
    container.destroy().unwrap();
    assert_nothing_left(&image);
}

#[test]
fn signals_reach_the_first_process_or_all() {
    let mut image = Image::new();
    // The first one outlives the second, which its end would kill.
    let script = "trap 'echo first; wait; exit 1' TERM; sh -c 'trap \"echo second; exit\" TERM; while :; do sleep 0.05; done' & \
                  while :; do sleep 0.06; done";
    let mut running = image.args(&["/bin/sh", "-c", script]).start();
    // Both traps are set once both loops have slept.
    eventually("all processes run", || running.container().processes().unwrap().len() >= 4);
    running.container().kill_all(15).unwrap();
    let output = running.finish();
    assert!(output.stdout.contains("first") && output.stdout.contains("second"), "{output:?}");
}

#[test]
fn kill_all_leaves_nobody() {
    let mut image = Image::new();
    let mut running = image.args(&["/bin/sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000"]).start();
    eventually("all processes run", || running.container().processes().unwrap().len() >= 3);
    running.container().kill_all(9).unwrap();
    assert_eq!(running.wait(), Exit::Signal(9));
    assert!(running.container().processes().unwrap().is_empty());
}

#[test]
fn a_paused_container_does_nothing_until_it_is_resumed() {
    let mut image = Image::new();
    let mut running = image.args(&["/bin/sh", "-c", "while :; do :; done"]).start();
    assert!(!running.container().is_paused().unwrap());
    running.container().pause().unwrap();
    assert!(running.container().is_paused().unwrap());
    let used = |running: &mut Running<'_>| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", running.container().pid())).unwrap();
        let fields: Vec<_> = stat.split(' ').collect();
        (fields[13].to_owned(), fields[14].to_owned())
    };
    let before = used(&mut running);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(used(&mut running), before);
    running.container().resume().unwrap();
    assert!(!running.container().is_paused().unwrap());
    eventually("it computes again", || used(&mut running) != before);
}

#[test]
fn a_paused_container_can_be_destroyed() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    running.container().pause().unwrap();
}

#[test]
fn limits_are_in_force_and_visible_inside() {
    let mut image = Image::new();
    image.linux().resources = Some(Resources {
        memory: Some(Memory { limit: Some(64 << 20), ..Memory::default() }),
        pids: Some(Pids { limit: 7 }),
        ..Resources::default()
    });
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max 2>/dev/null || cat memory.max pids.max";
    assert_eq!(image.sh(script), "67108864\n7\n");
    let output = image.args(&["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done"]).run();
    assert!(output.stderr.contains("can't fork"), "{output:?}");
}

#[test]
fn the_first_process_is_in_every_cgroup() {
    let mut image = Image::new();
    let cgroup = image.cgroup();
    let mut running = image.sleeper();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", running.container().pid())).unwrap();
    for line in text.lines() {
        assert!(line.ends_with(&cgroup), "{line}");
    }
    assert_eq!(running.container().stats().unwrap().pids, 1);
}

#[test]
fn a_failing_container_leaves_nothing() {
    let mut image = Image::new();
    image.args(&["/nonsense"]).refused();
    image.args(&["/bin/true"]).process().cwd = "/absent".into();
    image.refused();
    image.process().cwd = "/".into();
    let absent = image.path("absent");
    image.mount("bind", &absent, "/mnt", &["bind"]);
    let message = crate::fixture::chain(&image.refused());
    assert!(message.starts_with("cannot open mount source") && message.contains("No such file"), "{message}");
}

#[test]
fn the_root_can_be_a_directory_of_the_host() {
    let mut image = Image::new();
    image.args(&["/bin/true"]);
    let Created { mut container, .. } = runtime::create(Create {
        id: "bind",
        spec: &image.spec,
        rootfs: runtime::Rootfs::bind(&image.path("/")).unwrap(),
        stdio: Stdio::Null,
        default_rlimits: &[],
        ensure_cwd: false,
        keep_keyring: false,
    })
    .unwrap();
    container.start().unwrap();
    until_readable(container.pidfd());
    assert_eq!(container.try_wait().unwrap(), Some(Exit::Code(0)));
    container.destroy().unwrap();
    assert_nothing_left(&image);
}

#[test]
fn the_overlay_stays_mounted_until_the_container_lets_go() {
    let mut image = Image::new();
    let running = image.args(&["/bin/touch", "/made"]).start();
    let mut running = running;
    running.wait();
    let root = running.container.take().unwrap().into_descriptors().rootfs;
    // No process is left that has it mounted, yet it can be read.
    rustix::fs::statat(&root, c"made", rustix::fs::AtFlags::empty()).unwrap();
    drop(root);
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _ = fs::remove_dir(hierarchy.path().join(image_cgroup(&running)));
    }
}

fn image_cgroup(running: &Running<'_>) -> String {
    running.cgroup().trim_start_matches('/').to_owned()
}

#[test]
fn many_containers_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                for round in 0..4 {
                    let text = format!("{number} {round}");
                    assert_eq!(Image::new().sh(&format!("echo {text}")).trim(), text);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
