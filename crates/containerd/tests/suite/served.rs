//! What a test asks.

use std::path::PathBuf;
use std::sync::Arc;

use containerd::Door;
use engine::containers::spec::LogSpec;
use engine::{Config, Engine, FabricConfig};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A door before an engine of its own.
pub(crate) struct Served {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) async fn open() -> Served {
        let directory = tempfile::Builder::new().prefix("corten-test-containerd-").tempdir().unwrap();
        Served::within(directory).await
    }

    /// Ends it, and opens another one on the same directories.
    pub(crate) async fn again(self) -> Served {
        let Served { directory, engine, stop, served } = self;
        stop.send_replace(true);
        served.await.unwrap();
        engine.close().await.unwrap();
        // Who serves a connection notices by and by that it is cut; its clients are gone, or this never ends.
        while Arc::strong_count(&engine) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        drop(engine);
        std::fs::remove_file(directory.path().join("sock")).unwrap();
        Served::within(directory).await
    }

    async fn within(directory: tempfile::TempDir) -> Served {
        let (root, state) = (directory.path().join("root"), directory.path().join("state"));
        // No container runs in here.
        let none = PathBuf::from("/nonexistent");
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().with_file_name("corten");
        assert!(program.exists(), "{} is missing: run `cargo build -p corten`", program.display());
        let config = Config {
            cgroup_parent: format!("/corten-test-containerd-{}", std::process::id()),
            containerd_address: directory.path().join("sock"),
            shim: none.clone(),
            spare_shims: 0,
            log: LogSpec { driver: "json-file".into(), ..LogSpec::default() },
            stop_timeout_s: 10,
            worker: image::WorkerCommand { program, arguments: vec!["worker".into()] },
            network: FabricConfig::below(&root, &state, "corten-test", none),
            registries: Default::default(),
            cdi_directories: Vec::new(),
            restart_interval: engine::RESTART_INTERVAL,
            root,
            state,
        };
        let engine = Engine::open(config).await.unwrap();
        let listener = UnixListener::bind(directory.path().join("sock")).unwrap();
        let (stop, stopping) = watch::channel(false);
        let served = tokio::spawn(containerd::serve(listener, Door::new(engine.clone()), stopping));
        Served { directory, engine, stop, served }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("unix:{}", self.directory.path().join("sock").display());
        Endpoint::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn close(self) {
        self.stop.send_replace(true);
        self.served.await.unwrap();
        self.engine.close().await.unwrap();
    }
}

/// A request in the namespace `one`.
pub(crate) fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "one".parse().unwrap());
    request
}

/// Code and message of a failed call.
pub(crate) fn told<T: std::fmt::Debug>(result: Result<T, Status>) -> (tonic::Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}
