//! An engine of its own for each test, with an image of busybox.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::containers::spec::LogSpec;
use engine::containers::{AttachOptions, ContainerSpec, Exit, RemoveOptions, WaitCondition};
use engine::images::ImportOptions;
use engine::{Config, Engine, FabricConfig, Namespace, Scope};
use tokio::io::AsyncReadExt;

/// How long anything that must happen may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Directories, control groups and, during a phase, an engine.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    cgroup_parent: String,
    engine: Option<Arc<Engine>>,
}

/// Runs a test with an engine that has an image of busybox, and checks that nothing is left.
pub(crate) fn with_host(test: impl AsyncFnOnce(&Host)) {
    let mut host = Host::new();
    host.phase(test);
    host.finish();
}

impl Host {
    pub(crate) fn new() -> Host {
        // Bridges and rules are those of a machine of the test's own; every thread that is started from here is there, too.
        linux::unshare::network().unwrap();
        let directory = tempfile::Builder::new().prefix("corten-engine-").tempdir().unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup_parent = format!("/corten-test-engine-{}-{number}", std::process::id());
        let mut host = Host { directory, cgroup_parent, engine: None };
        host.phase(async |host| {
            let tar = File::open(busybox_tar()).unwrap();
            let options = ImportOptions { reference: Some("busybox".into()), ..ImportOptions::default() };
            host.engine().images().import(tar.into(), options).await.unwrap();
        });
        host
    }

