//! `POST /containers/create`: the request as the engine's specification.
//!
//! Everything that a client sets is translated or refused; nothing is ignored. Values that Docker's clients always send and
//! that mean "the default" count as not set.

mod refuse;

use api::docker::StringMap;
use api::docker::container::{Config, ContainerCreateBody};
use api::docker::host_config::{HostConfig, MountRequest};
use engine::containers::spec::{
    BindMount, CgroupNamespaceMode, ContainerSpec, DeviceSpec, IpcMode, LogDriver, LogSpec, MountSpec,
    NetworkMode, PidMode, Propagation, ResourceSpec, RestartPolicy, SeccompMode, TmpfsMount, Ulimit, UtsMode,
    VolumeMount,
};

use super::console_size;
use crate::answer::Failure;

/// Said to who asked for no network in particular; see `docs/decisions/0001`.
const NO_BRIDGE: &str =
    "bridge networks are not there yet: the container has no network; `--network host` gives it the host's";

/// `linux/amd64`, as a client writes the platform of this machine.
pub(super) fn own_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

/// The specification, and what the client should know.
pub(super) fn spec(body: ContainerCreateBody) -> Result<(ContainerSpec, Vec<String>), Failure> {
    refuse::check(&body)?;
    let ContainerCreateBody { config, host_config: host, .. } = body;
    let mut warnings = Vec::new();
    if matches!(host.network_mode.as_str(), "" | "default") && !config.network_disabled {
        warnings.push(NO_BRIDGE.to_owned());
    }
    let security = Security::parse(&host)?;
    let spec = ContainerSpec {
        mounts: mounts(&config, &host)?,
        image: config.image,
        entrypoint: config.entrypoint.map(|command| command.0),
        command: config.cmd.map(|command| command.0),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
        group_add: host.group_add.clone().unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
        hostname: config.hostname,
        domainname: config.domainname,
        stop_signal: config.stop_signal,
        stop_timeout_s: config.stop_timeout,
        terminal: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        console_size: console_size(Some(host.console_size))?,
        auto_remove: host.auto_remove,
        restart: restart(&host)?,
        log: log(&host)?,
        network: network(&host.network_mode)?,
        pid: pid(&host.pid_mode)?,
        ipc: ipc(&host.ipc_mode)?,
        uts: match host.uts_mode.as_str() {
            "" => UtsMode::Private,
            "host" => UtsMode::Host,
            other => return Err(Failure::bad(format!("--uts: invalid UTS mode: {other}"))),
        },
        cgroup_namespace: match host.cgroupns_mode.as_str() {
            "" | "private" => CgroupNamespaceMode::Private,
            "host" => CgroupNamespaceMode::Host,
            other => return Err(Failure::bad(format!("invalid cgroup namespace mode: {other}"))),
        },
        shm_size_bytes: size("--shm-size", host.shm_size)?,
        readonly_rootfs: host.readonly_rootfs,
        privileged: host.privileged,
        cap_add: host.cap_add.clone().unwrap_or_default(),
        cap_drop: host.cap_drop.clone().unwrap_or_default(),
        no_new_privileges: security.no_new_privileges,
        seccomp: security.seccomp,
        unconfined_system_paths: security.unconfined_system_paths,
        sysctls: host.sysctls.clone().unwrap_or_default(),
        ulimits: ulimits(&host),
        devices: devices(&host),
        resources: resources(&host)?,
    };
    Ok((spec, warnings))
}

fn restart(host: &HostConfig) -> Result<RestartPolicy, Failure> {
    let policy = &host.restart_policy;
    let retries = u32::try_from(policy.maximum_retry_count)
        .map_err(|_| Failure::bad("maximum retry count cannot be negative"))?;
    match (policy.name.as_str(), retries) {
        ("" | "no", 0) => Ok(RestartPolicy::No),
        ("always", 0) => Ok(RestartPolicy::Always),
        ("unless-stopped", 0) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", max_retries) => Ok(RestartPolicy::OnFailure { max_retries }),
        (name @ ("" | "no" | "always" | "unless-stopped"), _) => {
            Err(Failure::bad(format!("maximum retry count cannot be used with restart policy '{name}'")))
        }
        (name, _) => Err(Failure::bad(format!("invalid restart policy '{name}'"))),
    }
}

fn log(host: &HostConfig) -> Result<LogSpec, Failure> {
    let driver = match host.log_config.kind.as_str() {
        "" | "json-file" => LogDriver::JsonFile,
        "none" => LogDriver::None,
        other => return Err(Failure::not_there_yet(&format!("the log driver `{other}`"))),
    };
    let mut log = LogSpec { driver, ..LogSpec::default() };
    for (name, value) in &host.log_config.config {
        let wrong = || Failure::bad(format!("invalid value for log option {name}: \"{value}\""));
        match name.as_str() {
            "max-size" if driver == LogDriver::JsonFile => {
                log.max_size_bytes = Some(bytes(value).ok_or_else(wrong)?)
            }
            "max-file" if driver == LogDriver::JsonFile => {
                let files = value.parse().ok().filter(|files: &u32| *files > 0);
                log.max_files = Some(files.ok_or_else(wrong)?);
            }
            _ => {
                return Err(Failure::bad(format!(
                    "unknown log opt '{name}' for {} log driver",
                    host.log_config.kind
                )));
            }
        }
    }
    Ok(log)
}

