//! `/_ping`, `/version`, `/info`.

use std::collections::BTreeMap;

use api::docker::system::{Component, Info, PlatformName, Plugins, RegistryConfig, Runtime, Swarm, Version};
use hyper::header::{CACHE_CONTROL, HeaderValue};

use crate::answer::{self, Answer};
use crate::request::Request;
use crate::{API_VERSION, MIN_API_VERSION};

/// The name under which our runtime is known to containerd's and Docker's clients.
const RUNTIME: &str = "io.containerd.runc.v2";

pub(crate) fn ping() -> Answer {
    let mut response = answer::text("OK");
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    Ok(response)
}

pub(crate) fn version(request: &Request) -> Answer {
    let found = request.engine.version();
    let show = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    let details = [
        ("ApiVersion", show(API_VERSION)),
        ("MinAPIVersion", show(MIN_API_VERSION)),
        ("Os", found.os.to_owned()),
        ("Arch", found.architecture.to_owned()),
        ("KernelVersion", found.kernel_version.clone()),
    ];
    answer::ok(&Version {
        platform: PlatformName { name: "Corten".into() },
        components: vec![Component {
            name: "Engine".into(),
            version: found.version.into(),
            details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }],
        version: found.version.into(),
        api_version: show(API_VERSION),
        min_api_version: show(MIN_API_VERSION),
        os: found.os.into(),
        arch: found.architecture.into(),
        kernel_version: found.kernel_version,
        ..Version::default()
    })
}

pub(crate) async fn info(request: &Request) -> Answer {
    let info = request.engine.info().await?;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    answer::ok(&Info {
        id: info.id,
        containers: count(info.containers),
        containers_running: count(info.containers_running),
        containers_paused: count(info.containers_paused),
        containers_stopped: count(info.containers_stopped),
        images: count(info.images),
        driver: info.snapshotter,
        driver_status: vec![["Backing Filesystem".into(), info.backing_file_system]],
        plugins: Plugins {
            volume: vec!["local".into()],
            network: vec!["host".into(), "null".into()],
            authorization: None,
            log: vec!["json-file".into(), "none".into()],
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        oom_kill_disable: info.cgroup_version == 1,
        open_files: count(info.open_files),
        tasks: count(info.tasks),
        system_time: crate::when::short(i64::try_from(jiff::Timestamp::now().as_nanosecond()).ok()),
        logging_driver: "json-file".into(),
        cgroup_driver: "cgroupfs".into(),
        cgroup_version: info.cgroup_version.to_string(),
        event_listeners: count(info.event_listeners),
        kernel_version: info.kernel_version,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".into(),
        architecture: info.architecture,
        registry_config: Some(RegistryConfig::default()),
        cpus: count(info.cpus),
        mem_total: i64::try_from(info.memory_bytes).unwrap_or(i64::MAX),
        docker_root_dir: info.root,
        name: info.hostname,
        server_version: request.engine.version().version.into(),
        runtimes: BTreeMap::from([(RUNTIME.to_owned(), Runtime::default())]),
        default_runtime: RUNTIME.into(),
        swarm: Swarm { local_node_state: "inactive".into(), ..Swarm::default() },
        live_restore_enabled: true,
        security_options: vec!["name=seccomp,profile=builtin".into(), "name=cgroupns".into()],
        warnings: (!info.warnings.is_empty()).then_some(info.warnings),
        ..Info::default()
    })
}
