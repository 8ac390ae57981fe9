//! A door and an engine of its own for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use engine::containers::spec::LogSpec;
use engine::{Config, Engine, FabricConfig};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::client::{self, Answer, Open};

/// How long anything that must happen may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Directories, control groups, an engine, and the socket before it.
pub(crate) struct Door {
    directory: tempfile::TempDir,
    cgroup_parent: String,
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
    engine: std::sync::Arc<Engine>,
}

/// Runs a test with a door that has an image of busybox, and checks that nothing is left.
pub(crate) fn with_busybox(test: impl FnOnce(&Door)) {
    with_door(|door| {
        let tar = std::fs::read(busybox_tar()).unwrap();
        let imported = door.upload("/images/create?fromSrc=-&repo=busybox", &tar);
        assert_eq!(imported.status, 200, "{imported:?}");
        test(door);
    });
}

/// Runs a test with a door that has no images.
pub(crate) fn with_door(test: impl FnOnce(&Door)) {
    let door = Door::open();
    test(&door);
    door.finish();
}

impl Door {
    fn open() -> Door {
        let directory = tempfile::Builder::new().prefix("corten-door-").tempdir().unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup_parent = format!("/corten-test-door-{}-{number}", std::process::id());
        // Bridges and rules are those of a machine of the test's own; every thread that is started from here is there, too.
        linux::unshare::network().unwrap();
        network::link::Links::open().unwrap().raise("lo").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopping) = watch::channel(false);
        let config = Config {
            root: directory.path().join("root"),
            state: directory.path().join("state"),
            cgroup_parent: cgroup_parent.clone(),
            shim: executable("corten-shim"),
            containerd_address: directory.path().join("state/corten.sock"),
            spare_shims: 1,
            log: LogSpec { driver: "json-file".into(), ..LogSpec::default() },
            stop_timeout_s: 10,
            worker: image::WorkerCommand { program: executable("corten"), arguments: vec!["worker".into()] },
            network: FabricConfig::below(
                &directory.path().join("root"),
                &directory.path().join("state"),
                "corten-test",
                executable("corten"),
            ),
            registries: Default::default(),
            cdi_directories: vec![directory.path().join("cdi")],
            restart_interval: engine::RESTART_INTERVAL,
        };
        let socket = directory.path().join("sock");
        let (engine, served) = runtime.block_on(async {
            let engine = Engine::open(config).await.unwrap();
            let listener = UnixListener::bind(socket).unwrap();
            (engine.clone(), tokio::spawn(docker::serve(listener, engine, stopping)))
        });
        Door { directory, cgroup_parent, runtime, stop, served, engine }
    }

    /// Where descriptions of devices are looked for.
    pub(crate) fn cdi_directory(&self) -> PathBuf {
        self.directory.path().join("cdi")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// Where the engine keeps what it keeps.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn send(&self, request: &[u8]) -> Answer {
        client::send(&self.socket(), request)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&client::request("GET", path, None))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send(&client::request("DELETE", path, None))
    }

    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Answer {
        self.send(&client::request("POST", path, body))
    }

    pub(crate) fn upload(&self, path: &str, bytes: &[u8]) -> Answer {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        )
        .into_bytes();
        request.extend(bytes);
        self.send(&request)
    }

    /// Takes a connection over; its status must be 101.
    pub(crate) fn hijack(&self, path: &str, body: Option<&Value>) -> Open {
        let open = client::open(&self.socket(), &client::upgrade(path, body));
        assert_eq!(open.status, 101, "{}", open.head);
        open
    }

    /// Creates a container of `sh -c script`, without network; `more` is merged into the body.
    pub(crate) fn create(&self, name: &str, script: &str, more: Value) -> String {
        let mut body =
            json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}});
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let made = self.post(&format!("/containers/create?name={name}"), Some(&body));
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["Id"].as_str().unwrap().to_owned()
    }

    /// What a container has printed, on both streams.
    pub(crate) fn printed(&self, id: &str) -> String {
        let logs = self.get(&format!("/containers/{id}/logs?stdout=1&stderr=1"));
        client::unframe(&logs.body).into_iter().map(|(_, text)| text).collect()
    }

    /// What a script prints in a container with this `HostConfig`, which is gone afterwards.
    pub(crate) fn output(&self, name: &str, script: &str, mut host: Value) -> String {
        host["NetworkMode"] = json!("none");
        let id = self.create(name, script, json!({"HostConfig": host}));
        self.start(&id);
        self.wait(&id);
        let printed = self.printed(&id);
        assert_eq!(self.delete(&format!("/containers/{id}?force=1")).status, 204);
        printed
    }

    /// Why a container with this `HostConfig` is a bad request.
    pub(crate) fn refused(&self, mut host: Value) -> String {
        host["NetworkMode"] = json!("none");
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": host});
        let answer = self.post("/containers/create", Some(&body));
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.message()
    }

    pub(crate) fn start(&self, id: &str) {
        let started = self.post(&format!("/containers/{id}/start"), None);
        assert_eq!(started.status, 204, "{}", String::from_utf8_lossy(&started.body));
    }

    pub(crate) fn wait(&self, id: &str) -> i64 {
        self.post(&format!("/containers/{id}/wait"), None).json()["StatusCode"].as_i64().unwrap()
    }

    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells the door to close, as the daemon does.
    pub(crate) fn close(&self) {
        self.stop.send_replace(true);
    }

    fn finish(self) {
        if !*self.stop.borrow() {
            let left = self.get("/containers/json?all=1").json();
            for container in left.as_array().unwrap() {
                let id = container["Id"].as_str().unwrap();
                self.delete(&format!("/containers/{id}?force=1&v=1"));
            }
        }
        self.close();
        let Door { directory, cgroup_parent, runtime, served, engine, .. } = self;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, served).await.expect("the door closes").unwrap();
            engine.close().await.unwrap();
        });
        let begin = Instant::now();
        while !names(&directory.path().join("state/shims")).is_empty() {
            assert!(begin.elapsed() < PATIENCE, "shims are left");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(engine);
        runtime.shutdown_timeout(PATIENCE);
        for hierarchy in names(Path::new("/sys/fs/cgroup")) {
            drop(std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(hierarchy).join(&cgroup_parent[1..])));
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).map(|entries| entries.flatten().collect::<Vec<_>>());
    entries.unwrap_or_default().iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn executable(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build -p shim -p corten", path.display());
    path
}

/// One static executable and its links.
pub(crate) fn busybox_tar() -> PathBuf {
    // Made once for all test processes; a rename makes it there whole.
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("door-busybox.tar");
    if !made.exists() {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = r#"
            mkdir -p tree/bin tree/etc tree/tmp tree/proc tree/sys tree/dev
            cp /bin/busybox tree/bin/busybox
            for name in $(/bin/busybox --list); do [ $name = busybox ] || ln -s busybox tree/bin/$name; done
            printf 'root:x:0:0:root:/root:/bin/sh\n' > tree/etc/passwd
            tar -C tree -cf busybox.tar ."#;
        let status = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).status().unwrap();
        assert!(status.success(), "busybox-static and tar are needed");
        std::fs::rename(directory.path().join("busybox.tar"), &made).unwrap();
    }
    made
}
