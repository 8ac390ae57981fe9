//! Tables: what is asked, and what of it is in the document.

use super::super::spec::{BindMount, DeviceSpec, TmpfsMount, VolumeMount};
use super::*;

fn around() -> Surroundings {
    Surroundings {
        hostname: "steel".into(),
        cgroup_path: "/corten/abc".into(),
        etc: EtcFiles {
            hostname: "/c/hostname".into(),
            hosts: "/c/hosts".into(),
            resolv_conf: "/c/resolv.conf".into(),
        },
        sources: [("/data".to_owned(), PathBuf::from("/v/data/_data"))].into(),
        network_pid: Some(11),
        pid_pid: Some(12),
        ipc_pid: Some(13),
        open_files_max: 4096,
        ..Surroundings::default()
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec { command: Some(vec!["sh".into()]), ..ContainerSpec::default() }
}

fn plan(change: impl FnOnce(&mut ContainerSpec)) -> Spec {
    let mut spec = spec();
    change(&mut spec);
    runtime_spec(&spec, &around()).unwrap()
}

fn linux(spec: &Spec) -> &Linux {
    spec.linux.as_ref().unwrap()
}

fn process(spec: &Spec) -> &Process {
    spec.process.as_ref().unwrap()
}

fn mount<'a>(spec: &'a Spec, destination: &str) -> Option<&'a SpecMount> {
    spec.mounts.iter().find(|mount| mount.destination == destination)
}

/// Kind and process, in order of the specification.
fn namespace(spec: &Spec, kind: NamespaceKind) -> Option<Option<String>> {
    let found = linux(spec).namespaces.iter().find(|namespace| namespace.kind == kind)?;
    Some(found.path.as_ref().map(|path| path.display().to_string()))
}

#[test]
fn a_container_that_asks_for_nothing_gets_dockers_defaults() {
    let plan = plan(|_| {});
    assert_eq!(process(&plan).args, ["sh"]);
    assert_eq!(process(&plan).cwd, "/");
    assert_eq!(process(&plan).env, [DEFAULT_PATH, "HOSTNAME=steel"]);
    assert_eq!(plan.hostname, "steel");
    assert_eq!(linux(&plan).cgroups_path, "/corten/abc");
    let sets = process(&plan).capabilities.as_ref().unwrap();
    assert!(sets.inheritable.is_empty() && sets.ambient.is_empty());
    assert_eq!(sets.bounding.len(), 14);
    assert_eq!((&sets.effective, &sets.permitted), (&sets.bounding, &sets.bounding));
    assert!(linux(&plan).seccomp.is_some());
    assert!(linux(&plan).masked_paths.iter().any(|path| path == "/proc/kcore"));
    assert!(linux(&plan).readonly_paths.iter().any(|path| path == "/proc/sys"));
    for kind in [
        NamespaceKind::Mount,
        NamespaceKind::Network,
        NamespaceKind::Pid,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
    ] {
        assert_eq!(namespace(&plan, kind), Some(None), "{kind:?}");
    }
    for destination in
        ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
    {
        assert!(mount(&plan, destination).is_some(), "{destination}");
    }
    assert_eq!(linux(&plan).resources.as_ref().unwrap().memory, None);
    let [limit] = process(&plan).rlimits.as_slice() else { panic!("{:?}", process(&plan).rlimits) };
    assert_eq!((limit.kind.as_str(), limit.soft, limit.hard), ("RLIMIT_NOFILE", 1024, 4096));
}

#[test]
fn namespaces_are_own_the_hosts_or_another_containers() {
    use NamespaceKind::{Ipc, Network, Pid, Uts};
    let other = || "other".to_owned();
    type Change = fn(&mut ContainerSpec);
    let cases: [(Change, NamespaceKind, Option<Option<&str>>); 9] = [
        (|spec| spec.network = NetworkMode::Host, Network, None),
        (|spec| spec.network = NetworkMode::Container("o".into()), Network, Some(Some("/proc/11/ns/net"))),
        (|spec| spec.pid = PidMode::Host, Pid, None),
        (|spec| spec.pid = PidMode::Container("o".into()), Pid, Some(Some("/proc/12/ns/pid"))),
        (|spec| spec.ipc = IpcMode::Host, Ipc, None),
        (|spec| spec.ipc = IpcMode::Shareable, Ipc, Some(None)),
        (|spec| spec.ipc = IpcMode::None, Ipc, Some(None)),
        (|spec| spec.ipc = IpcMode::Container("o".into()), Ipc, Some(Some("/proc/13/ns/ipc"))),
        (|spec| spec.uts = UtsMode::Host, Uts, None),
    ];
    for (change, kind, expected) in cases {
        let plan = plan(change);
        assert_eq!(
            namespace(&plan, kind),
            expected.map(|path| path.map(str::to_owned)),
            "{kind:?} {}",
            other()
        );
    }
    let host = plan(|spec| spec.uts = UtsMode::Host);
    assert_eq!(host.hostname, "", "the host's name is not set");
}