    /// An engine opens, does something, and is killed: its tasks end where they are.
    pub(crate) fn phase(&mut self, work: impl AsyncFnOnce(&Host)) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            self.engine = Some(Engine::open(self.config()).await.unwrap());
            work(self).await;
        });
        runtime.shutdown_timeout(PATIENCE);
        let engine = self.engine.take().unwrap();
        Arc::into_inner(engine).expect("nobody else has the engine any more");
    }

    /// The engine as the namespace `default` sees it.
    pub(crate) fn engine(&self) -> Scope {
        self.opened().within(Namespace::default())
    }

    pub(crate) fn opened(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    fn config(&self) -> Config {
        Config {
            root: self.root(),
            state: self.state(),
            cgroup_parent: self.cgroup_parent.clone(),
            shim: executable("corten-shim"),
            containerd_address: self.state().join("corten.sock"),
            spare_shims: 1,
            log: LogSpec::default(),
            stop_timeout_s: 10,
            worker: image::WorkerCommand { program: executable("corten"), arguments: vec!["worker".into()] },
            network: FabricConfig::below(&self.root(), &self.state(), "corten-test", executable("corten")),
            registries: Default::default(),
            cdi_directories: vec![self.directory.path().join("cdi")],
            restart_interval: engine::RESTART_INTERVAL,
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn cgroup_parent(&self) -> &str {
        &self.cgroup_parent
    }

    /// The parent of all control groups, in every hierarchy that has it.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = names(root).into_iter().map(|name| root.join(name)).chain([root.to_owned()]);
        let groups = hierarchies.map(|hierarchy| hierarchy.join(&self.cgroup_parent[1..]));
        groups.filter(|group| group.is_dir()).collect()
    }

    pub(crate) async fn create(&self, name: &str, script: &str) -> String {
        self.create_with(name, script, |_| {}).await
    }

    pub(crate) async fn create_with(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> String {
        let mut spec = shell(script);
        change(&mut spec);
        self.engine().containers().create(Some(name), spec).await.unwrap().id
    }

    pub(crate) async fn run(&self, name: &str, script: &str) -> String {
        let id = self.create(name, script).await;
        assert!(self.engine().containers().start(&id).await.unwrap());
        id
    }

    pub(crate) async fn wait(&self, container: &str, condition: WaitCondition) -> Exit {
        let exit = self.engine().containers().wait(container, condition).await.unwrap();
        tokio::time::timeout(PATIENCE, exit).await.unwrap()
    }

    /// Creates, attaches, starts; what it printed (stdout and stderr as Docker's frames, unpacked) and its exit.
    pub(crate) async fn output(
        &self,
        script: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> (String, Exit) {
        let containers = self.engine().containers();
        let mut spec = shell(script);
        spec.auto_remove = true;
        change(&mut spec);
        let id = containers.create(None, spec).await.unwrap().id;
        let options = AttachOptions { stdin: false, stdout: true, stderr: true };
        let mut stream = containers.attach(&id, options).await.unwrap();
        let exit = containers.wait(&id, WaitCondition::Removed).await.unwrap();
        containers.start(&id).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        (unframe(&bytes), tokio::time::timeout(PATIENCE, exit).await.unwrap())
    }

    pub(crate) async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let begin = std::time::Instant::now();
        while !condition().await {
            assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Removes all containers, closes the engine and looks for what is left.
    pub(crate) fn finish(mut self) {
        self.phase(async |host| {
            let containers = host.engine().containers();
            let filter = engine::containers::ListFilter { all: true, ..Default::default() };
            for container in containers.list(&filter).await.unwrap() {
                // One with `--rm` may be going by itself.
                drop(containers.remove(&container.id, RemoveOptions { force: true, volumes: true }).await);
            }
            host.until("bundles and containers are gone", async || {
                names(&host.state().join("bundles")).is_empty()
                    && names(&host.root().join("containers")).is_empty()
            })
            .await;
            host.opened().close().await.unwrap();
            host.until("no shim is left", async || names(&host.state().join("shims")).is_empty()).await;
        });
        assert_eq!(names(&self.state().join("intents")), Vec::<String>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.directory.path().to_str().unwrap()), "{mounts}");
        for group in self.cgroups() {
            let left: Vec<_> = names(&group).into_iter().filter(|name| group.join(name).is_dir()).collect();
            assert_eq!(left, Vec::<String>::new(), "{}", group.display());
            drop(std::fs::remove_dir(&group));
        }
    }
}

/// A test that failed left its containers: they are ended, roughly.
impl Drop for Host {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let own = self.directory.path().to_str().unwrap_or_default().to_owned();
        let is_own_shim = |pid: &String| {
            let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            pid.bytes().all(|byte| byte.is_ascii_digit()) && arguments.contains(&own)
        };
        let mut pids: Vec<String> = names(Path::new("/proc")).into_iter().filter(is_own_shim).collect();
        let groups: Vec<PathBuf> = self
            .cgroups()
            .into_iter()
            .flat_map(|group| names(&group).into_iter().map(move |name| group.join(name)))
            .filter(|group| group.is_dir())
            .collect();
        for group in &groups {
            let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            pids.extend(members.lines().map(str::to_owned));
        }
        for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            // It may have gone with another one.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(200));
        groups.iter().chain(&self.cgroups()).for_each(|group| drop(std::fs::remove_dir(group)));
        for bundle in names(&self.state().join("bundles")) {
            let shm = self.state().join("bundles").join(bundle).join("shm");
            let _ = rustix::mount::unmount(&shm, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

pub(crate) fn shell(script: &str) -> ContainerSpec {
    ContainerSpec {
        image: "busybox".into(),
        command: Some(["sh", "-c", script].map(str::to_owned).into()),
        log: LogSpec::default(),
        ..ContainerSpec::default()
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).map(|entries| entries.flatten().collect::<Vec<_>>());
    entries.unwrap_or_default().iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The texts in Docker's frames.
pub(crate) fn unframe(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        text.push_str(&String::from_utf8_lossy(&rest[..length]));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    text
}

fn executable(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build -p shim -p corten", path.display());
    path
}

/// One static executable, its links, and some users.
fn busybox_tar() -> PathBuf {
    // Made once for all test processes; a rename makes it there whole.
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-busybox.tar");
    if !made.exists() {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = r#"
            mkdir -p tree/bin tree/etc tree/tmp tree/proc tree/sys tree/dev tree/root tree/seed/deep
            cp /bin/busybox tree/bin/busybox
            for name in $(/bin/busybox --list); do [ $name = busybox ] || ln -s busybox tree/bin/$name; done
            printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n' > tree/etc/passwd
            printf 'root:x:0:\nwww:x:33:\naudio:x:29:www\n' > tree/etc/group
            echo grain > tree/seed/deep/file
            tar -C tree -cf busybox.tar ."#;
        let status = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).status().unwrap();
        assert!(status.success(), "busybox-static and tar are needed");
        std::fs::rename(directory.path().join("busybox.tar"), &made).unwrap();
    }
    made
}
