//! The daemon under the name `containerd`: containerd's command line, configuration, paths and metrics.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oci::digest::Digest;
use prost_types::Any;
use rustix::process::Signal;
use tests::host::{
    Lines, Outcome, PATIENCE, enter_own_network, executable, fixture, path_text, run_with_input, signal,
};
use tests::leaks;
use tests::peers::program;
use toml::{Table, Value};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// In a network of the test's own nobody else has it.
const METRICS: &str = "127.0.0.1:1338";

/// A daemon in folders of its own, started under the name `containerd`.
struct Containerd {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Containerd {
    /// Starts it with a configuration of version 2 that has these keys, too.
    fn start(keys: &str) -> Containerd {
        let mut daemon = Containerd::prepare(keys);
        daemon.run();
        daemon
    }

    fn prepare(keys: &str) -> Containerd {
        enter_own_network();
        let folder = tempfile::Builder::new().prefix("corten-e2e-").tempdir().expect("a folder");
        symlink(executable("corten"), folder.path().join("containerd")).expect("a link");
        let daemon = Containerd { folder, process: None };
        daemon.write("config.toml", &daemon.configured(2, keys));
        daemon
    }

    /// A configuration of that version with the paths of this daemon.
    fn configured(&self, version: u32, keys: &str) -> String {
        let at = |name: &str| path_text(&self.at(name)).to_owned();
        let tables = if keys.starts_with('[') { Some(0) } else { keys.find("\n[") };
        let (top, rest) = keys.split_at(tables.unwrap_or(keys.len()));
        let grpc = if version == 4 { "plugins.'io.containerd.server.v1.grpc'" } else { "grpc" };
        format!(
            "version = {version}\nroot = '{}'\nstate = '{}'\n{top}\n{grpc}.address = '{}'\n{rest}\n",
            at("root"),
            at("state"),
            at("socket")
        )
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cgroup(&self) -> String {
        let digest = Digest::of(self.at("root").as_os_str().as_encoded_bytes());
        format!("/corten-{}", &digest.hex()[..8])
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.at("containerd"));
        command.arg("--config").arg(self.at("config.toml")).args(words);
        command
    }

    /// Runs it to its end.
    fn once(&self, words: &[&str]) -> Outcome {
        run_with_input(self.command(words), b"")
    }

    fn run(&mut self) {
        let command = self.command(&[]);
        self.run_as(command);
    }

    fn run_as(&mut self, mut command: Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.at("log")).expect("a log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(child.expect("the daemon starts"));
        self.until("the daemon answers", || self.ctr(&["version"]).code == 0);
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    fn stop(&mut self, with: Signal) -> std::process::ExitStatus {
        let mut child = self.process.take().expect("it runs");
        signal(child.id(), with);
        child.wait().expect("it ends")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("bin/ctr"));
        command.arg("--address").arg(self.at("socket")).args(words);
        command
    }

    fn ctr(&self, words: &[&str]) -> Outcome {
        run_with_input(self.client(words), b"")
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.ctr(words);
        assert_eq!(outcome.code, 0, "ctr {words:?}: {outcome:?}\n{}", self.log());
        outcome.stdout
    }

    /// A command at the other door.
    fn corten(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(executable("corten"));
        command.env("DOCKER_HOST", format!("unix://{}", path_text(&self.at("state/docker.sock"))));
        command.env_remove("DOCKER_CONFIG").args(words);
        run_with_input(command, b"")
    }

    fn with_busybox(self) -> Containerd {
        let imported = self.corten(&["import", path_text(&fixture("busybox.tar")), "busybox:latest"]);
        assert_eq!(imported.code, 0, "{imported:?}\n{}", self.log());
        self
    }

    /// Starts a container that sleeps, as ctr does.
    fn sleep(&self, id: &str) {
        let cgroup = format!("{}/{id}", self.cgroup());
        self.ok(&["run", "-d", "--cgroup", &cgroup, BUSYBOX, id, "sleep", "1000"]);
    }