#[test]
fn a_privileged_container_is_held_back_by_nothing() {
    let plan = plan(|spec| spec.privileged = true);
    assert!(linux(&plan).seccomp.is_none());
    assert!(linux(&plan).masked_paths.is_empty() && linux(&plan).readonly_paths.is_empty());
    assert!(process(&plan).capabilities.as_ref().unwrap().bounding.len() >= 38);
    assert!(!mount(&plan, "/sys").unwrap().options.iter().any(|option| option == "ro"));
    let [rule] = linux(&plan).resources.as_ref().unwrap().devices.as_slice() else { panic!("one rule") };
    assert!(rule.allow && rule.kind.is_none());
    let asked = runtime_spec(
        &ContainerSpec {
            privileged: true,
            seccomp: SeccompMode::Profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.into()),
            ..spec()
        },
        &around(),
    );
    assert!(linux(&asked.unwrap()).seccomp.is_some(), "a profile that was asked for holds also here");
}

#[test]
fn rights_are_what_was_asked() {
    let plan = plan(|spec| {
        spec.cap_add = vec!["NET_ADMIN".into()];
        spec.cap_drop = vec!["CAP_CHOWN".into()];
        spec.no_new_privileges = true;
        spec.seccomp = SeccompMode::Unconfined;
        spec.ulimits = vec![Ulimit { name: "nofile".into(), soft: 5, hard: -1 }];
        spec.resources.oom_score_adj = Some(100);
    });
    let has =
        |name: &str| process(&plan).capabilities.as_ref().unwrap().bounding.iter().any(|own| own == name);
    assert!(has("CAP_NET_ADMIN") && !has("CAP_CHOWN"));
    assert!(process(&plan).no_new_privileges);
    assert!(linux(&plan).seccomp.is_none());
    let [limit] = process(&plan).rlimits.as_slice() else { panic!("one limit") };
    assert_eq!((limit.soft, limit.hard), (5, u64::MAX));
    assert_eq!(process(&plan).oom_score_adj, Some(100));
    assert_eq!(default_rlimits(&spec()), ["RLIMIT_NOFILE"]);
}

#[test]
fn limits_reach_the_control_groups() {
    type Change = fn(&mut ResourceSpec);
    let memory = |limit, swap| Memory { limit: Some(limit), swap: Some(swap), ..Memory::default() };
    let cases: [(Change, Option<Memory>, Option<Cpu>); 8] = [
        (|asked| asked.memory_bytes = Some(100), Some(memory(100, 200)), None),
        (
            |asked| (asked.memory_bytes, asked.memory_swap_bytes) = (Some(100), Some(-1)),
            Some(memory(100, -1)),
            None,
        ),
        (
            |asked| (asked.memory_bytes, asked.memory_swap_bytes) = (Some(100), Some(100)),
            Some(memory(100, 100)),
            None,
        ),
        (|asked| asked.memory_bytes = Some(0), None, None),
        (
            |asked| asked.nano_cpus = Some(500_000_000),
            None,
            Some(Cpu { quota: Some(50_000), period: Some(100_000), ..Cpu::default() }),
        ),
        (
            |asked| (asked.cpu_quota_us, asked.cpu_period_us) = (Some(1000), Some(2000)),
            None,
            Some(Cpu { quota: Some(1000), period: Some(2000), ..Cpu::default() }),
        ),
        (|asked| asked.cpuset_cpus = "0-1".into(), None, Some(Cpu { cpus: "0-1".into(), ..Cpu::default() })),
        (|asked| asked.cpu_shares = Some(512), None, Some(Cpu { shares: Some(512), ..Cpu::default() })),
    ];
    for (change, memory, cpu) in cases {
        let plan = plan(|spec| change(&mut spec.resources));
        let resources = linux(&plan).resources.as_ref().unwrap();
        assert_eq!((&resources.memory, &resources.cpu), (&memory, &cpu));
    }
    for (limit, expected) in [(None, None), (Some(-1), None), (Some(0), None), (Some(33), Some(33))] {
        let plan = plan(|spec| spec.resources.pids_limit = limit);
        assert_eq!(linux(&plan).resources.as_ref().unwrap().pids.map(|pids| pids.limit), expected);
    }
}

