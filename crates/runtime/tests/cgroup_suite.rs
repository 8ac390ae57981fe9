//! Control groups on the real kernel, as root: this machine's hierarchies, and each version on its own.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use api::code::Code;
use oci::runtime_spec::{BlockIo, Cpu, DeviceRule, Memory, NetworkResources, Pids, Resources};
use runtime::cgroup::{Cgroup, Error, Hierarchies, Version};

const MIB: i64 = 1024 * 1024;

/// A path of its own for each test, removed with everything below it in the end.
struct Place {
    hierarchies: Hierarchies,
    top: String,
}

impl Place {
    fn everywhere(name: &str) -> Place {
        Place {
            hierarchies: Hierarchies::detect().unwrap(),
            top: format!("/corten-test-{name}-{}", std::process::id()),
        }
    }

    /// Each version that this machine has, on its own: both on a hybrid machine.
    fn of_each_version(name: &str) -> Vec<(Version, Place)> {
        let with = |version| {
            let mut place = Place::everywhere(&format!("{name}-{version:?}"));
            place.hierarchies = place.hierarchies.only(|hierarchy| hierarchy.version() == version);
            (version, place)
        };
        let places = [Version::V1, Version::V2].map(with).into_iter();
        places.filter(|(_, place)| place.hierarchies.iter().count() > 0).collect()
    }

    /// The version that has a controller.
    fn version(&self, controller: &str) -> Version {
        self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller)).unwrap().version()
    }

    /// The processors that a group may use.
    fn processors(&self, name: &str) -> String {
        let file = match self.version("cpuset") {
            Version::V1 => "cpuset.cpus",
            // Where nobody wrote, only this one tells what the groups above leave.
            Version::V2 => "cpuset.cpus.effective",
        };
        self.read(name, "cpuset", file)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.top)
    }

    fn create(&self, name: &str, resources: &Resources) -> Result<Cgroup, Error> {
        Cgroup::create_in(&self.hierarchies, &self.path(name), Some(resources))
    }

    fn plain(&self, name: &str) -> Cgroup {
        self.create(name, &Resources::default()).unwrap()
    }

    /// Directories of a group that exist, by what the hierarchy is mounted for.
    fn directories(&self, name: &str) -> Vec<PathBuf> {
        let all =
            self.hierarchies.iter().map(|hierarchy| hierarchy.mount_point().join(&self.path(name)[1..]));
        all.filter(|path| path.exists()).collect()
    }

    fn read(&self, name: &str, controller: &str, file: &str) -> String {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller)).unwrap();
        let path = hierarchy.mount_point().join(&self.path(name)[1..]).join(file);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim()
            .to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for hierarchy in Hierarchies::detect().unwrap().iter() {
            remove_tree(&hierarchy.mount_point().join(&self.top[1..]));
        }
    }
}

fn remove_tree(directory: &std::path::Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path());
    }
    let _ = fs::remove_dir(directory);
}

/// A shell that moved itself into a group and then did what it was told; killed and reaped in the end.
struct Inhabitant(Child);

