//! A container as a document: `inspect`, and the pieces that lists share.

use std::collections::BTreeMap;

use api::docker::container::{Config, ContainerInspect, Healthcheck, MountPoint, NetworkSettings, State};
use api::docker::host_config::{BindOptions, TmpfsOptions, VolumeOptions};
use api::docker::host_config::{DeviceMapping, HostConfig, LogConfig, MountRequest, RestartPolicy, Ulimit};
use api::docker::image::GraphDriver;
use api::docker::network::EndpointSettings;
use api::docker::{Command, Present, StringMap};
use engine::containers::spec::{
    CgroupNamespaceMode, IpcMode, LogDriver, MountSpec, NetworkMode, PidMode, Propagation, SeccompMode,
    UtsMode,
};
use engine::containers::{Container, ContainerSpec, StateView, Status, Usage};
use oci::image_config::RuntimeConfig;

use crate::when;

/// Docker's size of `/dev/shm`.
const SHM_SIZE: i64 = 64 << 20;

/// The whole document.
pub(crate) fn inspect(container: Container, usage: Option<Usage>) -> ContainerInspect {
    let spec = &container.spec;
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut args = container.args.clone();
    let path = if args.is_empty() { String::new() } else { args.remove(0) };
    let networks = BTreeMap::from([(network_mode(&spec.network), EndpointSettings::default())]);
    ContainerInspect {
        created: when::short(Some(container.created_ns)),
        path,
        args,
        state: state(&container.state),
        image: container.image_id.clone(),
        resolv_conf_path: container.resolv_conf_path.clone(),
        hostname_path: container.hostname_path.clone(),
        hosts_path: container.hosts_path.clone(),
        log_path: container.log_path.clone().unwrap_or_default(),
        name: format!("/{}", container.name),
        restart_count: i64::from(container.restart_count),
        driver: container.snapshotter.clone(),
        platform: "linux".into(),
        exec_ids: (!container.exec_ids.is_empty()).then(|| container.exec_ids.clone()),
        host_config: host_config(spec),
        graph_driver: GraphDriver { data: None, name: container.snapshotter.clone() },
        size_rw: usage.as_ref().map(|usage| size(usage.writable_bytes)),
        size_root_fs: usage.as_ref().map(|usage| size(usage.total_bytes)),
        mounts: container.mounts.iter().map(mount_point).collect(),
        config: config(spec),
        network_settings: NetworkSettings { networks, ..NetworkSettings::default() },
        id: container.id,
        ..ContainerInspect::default()
    }
}

/// Docker's word for a state.
pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Restarting => "restarting",
        Status::Removing => "removing",
        Status::Exited => "exited",
        Status::Dead => "dead",
    }
}

/// `none`, `host`, `container:ID`.
pub(crate) fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::None => "none".into(),
        NetworkMode::Host => "host".into(),
        NetworkMode::Container(id) => format!("container:{id}"),
    }
}

pub(crate) fn mount_point(mount: &engine::containers::MountPoint) -> MountPoint {
    MountPoint {
        kind: mount.kind.into(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: if mount.kind == "volume" { "local".into() } else { String::new() },
        mode: if mount.readonly { "ro".into() } else { String::new() },
        rw: !mount.readonly,
        propagation: mount.propagation.into(),
    }
}

/// The configuration in an image.
pub(crate) fn image_config(config: &RuntimeConfig) -> Config {
    let present = |names: &std::collections::BTreeSet<String>| -> Option<BTreeMap<String, Present>> {
        (!names.is_empty()).then(|| names.iter().map(|name| (name.clone(), Present)).collect())
    };
    Config {
        user: config.user.clone(),
        exposed_ports: present(&config.exposed_ports),
        env: some(&config.env),
        cmd: config.cmd.clone().map(Command),
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: some(&check.test),
            interval: check.interval.unwrap_or_default(),
            timeout: check.timeout.unwrap_or_default(),
            start_period: check.start_period.unwrap_or_default(),
            start_interval: check.start_interval.unwrap_or_default(),
            retries: check.retries.unwrap_or_default(),
        }),
        volumes: present(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone().map(Command),
        on_build: some(&config.on_build),
        labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone().map(Command),
        ..Config::default()
    }
}