#[test]
fn mounts_take_the_place_of_defaults_and_come_after_their_parents() {
    let plan = plan(|spec| {
        spec.mounts = vec![
            MountSpec::Bind(BindMount {
                source: "/h/deep".into(),
                target: "/data/a/b".into(),
                readonly: true,
                ..BindMount::default()
            }),
            MountSpec::Volume(VolumeMount {
                name: "data".into(),
                target: "/data/".into(),
                ..VolumeMount::default()
            }),
            MountSpec::Bind(BindMount {
                source: "/h/hosts".into(),
                target: "/etc/hosts".into(),
                ..BindMount::default()
            }),
            MountSpec::Tmpfs(TmpfsMount {
                target: "/dev/shm".into(),
                options: vec!["exec".into(), "size=1m".into()],
                ..TmpfsMount::default()
            }),
        ];
    });
    let position =
        |destination: &str| plan.mounts.iter().position(|mount| mount.destination == destination).unwrap();
    assert!(position("/data") < position("/data/a/b"));
    assert_eq!(mount(&plan, "/data").unwrap().source, "/v/data/_data");
    assert_eq!(mount(&plan, "/data/a/b").unwrap().options, ["rbind", "rprivate", "rro"]);
    assert_eq!(mount(&plan, "/etc/hosts").unwrap().source, "/h/hosts");
    for destination in ["/etc/hosts", "/dev/shm"] {
        assert_eq!(
            plan.mounts.iter().filter(|mount| mount.destination == destination).count(),
            1,
            "{destination}"
        );
    }
    assert_eq!(mount(&plan, "/dev/shm").unwrap().options, ["nosuid", "nodev", "exec", "size=1m"]);
}

#[test]
fn shared_memory_follows_the_ipc_namespace() {
    let own = plan(|spec| spec.shm_size_bytes = Some(1 << 20));
    assert!(
        mount(&own, "/dev/shm")
            .unwrap()
            .options
            .iter()
            .any(|option| option.contains("1048576") || option.contains("1024k"))
    );
    assert!(mount(&plan(|spec| spec.ipc = IpcMode::None), "/dev/shm").is_none());
    let around = Surroundings { shm: Some("/s/shm".into()), ..around() };
    let shared = runtime_spec(&ContainerSpec { ipc: IpcMode::Shareable, ..spec() }, &around).unwrap();
    let shm = mount(&shared, "/dev/shm").unwrap();
    assert_eq!((shm.kind.as_str(), shm.source.as_str()), ("bind", "/s/shm"));
}

#[test]
fn a_read_only_root_makes_the_files_of_etc_read_only() {
    let plan = plan(|spec| spec.readonly_rootfs = true);
    assert!(plan.root.as_ref().unwrap().readonly);
    assert!(mount(&plan, "/etc/hosts").unwrap().options.iter().any(|option| option == "ro"));
}

#[test]
fn the_environment_has_dockers_defaults_unless_it_has_its_own() {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let cases = [
        (own(&[]), false, own(&[DEFAULT_PATH, "HOSTNAME=h"])),
        (own(&["A=1"]), true, own(&[DEFAULT_PATH, "HOSTNAME=h", "TERM=xterm", "A=1"])),
        (own(&["TERM=vt100", "PATH=/x"]), true, own(&["PATH=/x", "HOSTNAME=h", "TERM=vt100"])),
    ];
    for (env, terminal, expected) in cases {
        assert_eq!(environment(&env, terminal, "h"), expected);
    }
}

#[test]
fn network_sysctls_are_only_set_in_a_network_of_its_own() {
    let sysctls = |network: NetworkMode| linux(&plan(|spec| spec.network = network)).sysctl.len();
    assert_eq!(sysctls(NetworkMode::None), 2);
    assert_eq!(sysctls(NetworkMode::Host), 0);
    assert_eq!(sysctls(NetworkMode::Container("o".into())), 0);
    let asked =
        plan(|spec| drop(spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "80".into())));
    assert_eq!(linux(&asked).sysctl["net.ipv4.ip_unprivileged_port_start"], "80");
}

#[test]
fn devices_that_were_asked_for_take_the_place_of_defaults() {
    let null = Device { kind: "c".into(), path: "/dev/null".into(), major: 1, minor: 5, ..Device::default() };
    let rule = DeviceRule {
        allow: true,
        kind: Some("c".into()),
        major: Some(1),
        minor: Some(5),
        access: "r".into(),
    };
    let around = Surroundings { devices: vec![null.clone()], device_rules: vec![rule.clone()], ..around() };
    let asked = DeviceSpec {
        host_path: "/dev/zero".into(),
        container_path: "/dev/null".into(),
        permissions: "r".into(),
    };
    let plan = runtime_spec(&ContainerSpec { devices: vec![asked], ..spec() }, &around).unwrap();
    let found: Vec<_> = linux(&plan).devices.iter().filter(|device| device.path == "/dev/null").collect();
    assert_eq!(found, [&null]);
    assert_eq!(linux(&plan).resources.as_ref().unwrap().devices.last(), Some(&rule));
}

#[test]
fn an_init_is_mounted_and_comes_before_the_program() {
    let planned = plan(|spec| spec.init = true);
    assert_eq!(process(&planned).args, ["/sbin/docker-init", "--", "sh"]);
    let mount = planned.mounts.iter().find(|mount| mount.destination == "/sbin/docker-init").unwrap();
    assert!(mount.kind == "bind" && mount.options.contains(&"ro".to_owned()), "{mount:?}");
    let hosts = plan(|spec| (spec.init, spec.pid) = (true, PidMode::Host));
    assert_eq!(process(&hosts).args, ["sh"]);
}
