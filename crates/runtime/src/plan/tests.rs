//! What a plan decides, without a kernel.

use super::*;
use oci::runtime_spec::*;

fn manner() -> Manner<'static> {
    Manner {
        stdio: StdioPlan::Null,
        is_filtered: true,
        default_rlimits: &[],
        ensure_cwd: false,
        keep_keyring: false,
    }
}

fn spec() -> Spec {
    let kinds = [NamespaceKind::Mount, NamespaceKind::Pid, NamespaceKind::Ipc, NamespaceKind::Uts];
    Spec {
        process: Some(Process { args: vec!["sh".into()], cwd: "/".into(), ..Process::default() }),
        mounts: vec![mount("/proc", "proc", &[]), mount("/dev", "tmpfs", &["nosuid", "ro"])],
        linux: Some(Linux {
            namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> SpecMount {
    SpecMount {
        destination: destination.into(),
        kind: kind.into(),
        source: if options.contains(&"bind") { "/source".into() } else { String::new() },
        options: options.iter().map(ToString::to_string).collect(),
        ..SpecMount::default()
    }
}

fn linux(spec: &mut Spec) -> &mut Linux {
    spec.linux.as_mut().unwrap()
}

fn process(spec: &mut Spec) -> &mut Process {
    spec.process.as_mut().unwrap()
}

fn position(plan: &Plan, is_wanted: impl Fn(&Step) -> bool) -> usize {
    plan.steps.iter().position(is_wanted).expect("the step is planned")
}

#[test]
fn a_plan_prints_every_step() {
    let plan = create(&spec(), manner(), &Host::default()).unwrap();
    let text = plan.to_string();
    for line in ["open #0: Rootfs", "mount `proc` on `/proc`", "change the root", "execute the program"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(text.lines().count(), plan.opens.len() + 1 + plan.steps.len());
    assert!(text.lines().all(|line| {
        !line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).is_empty()
    }));
}

#[test]
fn exec_ends_with_the_steps_of_the_first_process() {
    for no_new_privileges in [false, true] {
        let mut spec = spec();
        process(&mut spec).no_new_privileges = no_new_privileges;
        process(&mut spec).user = User { uid: 7, gid: 8, umask: None, additional_gids: vec![9] };
        let first = create(&spec, manner(), &Host::default()).unwrap();
        let later = exec(process(&mut spec), manner(), &Host::default(), Inherited::default()).unwrap();
        let tail = |plan: &Plan| {
            let start = position(plan, |step| matches!(step, Step::NewKeyring));
            plan.steps[start..].iter().filter(|step| !matches!(step, Step::Wait)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(tail(&first), tail(&later));
        assert!(tail(&later).contains(&Step::LoadFilter));
    }
}

#[test]
fn filter_is_loaded_with_privilege_or_last() {
    let mut spec = spec();
    let privileged = create(&spec, manner(), &Host::default()).unwrap();
    let load = |plan: &Plan| position(plan, |step| matches!(step, Step::LoadFilter));
    assert!(load(&privileged) < position(&privileged, |step| matches!(step, Step::Identity { .. })));
    process(&mut spec).no_new_privileges = true;
    let last = create(&spec, manner(), &Host::default()).unwrap();
    assert_eq!(load(&last), last.steps.len() - 2);
}

#[test]
fn descriptors_are_closed_before_the_directory_changes() {
    let plan = create(&spec(), manner(), &Host::default()).unwrap();
    let close = position(&plan, |step| matches!(step, Step::CloseDescriptors));
    assert!(close < position(&plan, |step| matches!(step, Step::Directory(_))));
    assert!(close < position(&plan, |step| matches!(step, Step::Wait)));
}

#[test]
fn devices_are_made_right_after_their_mount_and_sealed_last() {
    let mut spec = spec();
    spec.mounts.push(mount("/dev/null", "bind", &["bind"]));
    let plan = create(&spec, manner(), &Host::default()).unwrap();
    let made = position(&plan, |step| matches!(step, Step::Device(_)));
    assert!(matches!(&plan.steps[made - 1], Step::Mount(mount) if mount.is_devices));
    let last_mount = plan.steps.iter().rposition(|step| matches!(step, Step::Mount(_))).unwrap();
    assert!(made < last_mount && last_mount < position(&plan, |step| *step == Step::ReadOnlyDevices));
    assert!(plan.steps.iter().all(|step| !matches!(step, Step::Device(device) if device.base == Base::Root)));
}

#[test]
fn a_foreign_dev_is_left_alone() {
    let mut spec = spec();
    spec.mounts = vec![mount("/dev/", "bind", &["bind"])];
    let plan = create(&spec, manner(), &Host::default()).unwrap();
    assert!(plan.steps.iter().all(|step| !matches!(step, Step::Device(_) | Step::Link { .. })));
}

#[test]
fn bind_mounts_are_private_unless_told_otherwise() {
    for (option, expected) in [("bind", linux::mount::PRIVATE), ("rslave", linux::mount::SLAVE)] {
        let mut spec = spec();
        spec.mounts.push(mount("/data", "bind", &["bind", option]));
        let plan = create(&spec, manner(), &Host::default()).unwrap();
        let Some(Open::Bind { recursive, .. }) = plan.opens.last() else { panic!("{:?}", plan.opens) };
        assert_eq!(recursive.propagation, expected, "{option}");
    }
}

#[test]
fn the_cgroup_namespace_is_made_after_joining() {
    let mut spec = spec();
    linux(&mut spec).namespaces.push(Namespace { kind: NamespaceKind::Cgroup, path: None });
    let plan = create(&spec, manner(), &Host::default()).unwrap();
    assert_eq!(plan.namespaces & namespace::CGROUP, 0);
    let join = position(&plan, |step| matches!(step, Step::JoinCgroups));
    assert!(join < position(&plan, |step| *step == Step::NewNamespaces(namespace::CGROUP)));
}

#[test]
fn hierarchies_of_v1_are_bound_below_one_directory() {
    let mut spec = spec();
    spec.mounts.push(mount("/sys/fs/cgroup", "cgroup", &["ro"]));
    let view = |name: &str| CgroupView { name: name.into(), directory: format!("/host/{name}/c").into() };
    let host = Host { cgroup_views: vec![view("memory"), view("cpu,cpuacct")], ..Host::default() };
    let plan = create(&spec, manner(), &host).unwrap().to_string();
    assert!(plan.contains("mount `/host/memory/c` on `/sys/fs/cgroup/memory`"), "{plan}");
    assert!(plan.contains("(\"cpuacct\", \"cpu,cpuacct\")"), "{plan}");
    let host = Host { cgroup_views: vec![view("")], ..Host::default() };
    let plan = create(&spec, manner(), &host).unwrap().to_string();
    assert!(plan.contains("mount `/host//c` on `/sys/fs/cgroup`"), "{plan}");
}

#[test]
fn capabilities_are_cut_to_what_can_be_granted() {
    let mut spec = spec();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted = names(&["CAP_CHOWN", "CAP_KILL", "CAP_BOGUS"]);
    process(&mut spec).capabilities = Some(Capabilities {
        bounding: wanted.clone(),
        effective: wanted.clone(),
        permitted: wanted,
        inheritable: Vec::new(),
        ambient: names(&["CAP_CHOWN"]),
    });
    let plan = create(&spec, manner(), &Host { grantable: 1, ..Host::default() }).unwrap();
    let sets = linux::capability::Sets { effective: 1, permitted: 1, inheritable: 0, ambient: 0 };
    assert!(plan.steps.contains(&Step::Capabilities(sets)));
    assert!(plan.steps.contains(&Step::BoundCapabilities(1)));
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
}

#[test]
fn no_capabilities_means_none() {
    let plan = create(&spec(), manner(), &Host { grantable: u64::MAX, ..Host::default() }).unwrap();
    assert!(plan.steps.contains(&Step::BoundCapabilities(0)));
}

#[test]
fn programs_are_searched_like_a_shell_does() {
    let mut spec = spec();
    let mut candidates = |arg: &str, env: &[&str]| {
        process(&mut spec).args = vec![arg.into()];
        process(&mut spec).env = env.iter().map(ToString::to_string).collect();
        let plan = create(&spec, manner(), &Host::default()).unwrap();
        plan.program.candidates.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(candidates("/bin/x", &["PATH=/a"]), ["/bin/x"]);
    assert_eq!(candidates("./x", &[]), ["./x"]);
    assert_eq!(candidates("x", &["PATH=/a:/b/::.:c"]), ["/a/x", "/b/x"]);
    assert_eq!(candidates("x", &[]).len(), 6);
    assert!(candidates("", &[]).is_empty());
}

#[test]
fn what_cannot_be_is_refused() {
    type Break = fn(&mut Spec);
    let cases: [(&str, Break); 31] = [
        ("no process", |spec| spec.process = None),
        ("no command", |spec| process(spec).args.clear()),
        ("NUL", |spec| process(spec).args.push("a\0b".into())),
        ("relative cwd", |spec| process(spec).cwd = "x".into()),
        ("score", |spec| process(spec).oom_score_adj = Some(1001)),
        ("label", |spec| process(spec).apparmor_profile = "x".into()),
        ("rlimit", |spec| process(spec).rlimits = vec![Rlimit { kind: "RLIMIT_X".into(), soft: 0, hard: 0 }]),
        ("rlimit order", |spec| {
            process(spec).rlimits = vec![Rlimit { kind: "RLIMIT_CPU".into(), soft: 2, hard: 1 }];
        }),
        ("no mount namespace", |spec| linux(spec).namespaces.clear()),
        ("namespace twice", |spec| {
            let first = linux(spec).namespaces[0].clone();
            linux(spec).namespaces.push(first);
        }),
        ("user namespace without maps", |spec| linux(spec).namespaces[1].kind = NamespaceKind::User),
        ("maps without a user namespace", |spec| map_users(spec, &[(0, 1, 1)])),
        ("time offset without a time namespace", |spec| {
            linux(spec).time_offsets.insert("boottime".into(), TimeOffset::default());
        }),
        ("offset of a clock that has none", |spec| {
            linux(spec).namespaces[1].kind = NamespaceKind::Time;
            linux(spec).time_offsets.insert("realtime".into(), TimeOffset::default());
        }),
        ("idmap of no bind mount", |spec| spec.mounts.push(mount("/x", "tmpfs", &["idmap"]))),
        ("idmap without maps", |spec| spec.mounts.push(mount("/x", "bind", &["bind", "idmap"]))),
        ("scheduling policy", |spec| schedule(spec, |scheduler| scheduler.policy = "SCHED_X".into())),
        ("nice value", |spec| schedule(spec, |scheduler| scheduler.nice = 20)),
        ("priority of an ordinary policy", |spec| schedule(spec, |scheduler| scheduler.priority = 1)),
        ("deadline of another policy", |spec| schedule(spec, |scheduler| scheduler.deadline = 1)),
        ("scheduling flag", |spec| schedule(spec, |scheduler| scheduler.flags = vec!["X".into()])),
        ("I/O class", |spec| process(spec).io_priority = Some(IoPriority::default())),
        ("I/O priority", |spec| {
            process(spec).io_priority = Some(IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 8 });
        }),
        ("personality", |spec| linux(spec).personality = Some(Personality::default())),
        ("flag of a personality", |spec| {
            let (domain, flags) = ("LINUX".into(), vec!["X".into()]);
            linux(spec).personality = Some(Personality { domain, flags });
        }),
        ("mount on /", |spec| spec.mounts.push(mount("//./", "tmpfs", &[]))),
        ("bind option", |spec| spec.mounts.push(mount("/x", "bind", &["bind", "bogus"]))),
        ("relative mask", |spec| linux(spec).masked_paths.push("proc".into())),
        ("host sysctl", |spec| {
            linux(spec).sysctl.insert("kernel.panic".into(), "1".into());
        }),
        ("sysctl of a shared namespace", |spec| {
            linux(spec).sysctl.insert("net.core.somaxconn".into(), "1".into());
        }),
        ("device type", |spec| {
            linux(spec).devices.push(Device { path: "/dev/x".into(), ..Device::default() })
        }),
    ];
    for (name, break_it) in cases {
        let mut spec = spec();
        break_it(&mut spec);
        assert!(create(&spec, manner(), &Host::default()).is_err(), "{name}");
    }
}

fn schedule(spec: &mut Spec, change: fn(&mut Scheduler)) {
    let mut scheduler = Scheduler { policy: "SCHED_OTHER".into(), ..Scheduler::default() };
    change(&mut scheduler);
    process(spec).scheduler = Some(scheduler);
}

fn map_users(spec: &mut Spec, maps: &[(u32, u32, u32)]) {
    let mapping = |&(container_id, host_id, size)| IdMapping { container_id, host_id, size };
    linux(spec).uid_mappings = maps.iter().map(mapping).collect();
    linux(spec).gid_mappings = vec![IdMapping { container_id: 0, host_id: 7, size: 10 }];
}

#[test]
fn user_mappings_are_checked_before_anything_is_done() {
    let planned = |maps: &[(u32, u32, u32)]| {
        let mut spec = spec();
        linux(&mut spec).namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
        map_users(&mut spec, maps);
        create(&spec, manner(), &Host::default())
    };
    assert!(planned(&[(0, 1000, 10), (10, 5000, u32::MAX - 5000)]).is_ok());
    for maps in [
        &[][..],
        &[(0, 1000, 0)],
        &[(0, u32::MAX, 2)],
        &[(u32::MAX, 0, 2)],
        &[(0, 1000, 10), (9, 5000, 1)],
        &[(0, 1000, 10), (10, 1009, 1)],
        &[(5, 1000, 10), (0, 5000, 6)],
    ] {
        assert!(planned(maps).is_err(), "{maps:?}");
    }
}

#[test]
fn a_user_namespace_is_made_by_privileged_steps_and_before_the_others() {
    let mut spec = spec();
    let namespaces = &mut linux(&mut spec).namespaces;
    namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
    namespaces.push(Namespace { kind: NamespaceKind::Network, path: Some("/net".into()) });
    map_users(&mut spec, &[(0, 1000, 10)]);
    process(&mut spec).oom_score_adj = Some(-5);
    process(&mut spec).rlimits = vec![Rlimit { kind: "RLIMIT_CPU".into(), soft: 1, hard: 2 }];
    let plan = create(&spec, manner(), &Host::default()).unwrap();
    assert_eq!(plan.namespaces, 0, "none by the clone");
    let order = [
        position(&plan, |step| matches!(step, Step::JoinCgroups)),
        position(&plan, |step| matches!(step, Step::OomScore(_))),
        position(&plan, |step| matches!(step, Step::EnterNamespaces { .. })),
        position(&plan, |step| matches!(step, Step::NewUserNamespace(_))),
        position(&plan, |step| matches!(step, Step::BecomeRoot)),
        position(&plan, |step| matches!(step, Step::NewNamespaces(_))),
        position(&plan, |step| matches!(step, Step::Fork)),
        position(&plan, |step| matches!(step, Step::MakePrivate)),
        position(&plan, |step| matches!(step, Step::DeviceMount { .. })),
        position(&plan, |step| matches!(step, Step::AskLimits(_))),
    ];
    assert!(order.is_sorted(), "{order:?}\n{plan}");
    assert!(plan.steps.iter().all(|step| !matches!(step, Step::Device(_) | Step::Limit(_))), "{plan}");
}

#[test]
fn a_session_keyring_is_made_unless_it_is_not_wanted() {
    let makes_one = |keep_keyring| {
        let manner = Manner { keep_keyring, ..manner() };
        let mut spec = spec();
        let exec = exec(process(&mut spec), manner, &Host::default(), Inherited::default()).unwrap();
        let create = create(&spec, manner, &Host::default()).unwrap();
        [create, exec].map(|plan| plan.steps.contains(&Step::NewKeyring))
    };
    assert_eq!((makes_one(false), makes_one(true)), ([true; 2], [false; 2]));
}

#[test]
fn a_terminal_needs_a_devpts() {
    let manner = Manner { stdio: StdioPlan::Terminal, ..manner() };
    let mut spec = spec();
    assert!(create(&spec, manner, &Host::default()).is_err());
    spec.mounts.push(mount("/dev/pts", "devpts", &["newinstance"]));
    let plan = create(&spec, manner, &Host::default()).unwrap();
    assert!(plan.steps.contains(&Step::Console(linux::child::Base::Devices)));
    assert!(plan.slot(|open| matches!(open, Open::Master { .. })).is_some());
}

use linux::child::Base;