fn state(view: &StateView) -> State {
    State {
        status: status(view.status).into(),
        running: matches!(view.status, Status::Running | Status::Paused | Status::Restarting),
        paused: view.status == Status::Paused,
        restarting: view.status == Status::Restarting,
        oom_killed: view.oom_killed,
        dead: view.status == Status::Dead,
        pid: i64::from(view.pid),
        exit_code: i64::from(view.exit_code),
        error: view.error.clone(),
        started_at: when::short(view.started_ns),
        finished_at: when::short(view.finished_ns),
    }
}

fn config(spec: &ContainerSpec) -> Config {
    let volumes: BTreeMap<String, Present> = spec
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            MountSpec::Volume(volume) if volume.anonymous => Some((volume.target.clone(), Present)),
            _ => None,
        })
        .collect();
    Config {
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        attach_stdin: spec.attach_stdin,
        attach_stdout: spec.attach_stdout,
        attach_stderr: spec.attach_stderr,
        tty: spec.terminal,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        env: Some(spec.env.clone()),
        cmd: spec.command.clone().map(Command),
        image: spec.image.clone(),
        volumes: (!volumes.is_empty()).then_some(volumes),
        working_dir: spec.working_dir.clone(),
        entrypoint: spec.entrypoint.clone().map(Command),
        labels: Some(spec.labels.clone()),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_timeout_s,
        ..Config::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let limits = &spec.resources;
    let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    let unmasked = spec.unconfined_system_paths.then(Vec::new);
    HostConfig {
        binds: some(&spec.mounts.iter().filter_map(bind_text).collect::<Vec<_>>()),
        log_config: log_config(spec),
        network_mode: network_mode(&spec.network),
        restart_policy: restart_policy(spec),
        auto_remove: spec.auto_remove,
        console_size: spec
            .console_size
            .map_or([0, 0], |(height, width)| [u32::from(height), u32::from(width)]),
        cap_add: some(&spec.cap_add),
        cap_drop: some(&spec.cap_drop),
        cgroupns_mode: match spec.cgroup_namespace {
            CgroupNamespaceMode::Private => "private".into(),
            CgroupNamespaceMode::Host => "host".into(),
        },
        group_add: some(&spec.group_add),
        ipc_mode: ipc_mode(&spec.ipc),
        oom_score_adj: limits.oom_score_adj.map_or(0, i64::from),
        pid_mode: match &spec.pid {
            PidMode::Private => String::new(),
            PidMode::Host => "host".into(),
            PidMode::Container(id) => format!("container:{id}"),
        },
        privileged: spec.privileged,
        readonly_rootfs: spec.readonly_rootfs,
        security_opt: some(&security_options(spec)),
        uts_mode: if spec.uts == UtsMode::Host { "host".into() } else { String::new() },
        shm_size: number(spec.shm_size_bytes).unwrap_or(SHM_SIZE),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone()),
        runtime: "io.containerd.runc.v2".into(),
        cpu_shares: number(limits.cpu_shares).unwrap_or_default(),
        memory: limits.memory_bytes.unwrap_or_default(),
        nano_cpus: limits.nano_cpus.unwrap_or_default(),
        blkio_weight: limits.blkio_weight.unwrap_or_default(),
        cpu_period: number(limits.cpu_period_us).unwrap_or_default(),
        cpu_quota: limits.cpu_quota_us.unwrap_or_default(),
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        devices: some(&spec.devices.iter().map(device).collect::<Vec<_>>()),
        memory_reservation: limits.memory_reservation_bytes.unwrap_or_default(),
        memory_swap: limits.memory_swap_bytes.unwrap_or_default(),
        memory_swappiness: number(limits.memory_swappiness),
        oom_kill_disable: limits.oom_kill_disable.then_some(true),
        pids_limit: limits.pids_limit,
        ulimits: some(&spec.ulimits.iter().map(ulimit).collect::<Vec<_>>()),
        mounts: some(&spec.mounts.iter().filter_map(mount_request).collect::<Vec<_>>()),
        masked_paths: unmasked.clone().or_else(|| Some(runtime::defaults::masked_paths())),
        readonly_paths: unmasked.or_else(|| Some(runtime::defaults::readonly_paths())),
        ..HostConfig::default()
    }
}