/// `10m`, `200k`, `1g`, `-1` for no limit; in bytes.
fn bytes(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(0);
    }
    let text = text.to_ascii_lowercase();
    let text = text.trim_end_matches('b');
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn network(mode: &str) -> Result<NetworkMode, Failure> {
    match mode {
        "" | "default" | "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        _ => match container(mode) {
            Some(id) => Ok(NetworkMode::Container(id)),
            None => Err(Failure::not_there_yet(&format!("the network `{mode}`"))),
        },
    }
}

fn pid(mode: &str) -> Result<PidMode, Failure> {
    match mode {
        "" | "private" => Ok(PidMode::Private),
        "host" => Ok(PidMode::Host),
        _ => container(mode).map(PidMode::Container).ok_or_else(|| Failure::bad("--pid: invalid PID mode")),
    }
}

fn ipc(mode: &str) -> Result<IpcMode, Failure> {
    match mode {
        "" | "private" => Ok(IpcMode::Private),
        "shareable" => Ok(IpcMode::Shareable),
        "host" => Ok(IpcMode::Host),
        "none" => Ok(IpcMode::None),
        _ => container(mode).map(IpcMode::Container).ok_or_else(|| Failure::bad("--ipc: invalid IPC mode")),
    }
}

/// `container:NAME`
fn container(mode: &str) -> Option<String> {
    mode.strip_prefix("container:").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// What `--security-opt` says.
struct Security {
    no_new_privileges: bool,
    seccomp: SeccompMode,
    unconfined_system_paths: bool,
}

impl Security {
    fn parse(host: &HostConfig) -> Result<Security, Failure> {
        // Clients turn `systempaths=unconfined` into two empty lists.
        let is_empty = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(Vec::is_empty);
        let unmasked = is_empty(&host.masked_paths) && is_empty(&host.readonly_paths);
        let mut security = Security {
            no_new_privileges: false,
            seccomp: SeccompMode::Default,
            unconfined_system_paths: unmasked,
        };
        for option in host.security_opt.iter().flatten() {
            let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (name, value) {
                ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
                ("no-new-privileges", "false") => security.no_new_privileges = false,
                ("seccomp", "unconfined") => security.seccomp = SeccompMode::Unconfined,
                ("seccomp", "builtin") => security.seccomp = SeccompMode::Default,
                ("seccomp", profile) if !profile.is_empty() => {
                    security.seccomp = SeccompMode::Profile(profile.into())
                }
                ("systempaths", "unconfined") => security.unconfined_system_paths = true,
                ("apparmor", "unconfined") | ("label", "disable") => {}
                ("apparmor" | "label", _) => {
                    return Err(Failure::not_there_yet(&format!("--security-opt {option}")));
                }
                _ => return Err(Failure::bad(format!("invalid --security-opt 2: \"{option}\""))),
            }
        }
        Ok(security)
    }
}

fn mounts(config: &Config, host: &HostConfig) -> Result<Vec<MountSpec>, Failure> {
    let mut mounts: Vec<MountSpec> =
        host.binds.iter().flatten().map(|text| bind(text)).collect::<Result<_, _>>()?;
    for request in host.mounts.iter().flatten() {
        mounts.push(mount(request)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        mounts.push(MountSpec::Tmpfs(TmpfsMount { target: target.clone(), options }));
    }
    for target in config.volumes.iter().flat_map(std::collections::BTreeMap::keys) {
        if !mounts.iter().any(|mount| mount.target() == target) {
            mounts.push(MountSpec::Volume(VolumeMount { target: target.clone(), ..VolumeMount::default() }));
        }
    }
    Ok(mounts)
}

/// `SOURCE:TARGET[:OPTIONS]`; a source that is no absolute path is a volume's name.
fn bind(text: &str) -> Result<MountSpec, Failure> {
    let wrong = || Failure::bad(format!("invalid volume specification: '{text}'"));
    let (source, target, options) = match text.split(':').collect::<Vec<_>>().as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(wrong()),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(wrong());
    }
    let mode = BindMode::parse(options).ok_or_else(|| Failure::bad(format!("invalid mode: {options}")))?;
    let (source, target, readonly) = (source.to_owned(), target.to_owned(), mode.readonly);
    if source.starts_with('/') {
        if mode.no_copy {
            return Err(Failure::bad(format!("invalid mode: {options}")));
        }
        let propagation = mode.propagation.unwrap_or_default();
        return Ok(MountSpec::Bind(BindMount {
            source,
            target,
            readonly,
            create_source: true,
            propagation,
            non_recursive: false,
        }));
    }
    if mode.propagation.is_some() {
        return Err(Failure::bad(format!("invalid mode: {options}")));
    }
    Ok(MountSpec::Volume(VolumeMount {
        name: source,
        target,
        readonly,
        no_copy: mode.no_copy,
        ..VolumeMount::default()
    }))
}

/// The third part of a bind.
#[derive(Debug, Default)]
struct BindMode {
    readonly: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

impl BindMode {
    fn parse(text: &str) -> Option<BindMode> {
        let mut mode = BindMode::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => mode.readonly = true,
                // Relabelling has no meaning without SELinux, as in Docker.
                "rw" | "z" | "Z" => {}
                "nocopy" => mode.no_copy = true,
                other => mode.propagation = Some(propagation(other)?),
            }
        }
        Some(mode)
    }
}

