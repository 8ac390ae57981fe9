//! How the kernel treats a container's processes.

use oci::runtime_spec::{IoPriority, Personality, Scheduler};

use crate::fixture::{Image, chain};

/// Policy and nice value as the kernel has them, of the shell that asks: fields 41 and 19 of proc_pid_stat(5).
const KERNELS: &str = "cut -d' ' -f19,41 /proc/$$/stat";

#[test]
fn policy_and_priorities_are_the_kernels() {
    let mut image = Image::new();
    image.process().scheduler =
        Some(Scheduler { policy: "SCHED_BATCH".into(), nice: 7, ..Scheduler::default() });
    image.process().io_priority = Some(IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 6 });
    let script = format!("{KERNELS}; busybox ionice -p $$");
    assert_eq!(image.sh(&script), "7 3\nbest-effort: prio 6\n");
    assert_eq!(
        image.sleeper().sh(&script),
        "7 3\nbest-effort: prio 6\n",
        "of a later process, which says the same"
    );
    image.process().scheduler = None;
    image.process().io_priority = Some(IoPriority { class: "IOPRIO_CLASS_IDLE".into(), priority: 0 });
    assert_eq!(image.sh(&script), "0 0\nidle\n");
}

#[test]
fn a_personality_is_that_of_all_processes() {
    let mut image = Image::new();
    let machine = "busybox uname -m";
    let own = image.sh(machine);
    image.linux().personality = Some(Personality { domain: "LINUX32".into(), flags: Vec::new() });
    let old = image.sh(machine);
    assert_ne!(own, old);
    let mut running = image.sleeper();
    assert_eq!(running.sh(machine), old);
    let container = running.container.take().unwrap();
    let state = serde_json::to_vec(&container.state()).unwrap();
    let state: runtime::State = serde_json::from_slice(&state).unwrap();
    running.container = Some(runtime::Container::attach(state, container.into_descriptors()).unwrap());
    assert_eq!(running.sh(machine), old, "a shim that was started again knows of it");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let refused = |change: fn(&mut Image)| {
        let mut image = Image::new();
        change(&mut image);
        chain(&image.refused())
    };
    for (name, message) in [
        ("intelRdt", refused(|image| image.linux().intel_rdt = Some(serde_json::json!({})))),
        ("memoryPolicy", refused(|image| image.linux().memory_policy = Some(serde_json::json!({})))),
        (
            "netDevices",
            refused(|image| image.linux().net_devices = [("eth0".into(), serde_json::json!({}))].into()),
        ),
        ("mountLabel", refused(|image| image.linux().mount_label = "x".into())),
        (
            "listenerPath",
            refused(|image| image.linux().seccomp.as_mut().unwrap().listener_path = "/x".into()),
        ),
        ("execCPUAffinity", refused(|image| image.process().exec_cpu_affinity = Some(serde_json::json!({})))),
    ] {
        assert!(message.contains(name) && message.contains("not supported yet"), "{message}");
    }
}