fn log_config(spec: &ContainerSpec) -> LogConfig {
    let mut config = StringMap::new();
    if let Some(bytes) = spec.log.max_size_bytes {
        config.insert("max-size".into(), bytes.to_string());
    }
    if let Some(files) = spec.log.max_files {
        config.insert("max-file".into(), files.to_string());
    }
    let kind = match spec.log.driver {
        LogDriver::JsonFile => "json-file",
        LogDriver::None => "none",
    };
    LogConfig { kind: kind.into(), config }
}

fn restart_policy(spec: &ContainerSpec) -> RestartPolicy {
    use engine::containers::spec::RestartPolicy as Policy;
    let (name, retries) = match spec.restart {
        Policy::No => ("no", 0),
        Policy::Always => ("always", 0),
        Policy::UnlessStopped => ("unless-stopped", 0),
        Policy::OnFailure { max_retries } => ("on-failure", max_retries),
    };
    RestartPolicy { name: name.into(), maximum_retry_count: i64::from(retries) }
}

fn ipc_mode(mode: &IpcMode) -> String {
    match mode {
        IpcMode::Private => "private".into(),
        IpcMode::Shareable => "shareable".into(),
        IpcMode::Host => "host".into(),
        IpcMode::Container(id) => format!("container:{id}"),
        IpcMode::None => "none".into(),
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let mut options = Vec::new();
    if spec.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &spec.seccomp {
        SeccompMode::Default => {}
        SeccompMode::Unconfined => options.push("seccomp=unconfined".to_owned()),
        SeccompMode::Profile(text) => options.push(format!("seccomp={text}")),
    }
    if spec.unconfined_system_paths {
        options.push("systempaths=unconfined".to_owned());
    }
    options
}

/// What `-v` would have been written for the mount.
fn bind_text(mount: &MountSpec) -> Option<String> {
    let (source, target, readonly) = match mount {
        MountSpec::Bind(bind) if bind.create_source => (&bind.source, &bind.target, bind.readonly),
        MountSpec::Volume(volume) if !volume.anonymous => (&volume.name, &volume.target, volume.readonly),
        _ => return None,
    };
    Some(format!("{source}:{target}{}", if readonly { ":ro" } else { "" }))
}

/// The mounts that `-v` could not have made.
fn mount_request(mount: &MountSpec) -> Option<MountRequest> {
    match mount {
        MountSpec::Bind(bind) if !bind.create_source => Some(MountRequest {
            kind: "bind".into(),
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.readonly,
            bind_options: Some(BindOptions {
                propagation: propagation(bind.propagation).into(),
                non_recursive: bind.non_recursive,
                ..BindOptions::default()
            }),
            ..MountRequest::default()
        }),
        MountSpec::Volume(volume) if volume.no_copy => Some(MountRequest {
            kind: "volume".into(),
            source: volume.name.clone(),
            target: volume.target.clone(),
            read_only: volume.readonly,
            volume_options: Some(VolumeOptions { no_copy: true, ..VolumeOptions::default() }),
            ..MountRequest::default()
        }),
        MountSpec::Tmpfs(tmpfs) => Some(MountRequest {
            kind: "tmpfs".into(),
            target: tmpfs.target.clone(),
            tmpfs_options: Some(TmpfsOptions {
                options: some(&tmpfs.options.iter().map(|option| vec![option.clone()]).collect::<Vec<_>>()),
                ..TmpfsOptions::default()
            }),
            ..MountRequest::default()
        }),
        MountSpec::Bind(_) | MountSpec::Volume(_) => None,
    }
}

/// The kernel's word for a propagation.
fn propagation(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    }
}

fn device(device: &engine::containers::spec::DeviceSpec) -> DeviceMapping {
    DeviceMapping {
        path_on_host: device.host_path.clone(),
        path_in_container: device.container_path.clone(),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn ulimit(limit: &engine::containers::spec::Ulimit) -> Ulimit {
    Ulimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft }
}

/// An empty list is `null` in Docker's documents.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