fn propagation(text: &str) -> Option<Propagation> {
    Some(match text {
        "rprivate" => Propagation::Rprivate,
        "private" => Propagation::Private,
        "rshared" => Propagation::Rshared,
        "shared" => Propagation::Shared,
        "rslave" => Propagation::Rslave,
        "slave" => Propagation::Slave,
        _ => return None,
    })
}

/// One `--mount`. What is not done of it was refused before.
fn mount(request: &MountRequest) -> Result<MountSpec, Failure> {
    let target = request.target.clone();
    if !target.starts_with('/') {
        let message =
            format!("invalid mount config for type \"{}\": invalid mount path: '{target}'", request.kind);
        return Err(Failure::bad(message));
    }
    match request.kind.as_str() {
        "bind" => {
            let options = request.bind_options.clone().unwrap_or_default();
            let text = options.propagation.as_str();
            let wrong = || Failure::bad(format!("invalid propagation mode: {text}"));
            Ok(MountSpec::Bind(BindMount {
                source: request.source.clone(),
                target,
                readonly: request.read_only,
                create_source: options.create_mountpoint,
                propagation: if text.is_empty() {
                    Propagation::default()
                } else {
                    propagation(text).ok_or_else(wrong)?
                },
                non_recursive: options.non_recursive,
            }))
        }
        "volume" => {
            let options = request.volume_options.clone().unwrap_or_default();
            Ok(MountSpec::Volume(VolumeMount {
                name: request.source.clone(),
                target,
                readonly: request.read_only,
                no_copy: options.no_copy,
                anonymous: false,
                labels: options.labels.unwrap_or_default(),
            }))
        }
        "tmpfs" => {
            let options = request.tmpfs_options.clone().unwrap_or_default();
            let mut texts: Vec<String> =
                options.options.iter().flatten().map(|words| words.join("=")).collect();
            if options.size_bytes > 0 {
                texts.push(format!("size={}", options.size_bytes));
            }
            texts.extend(options.mode.map(|mode| format!("mode={mode:o}")));
            if request.read_only {
                texts.push("ro".into());
            }
            Ok(MountSpec::Tmpfs(TmpfsMount { target, options: texts }))
        }
        other => Err(Failure::bad(format!("mount type unknown: \"{other}\""))),
    }
}

fn ulimits(host: &HostConfig) -> Vec<Ulimit> {
    let limits = host.ulimits.iter().flatten();
    limits.map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard }).collect()
}

fn devices(host: &HostConfig) -> Vec<DeviceSpec> {
    let devices = host.devices.iter().flatten();
    devices
        .map(|device| DeviceSpec {
            host_path: device.path_on_host.clone(),
            container_path: device.path_in_container.clone(),
            permissions: device.cgroup_permissions.clone(),
        })
        .collect()
}

fn resources(host: &HostConfig) -> Result<ResourceSpec, Failure> {
    // Zero is Docker's "not set".
    let set = |value: i64| (value != 0).then_some(value);
    let score = i32::try_from(host.oom_score_adj).ok().filter(|score| (-1000..=1000).contains(score));
    let score = score.ok_or_else(|| {
        Failure::bad(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ))
    })?;
    // Docker's -1 means "the kernel's".
    let swappiness = host.memory_swappiness.filter(|value| *value != -1);
    Ok(ResourceSpec {
        memory_bytes: set(host.memory),
        memory_swap_bytes: set(host.memory_swap),
        memory_reservation_bytes: set(host.memory_reservation),
        memory_swappiness: swappiness.map(|value| size("--memory-swappiness", value)).transpose()?.flatten(),
        oom_kill_disable: host.oom_kill_disable == Some(true),
        oom_score_adj: (score != 0).then_some(score),
        nano_cpus: set(host.nano_cpus),
        cpu_shares: size("--cpu-shares", host.cpu_shares)?,
        cpu_quota_us: set(host.cpu_quota),
        cpu_period_us: size("--cpu-period", host.cpu_period)?,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        pids_limit: host.pids_limit,
        blkio_weight: (host.blkio_weight != 0).then_some(host.blkio_weight),
    })
}

/// A number that must not be negative; zero is "not set".
fn size(flag: &str, value: i64) -> Result<Option<u64>, Failure> {
    let value = u64::try_from(value).map_err(|_| Failure::bad(format!("{flag}: {value} is negative")))?;
    Ok((value != 0).then_some(value))
}

/// Whether a map of options says anything.
fn is_set(map: Option<&StringMap>) -> bool {
    map.is_some_and(|map| !map.is_empty())
}

#[cfg(test)]
mod tests;
