//! The daemon about itself: ping, version, info.

pub(crate) mod disk;

use std::collections::BTreeMap;

use api::docker::system::{
    Commit, Component, FirewallBackend, IndexConfig, Info, PlatformName, Plugins, RegistryConfig, Runtime,
    Swarm, Version,
};
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};

use crate::call::{ApiVersion, Call, MAX_VERSION, MIN_VERSION};
use crate::containers::host::RUNTIME;
use crate::error::Result;
use crate::reply::{self, Reply};
use crate::{time, volumes};

pub(crate) async fn ping(call: Call) -> Result<Reply> {
    let mut reply = if call.request.method() == hyper::Method::HEAD {
        reply::empty(hyper::StatusCode::OK)
    } else {
        reply::text("OK")
    };
    let headers = reply.headers_mut();
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(reply)
}

pub(crate) async fn version(call: Call) -> Result<Reply> {
    let version = call.engine.version();
    let details = [
        ("ApiVersion", MAX_VERSION.to_string()),
        ("Arch", version.architecture.into()),
        ("BuildTime", String::new()),
        ("Experimental", "false".into()),
        ("GitCommit", String::new()),
        ("GoVersion", String::new()),
        ("KernelVersion", version.kernel_version.clone()),
        ("MinAPIVersion", MIN_VERSION.to_string()),
        ("Os", version.os.into()),
    ];
    Ok(reply::ok(&Version {
        platform: PlatformName { name: "Corten".into() },
        components: vec![Component {
            name: "Engine".into(),
            version: version.version.into(),
            details: details.map(|(name, value)| (name.to_owned(), value)).into(),
        }],
        version: version.version.into(),
        api_version: MAX_VERSION.to_string(),
        min_api_version: MIN_VERSION.to_string(),
        os: version.os.into(),
        arch: version.architecture.into(),
        kernel_version: version.kernel_version,
        ..Version::default()
    }))
}

/// From this version on, what filters packets is told.
const FIREWALL_IS_SHOWN: ApiVersion = ApiVersion::new(1, 49);
/// From this version on, bridges' own netfilter is no matter of the daemon's.
const WITHOUT_NETFILTER: ApiVersion = ApiVersion::new(1, 50);

/// Registries of this machine may do without TLS, as Docker's.
fn registries() -> RegistryConfig {
    let hub = IndexConfig { name: "docker.io".into(), secure: true, official: true, mirrors: Vec::new() };
    RegistryConfig {
        insecure_registry_cidrs: vec!["::1/128".into(), "127.0.0.0/8".into()],
        index_configs: BTreeMap::from([(hub.name.clone(), hub)]),
        mirrors: Vec::new(),
    }
}

pub(crate) async fn info(call: Call) -> Result<Reply> {
    let info = call.engine.info().await?;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let is_v2 = info.cgroup_version == 2;
    let netfilter = (call.version < WITHOUT_NETFILTER).then_some(true);
    let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
    security.push("name=cgroupns".into());
    Ok(reply::ok(&Info {
        id: info.id,
        containers: count(info.containers),
        containers_running: count(info.containers_running),
        containers_paused: count(info.containers_paused),
        containers_stopped: count(info.containers_stopped),
        images: count(info.images),
        driver: info.snapshotter,
        driver_status: vec![["Backing Filesystem".into(), info.backing_file_system]],
        plugins: Plugins {
            volume: vec![volumes::DRIVER.into()],
            network: vec!["bridge".into(), "host".into(), "null".into()],
            authorization: None,
            log: engine::logs::DRIVERS.map(str::to_owned).into(),
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: true,
        bridge_nf_iptables: netfilter,
        bridge_nf_ip6tables: netfilter,
        oom_kill_disable: !is_v2,
        open_files: count(info.open_files),
        tasks: count(info.tasks),
        event_listeners: count(info.event_listeners),
        system_time: time::rfc3339(Some(time::now_ns())),
        logging_driver: info.log_driver,
        cgroup_driver: "cgroupfs".into(),
        cgroup_version: info.cgroup_version.to_string(),
        kernel_version: info.kernel_version,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".into(),
        architecture: info.architecture,
        registry_config: Some(registries()),
        cpus: count(info.cpus),
        mem_total: i64::try_from(info.memory_bytes).unwrap_or(i64::MAX),
        docker_root_dir: info.root,
        name: info.hostname,
        server_version: call.engine.version().version.into(),
        runtimes: BTreeMap::from([(RUNTIME.to_owned(), Runtime::default())]),
        default_runtime: RUNTIME.into(),
        swarm: Swarm { local_node_state: "inactive".into(), ..Swarm::default() },
        // Containers run on when the daemon restarts.
        live_restore_enabled: true,
        init_commit: Commit::default(),
        security_options: security,
        cdi_spec_dirs: info.cdi_directories,
        warnings: Some(info.warnings).filter(|warnings| !warnings.is_empty()),
        firewall_backend: (call.version >= FIREWALL_IS_SHOWN)
            .then(|| FirewallBackend { driver: "nftables".into() }),
        ..Info::default()
    }))
}