impl Inhabitant {
    fn spawn(cgroup: &Cgroup, script: &str) -> Inhabitant {
        let enter: String = cgroup
            .directories()
            .iter()
            .map(|(_, directory)| {
                let tasks = directory.join("tasks");
                let file = if tasks.exists() { tasks } else { directory.join("cgroup.procs") };
                format!("echo 0 > {} || exit 99\n", file.display())
            })
            .collect();
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("{enter}echo ready\n{script}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut inhabitant = Inhabitant(child);
        inhabitant.says("ready");
        inhabitant
    }

    /// Waits for the next line of output.
    fn says(&mut self, expected: &str) {
        let mut line = vec![0; expected.len() + 1];
        self.0.stdout.as_mut().unwrap().read_exact(&mut line).expect("the shell still runs");
        assert_eq!(String::from_utf8_lossy(&line).trim_end(), expected);
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn wait(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    fn output(&mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn memory(limit: i64, swap: Option<i64>) -> Resources {
    Resources {
        memory: Some(Memory { limit: Some(limit), swap, ..Memory::default() }),
        ..Resources::default()
    }
}

fn rule(allow: bool, text: &str) -> DeviceRule {
    let (kind, rest) = text.split_once(' ').unwrap();
    let (numbers, access) = rest.split_once(' ').unwrap();
    let (major, minor) = numbers.split_once(':').unwrap();
    DeviceRule {
        allow,
        kind: Some(kind.to_owned()),
        major: major.parse().ok(),
        minor: minor.parse().ok(),
        access: access.to_owned(),
    }
}

#[test]
fn limits_are_read_back_as_they_were_asked_for() {
    let place = Place::everywhere("limits");
    let is_v1 = place.version("memory") == Version::V1;
    let resources = Resources {
        memory: Some(Memory {
            limit: Some(64 * MIB),
            swap: Some(96 * MIB),
            reservation: Some(32 * MIB),
            swappiness: is_v1.then_some(10),
            disable_oom_killer: is_v1.then_some(true),
        }),
        cpu: Some(Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(200_000),
            cpus: "0".to_owned(),
            mems: "0".to_owned(),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: 42 }),
        block_io: Some(BlockIo { weight: Some(300), ..BlockIo::default() }),
        devices: vec![rule(false, "a *:* rwm"), rule(true, "c 1:3 rwm"), rule(true, "b *:* m")],
        ..Resources::default()
    };
    let _cgroup = place.create("all", &resources).unwrap();
    for (controller, file, expected) in if is_v1 { LIMITS_V1 } else { LIMITS_V2 } {
        assert_eq!(place.read("all", controller, file), *expected, "{file}");
    }
}

/// Controller, file, content.
type Content = (&'static str, &'static str, &'static str);

const LIMITS_V1: &[Content] = &[
    ("memory", "memory.limit_in_bytes", "67108864"),
    ("memory", "memory.memsw.limit_in_bytes", "100663296"),
    ("memory", "memory.soft_limit_in_bytes", "33554432"),
    ("memory", "memory.swappiness", "10"),
    ("memory", "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"),
    ("cpu", "cpu.shares", "512"),
    ("cpu", "cpu.cfs_quota_us", "50000"),
    ("cpu", "cpu.cfs_period_us", "200000"),
    ("cpuset", "cpuset.cpus", "0"),
    ("cpuset", "cpuset.mems", "0"),
    ("pids", "pids.max", "42"),
    ("blkio", "blkio.bfq.weight", "300"),
    ("devices", "devices.list", "c 1:3 rwm\nb *:* m"),
];

const LIMITS_V2: &[Content] = &[
    ("memory", "memory.max", "67108864"),
    ("memory", "memory.swap.max", "33554432"),
    ("memory", "memory.low", "33554432"),
    ("cpu", "cpu.weight", "59"),
    ("cpu", "cpu.max", "50000 200000"),
    ("cpuset", "cpuset.cpus", "0"),
    ("cpuset", "cpuset.mems", "0"),
    ("pids", "pids.max", "42"),
    ("io", "io.bfq.weight", "default 300"),
];

#[test]
fn what_version_2_has_no_file_for_is_refused() {
    let place = Place::everywhere("lacking");
    if place.version("memory") == Version::V1 {
        return;
    }
    for memory in [
        Memory { swappiness: Some(10), ..Memory::default() },
        Memory { disable_oom_killer: Some(true), ..Memory::default() },
    ] {
        let resources = Resources { memory: Some(memory), ..Resources::default() };
        let error = place.create("leaf", &resources).unwrap_err();
        assert!(matches!(error, Error::MissingFile { .. }), "{error}");
        assert_eq!(place.directories("leaf"), Vec::<PathBuf>::new());
    }
}

#[test]
fn what_nobody_asked_for_stays_as_the_kernel_made_it() {
    let place = Place::everywhere("untouched");
    let cgroup = place.plain("plain");
    let untouched: &[Content] = match place.version("cpu") {
        Version::V1 => &[
            ("pids", "pids.max", "max"),
            ("cpu", "cpu.cfs_quota_us", "-1"),
            ("devices", "devices.list", "a *:* rwm"),
        ],
        Version::V2 => &[
            ("pids", "pids.max", "max"),
            ("cpu", "cpu.max", "max 100000"),
            ("cpu", "cpu.weight", "100"),
            ("memory", "memory.max", "max"),
        ],
    };
    for (controller, file, expected) in untouched {
        assert_eq!(place.read("plain", controller, file), *expected, "{file}");
    }
    let stats = cgroup.stats().unwrap();
    assert_eq!((stats.memory_limit_bytes, stats.pids_limit, stats.pids, stats.oom_kills), (None, None, 0, 0));
}

#[test]
fn rare_limits_are_in_the_kernels_files() {
    let place = Place::everywhere("rare");
    let resources = Resources {
        cpu: Some(Cpu { idle: Some(1), quota: Some(50_000), burst: Some(20_000), ..Cpu::default() }),
        ..Resources::default()
    };
    let _cgroup = place.create("leaf", &resources).unwrap();
    assert_eq!(place.read("leaf", "cpu", "cpu.idle"), "1");
    assert_eq!(place.read("leaf", "cpu", "cpu.cfs_burst_us"), "20000");
    let network = NetworkResources { class_id: Some(5), ..NetworkResources::default() };
    let error = place.create("marked", &Resources { network: Some(network), ..Resources::default() });
    let error = error.expect_err("this machine has no such controller").to_string();
    assert!(error.contains("no cgroup controller `net_cls`"), "{error}");
}

#[test]
fn impossible_values_are_named_and_leave_nothing_behind() {
    let place = Place::everywhere("wrong");
    let cpu = |cpu: Cpu| Resources { cpu: Some(cpu), ..Resources::default() };
    let unified = |file: &str| Resources {
        unified: [(file.to_owned(), "1".to_owned())].into(),
        ..Resources::default()
    };
    let device = |text: &str| Resources { devices: vec![rule(true, text)], ..Resources::default() };
    let unified_memory = match place.version("memory") {
        Version::V1 => (unified("memory.high"), "no cgroup controller `memory`"),
        Version::V2 => (unified("memory.nonsense"), "memory.nonsense"),
    };
    for (resources, expected, code) in [
        (cpu(Cpu { cpus: "4096".into(), ..Cpu::default() }), "cpuset.cpus", Code::InvalidArgument),
        (cpu(Cpu { cpus: "zero".into(), ..Cpu::default() }), "`zero`", Code::InvalidArgument),
        (cpu(Cpu { mems: "63".into(), ..Cpu::default() }), "cpuset.mems", Code::InvalidArgument),
        (cpu(Cpu { shares: Some(1), ..Cpu::default() }), "CPU shares of 1", Code::InvalidArgument),
        (cpu(Cpu { quota: Some(999), ..Cpu::default() }), "at least 1000", Code::InvalidArgument),
        (cpu(Cpu { quota: Some(-2), ..Cpu::default() }), "CPU quota of -2", Code::InvalidArgument),
        (cpu(Cpu { period: Some(1_000_001), ..Cpu::default() }), "CPU period", Code::InvalidArgument),
        (memory(64 * MIB, Some(32 * MIB)), "swap limit of 33554432", Code::InvalidArgument),
        (memory(-5, None), "memory limit of -5", Code::InvalidArgument),
        (
            Resources {
                block_io: Some(BlockIo { weight: Some(9), ..BlockIo::default() }),
                ..Resources::default()
            },
            "of 9",
            Code::InvalidArgument,
        ),
        (unified_memory.0, unified_memory.1, Code::FailedPrecondition),
        (unified("cgroup.procs"), "cgroup.procs", Code::InvalidArgument),
        (unified("../cpu/x.y"), "unified setting", Code::InvalidArgument),
        (unified("nodot"), "nodot", Code::InvalidArgument),
        (device("x 1:3 rwm"), "allow x 1:3 rwm", Code::InvalidArgument),
        (device("c 1:3 rwx"), "not made of", Code::InvalidArgument),
        (device("c 4294967296:3 rwm"), "out of range", Code::InvalidArgument),
    ] {
        let error = place.create("leaf", &resources).expect_err(expected);
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(error.code(), code, "{text}");
        assert_eq!(place.directories("leaf"), Vec::<PathBuf>::new(), "{text}");
        assert_eq!(place.directories(""), Vec::<PathBuf>::new(), "its parent stayed: {text}");
    }
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    let mut place = Place::everywhere("missing");
    place.hierarchies = place.hierarchies.only(|hierarchy| !hierarchy.has("memory"));
    let error = place.create("leaf", &memory(64 * MIB, None)).unwrap_err();
    assert!(
        matches!(&error, Error::MissingController { controller, .. } if controller == "memory"),
        "{error}"
    );
    assert!(error.to_string().contains("67108864"), "{error}");
    assert_eq!(place.directories("leaf"), Vec::<PathBuf>::new());
}

#[test]
fn a_second_creation_replaces_an_empty_group_and_spares_one_in_use() {
    let place = Place::everywhere("twice");
    let pids = |limit| Resources { pids: Some(Pids { limit }), ..Resources::default() };
    let held = place.create("leaf", &pids(7)).unwrap();
    assert_eq!(place.create("leaf", &pids(8)).unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(place.read("leaf", "pids", "pids.max"), "7");
    drop(held); // As a crash would.
    let cgroup = place.plain("leaf");
    drop(cgroup);
    let cgroup = Cgroup::open(&place.path("leaf")).unwrap();
    assert_eq!(place.read("leaf", "pids", "pids.max"), "max");

    let inhabitant = Inhabitant::spawn(&cgroup, "exec sleep 1000");
    let error = place.create("leaf", &pids(7)).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    assert_eq!(place.read("leaf", "pids", "pids.max"), "max");
    assert_eq!(cgroup.processes().unwrap(), [inhabitant.id()]);
}

#[test]
fn siblings_can_be_made_and_removed_at_the_same_time() {
    let place = Place::everywhere("siblings");
    let come_and_go = &|number: usize| {
        for round in 0..10 {
            let parent = format!("parent/{}", round % 2);
            let name = format!("{parent}/leaf-{number}");
            let cgroup = place.plain(&name);
            assert!(!place.processors(&name).is_empty());
            cgroup.remove().unwrap();
            // As the end of another container of these parents would.
            for directory in [&parent, "parent"].iter().flat_map(|parent| place.directories(parent)) {
                let _ = fs::remove_dir(directory);
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || come_and_go(number));
        }
    });
}

#[test]
fn of_creators_of_one_group_at_the_same_time_one_gets_it_whole() {
    let place = Place::everywhere("rivals");
    for round in 0..10 {
        let name = format!("leaf-{round}");
        let made: Vec<Cgroup> = std::thread::scope(|scope| {
            let rivals: Vec<_> =
                (0..4).map(|_| scope.spawn(|| place.create(&name, &Resources::default()))).collect();
            rivals.into_iter().filter_map(|rival| rival.join().unwrap().ok()).collect()
        });
        assert_eq!(made.len(), 1, "round {round}");
        assert_eq!(place.directories(&name).len(), place.hierarchies.iter().count());
        assert_eq!(made[0].join_fds().unwrap().v2_dir.iter().count(), 1);
        let inhabitant = Inhabitant::spawn(&made[0], "exec sleep 1000");
        assert_eq!(made[0].processes().unwrap(), [inhabitant.id()]);
    }
}

#[test]
fn processors_and_memory_are_inherited_level_by_level() {
    let place = Place::everywhere("cpuset");
    let one = Resources { cpu: Some(Cpu { cpus: "1".to_owned(), ..Cpu::default() }), ..Resources::default() };
    let _parent = place.create("one", &one).unwrap();
    let cgroup = place.plain("one/a/b/c");
    assert_eq!(place.processors("one/a/b/c"), "1");
    if place.version("cpuset") == Version::V1 {
        assert_eq!(place.read("one/a", "cpuset", "cpuset.mems"), "0");
    }
    let inhabitant = Inhabitant::spawn(&cgroup, "exec sleep 1000");
    assert_eq!(cgroup.processes().unwrap(), [inhabitant.id()]);
}

#[test]
fn a_process_enters_through_the_descriptors_that_join_gives() {
    for (version, place) in Place::of_each_version("join") {
        let cgroup = place.plain("leaf");
        let join = cgroup.join_fds().unwrap();
        match version {
            Version::V1 => {
                assert_eq!(join.v1_tasks.len(), place.hierarchies.iter().count());
                assert!(join.v2_dir.is_none());
                enters(&place, join.v1_tasks);
            }
            Version::V2 => {
                let directory = File::from(join.v2_dir.unwrap()).metadata().unwrap();
                assert!(join.v1_tasks.is_empty());
                assert_eq!(directory.ino(), fs::metadata(&place.directories("leaf")[0]).unwrap().ino());
            }
        }
        assert!(Cgroup::open(&place.path("nobody")).is_err());
    }
}

/// A process for each of the descriptors moves itself.
fn enters(place: &Place, v1_tasks: Vec<OwnedFd>) {
    let mut children: Vec<Child> = Vec::new();
    for tasks in v1_tasks {
        assert!(rustix::io::fcntl_getfd(&tasks).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let script = "echo 0 || exit 99; exec sleep 1000 >/dev/null";
        children
            .push(Command::new("/bin/sh").args(["-c", script]).stdout(File::from(tasks)).spawn().unwrap());
    }
    let entered = |directory: &PathBuf| !fs::read_to_string(directory.join("tasks")).unwrap().is_empty();
    for _ in 0..1000 {
        if place.directories("leaf").iter().all(entered) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let all_entered = place.directories("leaf").iter().all(entered);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(all_entered);
}

#[test]
fn a_frozen_group_is_still_and_can_be_thawed_and_killed() {
    for (version, place) in Place::of_each_version("freeze") {
        let cgroup = place.plain("leaf");
        let inhabitant = Inhabitant::spawn(&cgroup, "while :; do :; done");
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap(), "{version:?}");
        let time = || fs::read_to_string(format!("/proc/{}/stat", inhabitant.id())).unwrap();
        let before = time();
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(before, time(), "{version:?}: it ran while frozen");
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        cgroup.kill_all().unwrap();
        assert_eq!(cgroup.processes().unwrap(), Vec::<u32>::new());
        assert!(!inhabitant.wait().success());
        cgroup.remove().unwrap();
    }
}

#[test]
fn a_group_that_forks_all_the_time_is_killed_to_the_last() {
    for (version, place) in Place::of_each_version("forks") {
        let cgroup = match version {
            Version::V1 => place
                .create("leaf", &Resources { pids: Some(Pids { limit: 100 }), ..Resources::default() })
                .unwrap(),
            Version::V2 => place.plain("leaf"),
        };
        let script = "f() { sleep 0.01; }; while :; do f & f & f & f & wait; done";
        let inhabitants: Vec<_> = (0..4).map(|_| Inhabitant::spawn(&cgroup, script)).collect();
        cgroup.kill_all().unwrap();
        assert_eq!(cgroup.processes().unwrap(), Vec::<u32>::new(), "{version:?}");
        drop(inhabitants);
        cgroup.remove().unwrap();
        cgroup.kill_all().unwrap();
    }
}

#[test]
fn a_signal_reaches_every_process() {
    let place = Place::everywhere("signal");
    let cgroup = place.plain("leaf");
    let script = "trap 'exit 7' USR1; echo armed; while :; do sleep 0.01; done";
    let mut inhabitants: Vec<_> = (0..3).map(|_| Inhabitant::spawn(&cgroup, script)).collect();
    inhabitants.iter_mut().for_each(|inhabitant| inhabitant.says("armed"));
    cgroup.signal_all(rustix::process::Signal::USR1.as_raw()).unwrap();
    for inhabitant in inhabitants {
        assert_eq!(inhabitant.wait().code(), Some(7));
    }
}

#[test]
fn a_group_in_use_is_not_removed_and_an_empty_one_is_with_all_below() {
    let place = Place::everywhere("remove");
    let cgroup = place.plain("leaf");
    let nested = place.plain("leaf/made/by-itself");
    let inhabitant = Inhabitant::spawn(&nested, "exec sleep 1000");
    assert_eq!(cgroup.processes().unwrap(), [inhabitant.id()]);
    let error = cgroup.remove().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.to_string().contains("still running"), "{error}");
    assert_eq!(cgroup.processes().unwrap(), [inhabitant.id()]);

    cgroup.kill_all().unwrap();
    cgroup.remove().unwrap();
    assert_eq!(place.directories("leaf"), Vec::<PathBuf>::new());
    cgroup.remove().unwrap();
    assert_eq!(cgroup.processes().unwrap(), Vec::<u32>::new());
    assert!(matches!(Cgroup::open(&place.path("leaf")), Err(Error::NotFound { .. })));
}

#[test]
fn limits_change_up_and_down_in_any_order() {
    const MOST: &str = "9223372036854771712";
    let place = Place::everywhere("update");
    let version = place.version("memory");
    let cgroup = place.create("leaf", &memory(32 * MIB, Some(32 * MIB))).unwrap();
    // v1 counts swap together with the memory, v2 apart.
    for (limit, swap, v1, v2) in [
        (64 * MIB, Some(128 * MIB), ("67108864", "134217728"), ("67108864", "67108864")),
        (16 * MIB, Some(16 * MIB), ("16777216", "16777216"), ("16777216", "0")),
        (8 * MIB, None, ("8388608", "16777216"), ("8388608", "0")),
        (48 * MIB, Some(-1), ("50331648", MOST), ("50331648", "max")),
        (32 * MIB, Some(32 * MIB), ("33554432", "33554432"), ("33554432", "0")),
        (-1, None, (MOST, MOST), ("max", "max")),
    ] {
        cgroup.update(&memory(limit, swap)).unwrap_or_else(|error| panic!("{limit} {swap:?}: {error}"));
        let (files, expected) = match version {
            Version::V1 => (["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"], v1),
            Version::V2 => (["memory.max", "memory.swap.max"], v2),
        };
        let [now, now_swap] = files.map(|file| place.read("leaf", "memory", file));
        assert_eq!((now.as_str(), now_swap.as_str()), expected, "{limit} {swap:?}");
    }
    cgroup.update(&memory(32 * MIB, Some(32 * MIB))).unwrap();
    let more = cgroup.update(&memory(64 * MIB, None));
    match version {
        Version::V1 => assert!(more.unwrap_err().to_string().contains("change both")),
        Version::V2 => more.unwrap(),
    }
    let devices = Resources { devices: vec![rule(true, "c 1:3 r")], ..Resources::default() };
    assert_eq!(cgroup.update(&devices).unwrap_err().code(), Code::Unimplemented);
}

/// v1 refuses it; v2 takes it and kills.
#[test]
fn a_limit_below_what_is_used_is_refused_or_enforced() {
    let place = Place::everywhere("below");
    let cgroup = place.plain("leaf");
    let mut hog = Inhabitant::spawn(
        &cgroup,
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo full; exec sleep 1000 <<E\n$x\nE",
    );
    hog.says("full");
    assert!(cgroup.stats().unwrap().memory_usage_bytes > 20_000_000);
    let updated = cgroup.update(&memory(MIB, None));
    match place.version("memory") {
        Version::V1 => {
            let error = updated.unwrap_err();
            assert!(error.to_string().contains("uses more than that"), "{error}");
            assert!(cgroup.stats().unwrap().memory_usage_bytes > 20_000_000);
        }
        Version::V2 => {
            updated.unwrap();
            assert!(!hog.wait().success());
            assert_eq!(cgroup.oom_kills().unwrap(), 1);
        }
    }
}

#[test]
fn kills_for_lack_of_memory_are_counted() {
    let place = Place::everywhere("oom");
    let cgroup = place.create("leaf", &memory(16 * MIB, Some(16 * MIB))).unwrap();
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    let status =
        Inhabitant::spawn(&cgroup, "head -c 100000000 /dev/zero | tail -c 90000000 | wc -c; exit 3").wait();
    assert!(!status.success());
    assert!(cgroup.oom_kills().unwrap() >= 1);
    assert_eq!(cgroup.stats().unwrap().oom_kills, cgroup.oom_kills().unwrap());
}

#[test]
fn statistics_tell_what_the_processes_use() {
    let place = Place::everywhere("stats");
    let resources = Resources { pids: Some(Pids { limit: 10 }), ..memory(64 * MIB, None) };
    let cgroup = place.create("leaf", &resources).unwrap();
    let mut busy = Inhabitant::spawn(
        &cgroup,
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 1000",
    );
    busy.says("done");
    let stats = cgroup.stats().unwrap();
    assert!(stats.cpu_usage_ns > 1_000_000, "{stats:?}");
    assert!(stats.cpu_user_ns > 0 && stats.memory_usage_bytes > 0, "{stats:?}");
    assert_eq!((stats.pids, stats.pids_limit, stats.memory_limit_bytes), (1, Some(10), Some(64 << 20)));
}

#[test]
fn devices_open_as_their_rules_say() {
    for (version, place) in Place::of_each_version("devices") {
        let mut resources = Resources {
            devices: vec![
                rule(true, "c 1:5 rw"),
                rule(false, "a *:* rwm"),
                rule(true, "c 1:8 rw"),
                rule(true, "c 1:9 rw"),
                rule(false, "c 1:8 rwm"),
                rule(false, "c 1:* w"),
                rule(true, "c 1:5 r"),
                rule(true, "c 1:3 r"),
                rule(true, "c 1:3 w"),
                rule(true, "c 5:* rw"),
                rule(true, "c *:* m"),
            ],
            ..Resources::default()
        };
        let script = "t() { (eval \"$2\") 2>/dev/null && echo \"$1 yes\" || echo \"$1 no\"; }
            t null-rw ': <> /dev/null'; t zero-r ': < /dev/zero'; t zero-w ': > /dev/zero'
            t random-r ': < /dev/random'; t urandom-r ': < /dev/urandom'; t urandom-rw ': <> /dev/urandom'
            t tty-r ': < /dev/ptmx'";
        let expected =
            "null-rw yes\nzero-r yes\nzero-w no\nrandom-r no\nurandom-r yes\nurandom-rw no\ntty-r yes\n";
        let cgroup = place.create("leaf", &resources).unwrap();
        assert_eq!(Inhabitant::spawn(&cgroup, script).output(), expected, "{version:?}");

        // Everything is denied also when no rule says so, and a rule for all devices overrides those before.
        resources.devices = vec![rule(true, "c 1:3 rwm")];
        let cgroup = place.create("closed", &resources).unwrap();
        let opened = Inhabitant::spawn(&cgroup, script).output();
        assert_eq!(opened.matches("yes").count(), 1, "{version:?}: {opened}");
        resources.devices = vec![rule(false, "c 1:3 rwm"), rule(true, "a *:* rwm"), rule(false, "c 1:5 w")];
        let cgroup = place.create("open", &resources).unwrap();
        let opened = Inhabitant::spawn(&cgroup, script).output();
        assert_eq!(opened.replace("zero-w no\n", "").matches(" no").count(), 0, "{version:?}: {opened}");
    }
}