    fn remove(&self, id: &str) {
        self.ctr(&["tasks", "rm", "--force", id]);
        self.ok(&["containers", "rm", id]);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            signal(child.id(), Signal::TERM);
            drop(child.wait());
        }
        let started = Instant::now();
        loop {
            let left = leaks::of_host(self.folder.path(), &self.cgroup());
            if left.is_empty() {
                return;
            }
            if thread::panicking() || started.elapsed() > Duration::from_secs(10) {
                leaks::clean_up(self.folder.path(), &self.cgroup());
                assert!(thread::panicking(), "left behind: {left:#?}\n{}", self.log());
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// An answer over HTTP: its status, and what it says.
fn get(method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(METRICS).expect("metrics are served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: x\r\n\r\n").expect("it is asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}

#[test]
fn under_its_name_it_is_a_containerd_that_signals_do_not_surprise() {
    let mut daemon = Containerd::start("").with_busybox();
    let version = daemon.once(&["--version"]).stdout;
    assert!(
        version.starts_with("containerd ") && version.split(' ').nth(2).unwrap().starts_with("v2."),
        "{version}"
    );
    daemon.sleep("box");
    for with in [Signal::HUP, Signal::USR1, Signal::HUP] {
        signal(daemon.pid(), with);
    }
    daemon.until("all signals are told", || daemon.log().matches("SIGHUP changes nothing").count() >= 1);
    assert!(daemon.ok(&["tasks", "ls"]).contains("RUNNING"), "it lives, and so does its container");
    assert!(daemon.at("state/io.containerd.runtime.v2.task/default/box").exists());
    let second = daemon.once(&[]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("another daemon"), "{second:?}");
    assert_eq!(daemon.stop(Signal::KILL).signal(), Some(9));
    daemon.run();
    assert!(daemon.ok(&["tasks", "ls"]).contains("RUNNING"), "the next daemon has it");
    daemon.remove("box");
    assert!(daemon.stop(Signal::TERM).success());
    assert!(!daemon.at("socket").exists(), "its sockets went with it");
}

#[test]
fn every_version_of_the_configuration_starts_the_same_daemon() {
    for version in 1..=4 {
        let mut daemon = Containerd::prepare("");
        let text = daemon.configured(version, "imports = ['more/*.toml']");
        daemon.write(
            "config.toml",
            if version == 1 { text.trim_start_matches("version = 1\n") } else { &text },
        );
        daemon.write("more/a.toml", &format!("version = 4\nroot = '{}'", path_text(&daemon.at("imported"))));
        daemon.run();
        assert!(
            daemon.at("imported/corten.db").exists() || daemon.at("imported").is_dir(),
            "version {version}"
        );
        assert!(!daemon.at("root").exists(), "the import counts");
        assert!(!daemon.log().contains("WARN"), "version {version}: {}", daemon.log());
        assert!(daemon.stop(Signal::TERM).success());
    }
}

#[test]
fn what_is_not_done_is_told_and_what_cannot_be_is_refused() {
    let daemon = Containerd::start(
        "mystery = 1\n[debug]\nlog_trace_id = true\n[proxy_plugins.soci]\ntype = 'snapshot'\naddress = '/s.sock'",
    );
    for words in [
        "`mystery`: no such key; ignored",
        "`debug.log_trace_id`: Corten knows this key of containerd's and does not act upon it",
        "`proxy_plugins`: Corten knows this table of containerd's and does not act upon it",
    ] {
        assert!(daemon.log().contains(words), "{words}: {}", daemon.log());
    }
    let refused = Containerd::prepare("");
    for (keys, words) in [
        ("oom_score = 5000", "`oom_score` is 5000"),
        ("oom_score = 'low'", "`oom_score` must be of type integer"),
        ("[debug]\naddress = '/d.sock'", "is not built"),
        (
            "required_plugins = ['io.containerd.grpc.v1.cri']",
            "the plugin `io.containerd.grpc.v1.cri` is required",
        ),
        ("imports = ['gone.toml']", "gone.toml"),
        ("imports = ['broken.toml']", "broken.toml:2:"),
        ("[metrics]\naddress = 'x'", "`x` is not an address"),
    ] {
        refused.write("broken.toml", "version = 2\n= 3");
        refused.write("config.toml", &refused.configured(2, keys));
        let ended = refused.once(&[]);
        assert_eq!(ended.code, 1, "{keys}: {ended:?}");
        assert!(ended.stderr.contains(words), "{keys}: {ended:?}");
        assert!(!refused.at("root").exists(), "{keys}: nothing was begun");
    }
    let missing =
        Command::new(refused.at("containerd")).args(["--config", "/no/such.toml"]).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such.toml"), "{missing:?}");
}

#[test]
fn a_hook_is_given_what_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    symlink(executable("corten"), folder.path().join("containerd")).unwrap();
    fs::write(folder.path().join("config.json"), r#"{"root":{"path":"rootfs"}}"#).unwrap();
    let bundle = path_text(folder.path());
    let state = format!(r#"{{"id":"one","pid":7,"status":"creating","bundle":"{bundle}"}}"#);
    let hook = |arguments: &[&str], input: &str| {
        let mut command = Command::new(folder.path().join("containerd"));
        command.arg("oci-hook").args(arguments).env("OF", "{{id}}");
        run_with_input(command, input.as_bytes())
    };
    let told = hook(&["--", "/bin/sh", "-c", "echo {{pid}} {{rootfs}} $OF; exit 3"], &state);
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (3, format!("7 {bundle}/rootfs one\n").as_str()),
        "{told:?}"
    );
    for (arguments, input, words) in [
        (&["--"][..], state.as_str(), "needs a program"),
        (&["echo"], "nonsense", "is no state of a container"),
        (&["echo", "{{range .}}"], &state, "`{{range .}}` is not built"),
        (&["/no/such"], &state, "No such file"),
    ] {
        let refused = hook(arguments, input);
        assert!(refused.code != 0 && refused.stderr.contains(words), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn the_daemon_is_in_the_cgroup_that_it_is_told() {
    let group = format!("corten-e2e-{}/own", std::process::id());
    let groups = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let is_in = |pid: u32| groups(pid).lines().filter(|line| line.ends_with(&format!(":/{group}"))).count();
    let keys = format!("[cgroup]\npath = '{group}'");
    let daemon = Containerd::start(&keys).with_busybox();
    assert!(is_in(daemon.pid()) > 0, "{}", groups(daemon.pid()));
    assert_eq!(is_in(daemon.pid()), groups(daemon.pid()).lines().count(), "{}", groups(daemon.pid()));
    let inside = daemon.corten(&[
        "run",
        "--rm",
        "--net",
        "none",
        "--cgroupns",
        "host",
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ]);
    assert_eq!((inside.code, inside.stdout.contains(&group)), (0, false), "containers are not: {inside:?}");
    // It is there already for the next one.
    drop(daemon);
    let daemon = Containerd::start(&keys);
    assert!(is_in(daemon.pid()) > 0, "{}", groups(daemon.pid()));
    drop(daemon);
    let (parent, _) = group.split_once('/').unwrap();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        // Where the group is not, there is nothing to remove.
        drop(fs::remove_dir(hierarchy.path().join(&group)));
        drop(fs::remove_dir(hierarchy.path().join(parent)));
    }
}

#[test]
fn the_score_for_the_oom_killer_is_the_daemons_alone() {
    let score =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().to_owned();
    let daemon = Containerd::start("oom_score = 321").with_busybox();
    assert_eq!(score(daemon.pid()), "321");
    let inside =
        daemon.corten(&["run", "--rm", "--net", "none", "busybox", "cat", "/proc/self/oom_score_adj"]);
    assert_eq!(inside.stdout.trim(), "0", "{inside:?}");
    drop(daemon);
    let mut daemon = Containerd::prepare("oom_score = -321");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_resource", "--"]).arg(daemon.at("containerd"));
    command.arg("--config").arg(daemon.at("config.toml"));
    daemon.run_as(command);
    assert_ne!(score(daemon.pid()), "-321");
    assert!(daemon.log().contains("does not let the daemon have this `oom_score`"), "{}", daemon.log());
}

#[test]
fn the_socket_is_its_owners() {
    let daemon = Containerd::prepare("");
    daemon.write(
        "config.toml",
        &daemon
            .configured(2, "")
            .replace(path_text(&daemon.at("socket")), path_text(&daemon.at("state/c.sock"))),
    );
    let mut daemon = daemon;
    let text = fs::read_to_string(daemon.at("config.toml")).unwrap();
    daemon.write(
        "config.toml",
        &format!(
            "{text}grpc.gid = 12\nttrpc.address = '{}'\nttrpc.uid = 13\n",
            path_text(&daemon.at("other/t.sock"))
        ),
    );
    symlink(daemon.at("state/c.sock"), daemon.at("socket")).unwrap();
    daemon.run();
    let of = |name: &str| {
        let found = fs::metadata(daemon.at(name)).unwrap();
        (found.mode() & 0o777, found.uid(), found.gid())
    };
    assert_eq!(of("state/c.sock"), (0o660, 0, 12));
    assert_eq!(of("state/c.sock.ttrpc"), (0o660, 0, 12));
    assert_eq!(of("other/t.sock"), (0o660, 13, 0));
    assert_eq!(of("state").0, 0o711, "its owner comes through");
    for name in ["state/bundles", "state/shims", "state/docker.sock"] {
        assert_eq!(of(name).0 & 0o077, 0, "{name} is closed");
    }
}

#[test]
fn a_plugin_that_is_disabled_is_not_there() {
    let daemon = Containerd::start(
        "disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.grpc.v1.leases', 'io.containerd.content.v1.content']",
    );
    let listed = daemon.ok(&["plugins", "ls"]);
    let has =
        |kind: &str, id: &str| listed.lines().any(|line| line.split_whitespace().take(2).eq([kind, id]));
    assert!(!has("io.containerd.grpc.v1", "leases"), "{listed}");
    assert!(has("io.containerd.content.v1", "content"), "{listed}");
    let refused = daemon.ctr(&["leases", "ls"]);
    assert!(refused.stderr.contains("unknown service containerd.services.leases.v1.Leases"), "{refused:?}");
    daemon.ok(&["namespaces", "ls"]);
    assert!(daemon.log().contains("`io.containerd.content.v1.content` is a part of the daemon and stays"));
}

#[test]
fn an_event_is_published_as_shims_do_it() {
    let daemon = Containerd::start("");
    let event = Any { type_url: "containerd.events.TaskOOM".into(), value: vec![10, 3, b'b', b'o', b'x'] };
    let bytes = prost_bytes(&event);
    let socket = daemon.at("socket");
    let publish = |before: &[&str], topic: &str, input: &[u8]| {
        let mut command = Command::new(executable("corten"));
        command.args(before).args(["--address", path_text(&socket), "publish", "--topic", topic]);
        command.args(["--namespace", "default"]);
        run_with_input(command, input)
    };
    let heard = first_event(&daemon, || publish(&["containerd"], "/tasks/oom", &bytes).code == 0);
    assert!(heard.contains(" default /tasks/oom ") && heard.contains("box"), "{heard}");
    assert_eq!(publish(&[], "/tasks/oom", &bytes).code, 0, "the name that shims are given");
    for (topic, input, words) in [
        ("no-slash", bytes.as_slice(), "topic"),
        ("/tasks/oom", b"rubbish".as_slice(), "standard input is no event"),
    ] {
        let refused = publish(&["containerd"], topic, input);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}

/// The first event that a client hears while `tell` makes some. Who listens is there when the daemon has taken its call; what was told
/// before goes unheard.
fn first_event(daemon: &Containerd, tell: impl Fn() -> bool) -> String {
    let mut events = Lines::of(daemon.client(&["events"]));
    let pid = events.pid();
    let heard = thread::scope(|scope| {
        let line = scope.spawn(|| events.next_line());
        while !line.is_finished() && tell() {
            thread::sleep(Duration::from_millis(20));
        }
        // Of one that heard nothing, because nothing could be told, this is the end.
        signal(pid, Signal::KILL);
        line.join().expect("it is read")
    });
    events.finish();
    heard.expect("an event")
}

/// A message on the wire: two fields with lengths that fit into a byte.
fn prost_bytes(event: &Any) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, content) in [(10, event.type_url.as_bytes()), (18, event.value.as_slice())] {
        bytes.extend([tag, u8::try_from(content.len()).expect("short")]);
        bytes.extend(content);
    }
    bytes
}

/// What of a task containerd 1.6 tells and its message here has no field for.
const MORE_OF_THEIRS: [&str; 3] =
    ["container_memory_swap_", "container_memory_kernel_", "container_memory_kerneltcp_"];

#[test]
fn metrics_have_containerds_names() {
    let daemon = Containerd::start(&format!("[metrics]\naddress = '{METRICS}'")).with_busybox();
    daemon.sleep("box");
    assert_ne!(daemon.ctr(&["containers", "info", "nobody"]).code, 0);
    let (status, ours) = get("GET", "/v1/metrics");
    assert_eq!(status, 200);
    let ok = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Create\",grpc_service=\"containerd.services.tasks.v1.Tasks\",grpc_type=\"unary\"} 1";
    let missing = "grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"Get\",grpc_service=\"containerd.services.containers.v1.Containers\",grpc_type=\"unary\"} 1";
    for line in [ok, missing] {
        assert!(ours.lines().any(|one| one == line), "{line} in {ours}");
    }
    let labels = "container_id=\"box\",namespace=\"default\",runtime=\"io.containerd.runc.v2\"";
    assert!(ours.contains(&format!("container_pids_current{{{labels}}} 1\n")), "{ours}");
    assert!(ours.contains("containerd_build_info_total{revision=\"\",version=\"v2."), "{ours}");
    assert_eq!(get("GET", "/").0, 404);
    assert_eq!(get("POST", "/v1/metrics").0, 405);
    daemon.remove("box");
    assert!(!get("GET", "/v1/metrics").1.contains("container_pids"), "it went with its task");
    drop(daemon);

    let theirs = theirs();
    let names = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let wanted = |line: &&str| {
            ["container_", "process_", "containerd_build", "grpc_server_"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        lines.filter(wanted).map(str::to_owned).collect()
    };
    let (ours, theirs) = (names(&ours), names(&theirs));
    let extra: Vec<_> = ours.difference(&theirs).filter(|name| !name.contains("blkio")).collect();
    assert!(extra.is_empty(), "{extra:?} are not containerd's");
    let lacking: Vec<_> = theirs
        .difference(&ours)
        .filter(|name| !MORE_OF_THEIRS.iter().any(|more| name.starts_with(more)))
        .filter(|name| !name.starts_with("grpc_server_msg_") && !name.contains("blkio"))
        .collect();
    assert!(lacking.is_empty(), "{lacking:?} are missing");
}

/// What Debian's containerd tells while a container runs.
fn theirs() -> String {
    let metrics = format!("[metrics]\naddress = '{METRICS}'");
    let daemon = tests::containerd::Containerd::start(Path::new("containerd"), &metrics);
    let rootfs = path_text(&daemon.path().join("rootfs")).to_owned();
    fs::create_dir(&rootfs).expect("a folder");
    let unpacked = Command::new("tar").args(["-C", &rootfs, "-xf"]).arg(fixture("busybox.tar")).status();
    assert!(unpacked.expect("tar is installed").success());
    let ctr = |words: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(daemon.socket()).args(words);
        run_with_input(command, b"")
    };
    let cgroup = format!("{}/box", daemon.cgroup());
    let run =
        ctr(&["run", "-d", "--rootfs", "--cgroup", &cgroup, &rootfs, "box", "/bin/busybox", "sleep", "1000"]);
    let told = get("GET", "/v1/metrics").1;
    ctr(&["tasks", "rm", "--force", "box"]);
    ctr(&["containers", "rm", "box"]);
    assert_eq!(run.code, 0, "{run:?}");
    told
}

/// What differs from containerd 2.1's own idea of a configuration, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    // Keys of containerd 2.2 to 2.4, which version 4 belongs to.
    ("debug.log_trace_id", "2.4"),
    ("plugins.io.containerd.server.v1.grpc-tcp.tls_common_name", "2.4"),
    ("plugins.io.containerd.server.v1.grpc-tcp.max_recv_message_size", "2.4: each server has its own"),
    ("plugins.io.containerd.server.v1.grpc-tcp.max_send_message_size", "2.4: each server has its own"),
    ("plugins.io.containerd.cri.v1.runtime.stats_collect_period", "2.4"),
    ("plugins.io.containerd.cri.v1.runtime.stats_retention_period", "2.4"),
    ("plugins.io.containerd.cri.v1.runtime.enable_criu", "2.4"),
    ("plugins.io.containerd.cri.v1.runtime.containerd.runtimes.runc.disable_pause_image_pull", "2.4"),
    ("plugins.io.containerd.cri.v1.runtime.containerd.runtimes.kata.disable_pause_image_pull", "2.4"),
    ("plugins.io.containerd.differ.v1.erofs.enable_tar_index", "2.4"),
    ("plugins.io.containerd.differ.v1.erofs.enable_dmverity", "2.4"),
    ("plugins.io.containerd.shim.v1.manager.socket_dir", "2.4"),
    ("plugins.io.containerd.snapshotter.v1.erofs.default_size", "2.4"),
    ("plugins.io.containerd.snapshotter.v1.erofs.dmverity_mode", "2.4"),
    ("plugins.io.containerd.snapshotter.v1.zfs.root_path", "Debian builds without it"),
    (
        "plugins.io.containerd.snapshotter.v1.btrfs",
        "containerd neither migrates nor prints a plugin that is disabled",
    ),
    (
        "plugins.io.containerd.monitor.v1.cgroups",
        "of version 1, it stays under a name that nothing reads any more",
    ),
    // Others of Corten's.
    ("stream_processors", "no program that decrypts is run"),
    ("proxy_plugins", "as they were written, without empty keys"),
];

/// The names of all keys, with those of version 3 where version 4 has them.
fn keys(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect("", &text.parse::<Table>().unwrap_or_else(|error| panic!("{error}: {text}")), &mut found);
    let server = |name: &str, rest: &str| format!("plugins.io.containerd.server.v1.{name}.{rest}");
    found
        .into_iter()
        .map(|key| match key.split_once('.') {
            Some(("grpc", rest)) => match rest.strip_prefix("tcp_") {
                Some(rest) => server("grpc-tcp", rest),
                None => server("grpc", rest),
            },
            Some(("metrics", "grpc_histogram")) => {
                "plugins.io.containerd.metrics.v1.grpc-prometheus.grpc_histogram".into()
            }
            Some((name @ ("ttrpc" | "metrics"), rest)) => server(name, rest),
            Some(("debug", rest @ ("address" | "uid" | "gid"))) => server("debug", rest),
            _ => key,
        })
        .collect()
}

fn collect(path: &str, table: &Table, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Table(inner) => collect(&full, inner, found),
            _ => drop(found.insert(full)),
        }
    }
}

#[test]
fn a_configuration_has_the_keys_that_containerd_gives_it() {
    let daemon = Containerd::prepare("");
    let second = "version = 2
        root = '/r'
        oom_score = 7
        disabled_plugins = ['io.containerd.snapshotter.v1.btrfs']
        [grpc]
        address = '/g.sock'
        tcp_address = '127.0.0.1:1'
        [metrics]
        address = '127.0.0.1:2'
        [plugins.'io.containerd.grpc.v1.cri']
        sandbox_image = 'pause:1'
        enable_selinux = true
        stream_server_port = '9'
        systemd_cgroup = true
        [plugins.'io.containerd.grpc.v1.cri'.cni]
        bin_dir = '/cni'
        [plugins.'io.containerd.grpc.v1.cri'.containerd]
        snapshotter = 'native'
        [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata]
        runtime_type = 'io.containerd.kata.v2'
        sandbox_mode = 'shim'
        [plugins.'io.containerd.grpc.v1.cri'.registry]
        config_path = '/certs'
        [plugins.'io.containerd.internal.v1.restart']
        interval = '3s'
        [plugins.'io.containerd.monitor.v1.cgroups']
        no_prometheus = true
        [timeouts]
        'io.containerd.timeout.own' = '1s'";
    let first = "disabled_plugins = ['btrfs']
        [plugins.cri]
        sandbox_image = 'pause:1'
        [plugins.cgroups]
        no_prometheus = true
        [plugins.scheduler]
        pause_threshold = 0.1
        [plugins.opt]
        path = '/opt'
        [plugins.mine]
        a = 1";
    let third = "version = 3
        imports = []
        [plugins.'io.containerd.cri.v1.images'.registry]
        config_path = '/certs'
        [plugins.'io.containerd.transfer.v1.local']
        config_path = '/certs'
        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]
        runtime_type = 'io.containerd.kata.v2'
        [proxy_plugins.soci]
        type = 'snapshot'
        address = '/s.sock'";
    for (name, text) in [("empty", "version = 2"), ("first", first), ("second", second), ("third", third)] {
        daemon.write("config.toml", text);
        for command in ["migrate", "dump"] {
            let ours = daemon.once(&["config", command]);
            let theirs = Command::new(program("libexec/containerd"))
                .arg("--config")
                .arg(daemon.at("config.toml"))
                .args(["config", command])
                .output()
                .unwrap();
            assert!(ours.code == 0 && theirs.status.success(), "{ours:?} {theirs:?}");
            compare(&format!("{name} {command}"), &ours.stdout, &String::from_utf8_lossy(&theirs.stdout));
        }
    }
}

fn compare(what: &str, ours: &str, theirs: &str) {
    let (ours, theirs) = (keys(ours), keys(theirs));
    let unexplained: Vec<_> = ours
        .symmetric_difference(&theirs)
        .filter(|key| !DIFFERENCES.iter().any(|(prefix, _)| key.starts_with(prefix)))
        .collect();
    assert!(unexplained.is_empty(), "{what}: {unexplained:#?}");
}

#[test]
fn the_printed_default_starts_a_daemon_without_a_word() {
    let mut daemon = Containerd::prepare("");
    let printed = daemon.once(&["config", "default"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let at = |name: &str| path_text(&daemon.at(name)).to_owned();
    let text = printed.stdout;
    let text = text
        .replace("'/run/containerd/containerd.sock'", &format!("'{}'", at("socket")))
        .replace("'/run/containerd'", &format!("'{}'", at("state")))
        .replace("'/var/lib/containerd'", &format!("'{}'", at("root")))
        .replace("'/etc/containerd/conf.d/*.toml'", &format!("'{}'", at("conf.d/*.toml")));
    daemon.write("config.toml", &text);
    assert_eq!(daemon.once(&["config", "dump"]).stdout, text, "what is printed is what is read");
    daemon.run();
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

/// Shows that a plugin does what it stands for; whether anything is known of it.
fn shown(daemon: &Containerd, kind: &str, id: &str) -> bool {
    shown_of_stored(daemon, kind, id) || shown_of_others(daemon, kind, id)
}

fn shown_of_stored(daemon: &Containerd, kind: &str, id: &str) -> bool {
    let archive = path_text(&daemon.at("image.tar")).to_owned();
    match (kind, id) {
        ("io.containerd.snapshotter.v1", name) => {
            let snapshots =
                |words: &[&str]| daemon.ok(&[&["snapshots", "--snapshotter", name], words].concat());
            snapshots(&["prepare", "made"]);
            snapshots(&["commit", "kept", "made"]);
            assert!(snapshots(&["ls"]).contains("kept"));
            snapshots(&["rm", "kept"]);
        }
        ("io.containerd.grpc.v1", "snapshots") => drop(daemon.ok(&["snapshots", "usage"])),
        ("io.containerd.content.v1" | "io.containerd.grpc.v1", "content") => {
            let digest =
                daemon.ok(&["content", "ls", "-q"]).lines().next().expect("an image has content").to_owned();
            assert!(!daemon.ok(&["content", "get", &digest]).is_empty());
        }
        ("io.containerd.streaming.v1", "manager")
        | ("io.containerd.transfer.v1", "local")
        | ("io.containerd.grpc.v1", "streaming" | "transfer") => {
            daemon.ok(&["images", "export", &archive, BUSYBOX]);
            daemon.ok(&["-n", "moved", "images", "import", &archive]);
            daemon.ok(&["-n", "moved", "images", "rm", "--sync", BUSYBOX]);
        }
        ("io.containerd.grpc.v1", "diff") | ("io.containerd.differ.v1", "walking") => {
            daemon.ok(&["snapshots", "prepare", "base"]);
            daemon.ok(&["snapshots", "commit", "based", "base"]);
            daemon.ok(&["snapshots", "prepare", "top", "based"]);
            assert!(!daemon.ok(&["snapshots", "diff", "top"]).is_empty());
            daemon.ok(&["snapshots", "rm", "top"]);
            daemon.ok(&["snapshots", "rm", "based"]);
        }
        ("io.containerd.grpc.v1", "images") => {
            daemon.ok(&["images", "label", BUSYBOX, "seen=yes"]);
            assert!(daemon.ok(&["images", "ls", "labels.seen==yes"]).contains(BUSYBOX));
        }
        _ => return false,
    }
    true
}

fn shown_of_others(daemon: &Containerd, kind: &str, id: &str) -> bool {
    match (kind, id) {
        ("io.containerd.event.v1", "exchange") | ("io.containerd.grpc.v1", "events") => {
            let heard = first_event(daemon, || {
                let create = daemon.ctr(&["namespaces", "create", "seen"]);
                create.code == 0 && daemon.ctr(&["namespaces", "rm", "seen"]).code == 0
            });
            assert!(heard.contains("/namespaces/"), "{heard}");
        }
        ("io.containerd.grpc.v1", "containers") => {
            daemon.ok(&["containers", "create", BUSYBOX, "made", "true"]);
            assert_eq!(daemon.ok(&["containers", "ls", "-q"]).trim(), "made");
            daemon.ok(&["containers", "rm", "made"]);
        }
        ("io.containerd.grpc.v1", "healthcheck") => healthy(&daemon.at("socket")),
        ("io.containerd.grpc.v1", "introspection") => assert!(daemon.ok(&["info"]).contains("uuid")),
        ("io.containerd.grpc.v1", "leases") | ("io.containerd.lease.v1", "manager") => {
            daemon.ok(&["leases", "create", "--id", "held"]);
            assert!(daemon.ok(&["leases", "ls", "-q"]).contains("held"));
            daemon.ok(&["leases", "rm", "held"]);
        }
        ("io.containerd.grpc.v1", "namespaces") => {
            daemon.ok(&["namespaces", "create", "own", "a=b"]);
            assert!(daemon.ok(&["namespaces", "ls"]).contains("a=b"));
            daemon.ok(&["namespaces", "rm", "own"]);
        }
        ("io.containerd.grpc.v1", "sandboxes" | "sandbox-controllers")
        | ("io.containerd.sandbox.controller.v1", "shim") => {
            let document = daemon.at("pod.json");
            std::fs::write(&document, r#"{"ociVersion":"1.0.2","hostname":"pod"}"#).expect("it is written");
            daemon.ok(&["sandboxes", "run", path_text(&document), "pod"]);
            assert!(daemon.ok(&["sandboxes", "ls"]).contains("pod"));
            daemon.ok(&["sandboxes", "rm", "--force", "pod"]);
        }
        ("io.containerd.monitor.container.v1", "restart") => restarts(daemon),
        ("io.containerd.grpc.v1", "tasks") | ("io.containerd.runtime.v2", "task") => {
            let cgroup = format!("{}/ran", daemon.cgroup());
            let run = daemon.ok(&["run", "--rm", "--cgroup", &cgroup, BUSYBOX, "ran", "echo", "inside"]);
            assert_eq!(run.trim(), "inside");
        }
        ("io.containerd.grpc.v1", "version") => assert!(daemon.ok(&["version"]).contains("Server:")),
        _ => return false,
    }
    true
}

/// A container whose label says that it runs is started.
fn restarts(daemon: &Containerd) {
    let label = "containerd.io/restart.status";
    let cgroup = format!("{}/watched", daemon.cgroup());
    let running = format!("{label}=running");
    let create = ["run", "-d", "--cgroup", &cgroup, "--label", &running, BUSYBOX, "watched", "sleep", "1000"];
    daemon.ok(&create);
    let pid = || {
        let tasks = daemon.ok(&["tasks", "ls"]);
        let is_it = |line: &&str| line.starts_with("watched ") && line.ends_with("RUNNING");
        tasks.lines().find(is_it).map(str::to_owned)
    };
    let before = pid();
    daemon.ok(&["tasks", "kill", "-s", "KILL", "watched"]);
    let started = std::time::Instant::now();
    while pid().is_none() || pid() == before {
        assert!(started.elapsed() < tests::host::PATIENCE, "it is started again");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    daemon.ok(&["containers", "label", "watched", &format!("{label}=stopped")]);
    daemon.ctr(&["tasks", "rm", "--force", "watched"]);
    daemon.ok(&["containers", "rm", "watched"]);
}

/// Asks for the health as supervisors do.
fn healthy(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = runtime.block_on(async {
        let address = format!("unix:{}", socket.display());
        let channel = tonic::transport::Endpoint::from_shared(address).expect("an address").connect().await;
        let mut client = grpc::health::health_client::HealthClient::new(channel.expect("the door is open"));
        client.check(grpc::health::HealthCheckRequest::default()).await.expect("it answers").into_inner()
    });
    assert_eq!(answer.status, 1, "it serves");
}

#[test]
fn every_plugin_that_is_listed_does_what_it_says() {
    let daemon = Containerd::start("").with_busybox();
    let listed = daemon.ok(&["plugins", "ls"]);
    let mut count = 0;
    for line in listed.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, id, _, status] = words[..] else { panic!("{line}") };
        assert_eq!(status, "ok", "{line}");
        assert!(shown(&daemon, kind, id), "nothing shows that {kind}.{id} works");
        count += 1;
    }
    assert!(count >= 20, "{listed}");
}
