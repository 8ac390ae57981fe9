//! From a container's specification to the document that the runtime performs. Pure: everything that had to be looked
//! up (devices of the host, processes of other containers) comes in [`Surroundings`].
//!
//! What a container gets by default is Docker's: its mounts, capabilities, masked paths and system call filter. The
//! document follows the OCI runtime specification
//! (<https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md>).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use oci::runtime_spec::{
    BlockIo, Capabilities, ConsoleSize, Cpu, Device, DeviceRule, Linux, Memory, Namespace, NamespaceKind,
    Pids, Process, Resources, Rlimit, Root, Seccomp, Spec, SpecMount,
};

use super::check::rlimit_name;
use super::merge::{args, clean_path, merge_env};
use super::spec::{
    BelowReadOnly, CgroupNamespaceMode, ContainerSpec, IpcMode, MountSpec, NetworkMode, PidMode, Propagation,
    ResourceSpec, SeccompMode, Ulimit, UtsMode,
};
use crate::error::{Error, Result};

const OCI_VERSION: &str = "1.2.0";

/// Where Docker has it.
const INIT_PATH: &str = "/sbin/docker-init";

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// 64 MiB, as Docker has it.
pub(crate) const DEFAULT_SHM_SIZE_BYTES: u64 = 64 << 20;

/// Programs that close every descriptor up to the limit must not take minutes; those that need more raise the soft
/// limit themselves, as under systemd.
const DEFAULT_NOFILE: (u64, u64) = (1024, 524_288);

/// The kernel's usual period of CPU bandwidth control.
const DEFAULT_CPU_PERIOD_US: u64 = 100_000;

/// What the plan depends on beside the specification.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// The container's, or that of the host or container that it shares.
    pub(crate) hostname: String,
    /// Below the hierarchies' roots.
    pub(crate) cgroup_path: String,
    /// Mounted at `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.
    pub(crate) etc: EtcFiles,
    /// Of mounts of volumes and images, by target: what is mounted there.
    pub(crate) sources: BTreeMap<String, PathBuf>,
    /// A directory of the host to mount at `/dev/shm`, when the IPC namespace is shared.
    pub(crate) shm: Option<PathBuf>,
    /// The network namespace that was made for the container, connected to its networks.
    pub(crate) network_namespace: Option<PathBuf>,
    /// First processes of the containers whose namespaces are shared.
    pub(crate) network_pid: Option<u32>,
    pub(crate) pid_pid: Option<u32>,
    pub(crate) ipc_pid: Option<u32>,
    /// `--device`, or every device of the host for a privileged container.
    pub(crate) devices: Vec<Device>,
    pub(crate) device_rules: Vec<DeviceRule>,
    /// What the vendors of devices want in the environment, and mounted.
    pub(crate) injected_env: Vec<String>,
    pub(crate) injected_mounts: Vec<SpecMount>,
    /// Weights and rates of single devices.
    pub(crate) block_io: BlockIo,
    /// The most open files that the kernel lets us give; without CAP_SYS_RESOURCE nobody can raise it.
    pub(crate) open_files_max: u64,
    /// The executable that is the init of containers that want one.
    pub(crate) init: PathBuf,
}

/// Paths on the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct EtcFiles {
    pub(crate) hostname: PathBuf,
    pub(crate) hosts: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

/// The document for one run of a container.
pub(crate) fn runtime_spec(spec: &ContainerSpec, around: &Surroundings) -> Result<Spec> {
    let capabilities =
        runtime::defaults::capabilities::resolve(&spec.cap_add, &spec.cap_drop, spec.privileged)
            .map_err(|error| Error::InvalidArgument(error.to_string()))?;
    let seccomp = seccomp(spec, &capabilities)?;
    let has_uts = spec.uts == UtsMode::Private;
    let paths = |asked: &Option<Vec<String>>, default: fn() -> Vec<String>| match asked {
        _ if spec.privileged => Vec::new(),
        Some(paths) => paths.clone(),
        None => default(),
    };
    Ok(Spec {
        oci_version: OCI_VERSION.into(),
        process: Some(process(spec, around, capabilities)),
        root: Some(Root { path: "rootfs".into(), readonly: spec.readonly_rootfs }),
        hostname: if has_uts { around.hostname.clone() } else { String::new() },
        domainname: if has_uts { spec.domainname.clone() } else { String::new() },
        mounts: mounts(spec, around),
        hooks: None,
        annotations: spec.annotations.clone(),
        linux: Some(Linux {
            sysctl: sysctls(spec),
            resources: Some(resources(spec, around)),
            cgroups_path: around.cgroup_path.clone(),
            namespaces: namespaces(spec, around),
            devices: devices(around),
            seccomp,
            rootfs_propagation: rootfs_propagation(spec),
            masked_paths: paths(&spec.masked_paths, runtime::defaults::masked_paths),
            readonly_paths: paths(&spec.readonly_paths, runtime::defaults::readonly_paths),
            ..Linux::default()
        }),
    })
}

/// The resource limits (`RLIMIT_…`) that nobody asked for.
pub(crate) fn default_rlimits(spec: &ContainerSpec) -> Vec<String> {
    let is_asked = spec.ulimits.iter().any(|limit| limit.name == "nofile");
    if is_asked { Vec::new() } else { vec!["RLIMIT_NOFILE".into()] }
}

/// The environment of a process, before the shim adds HOME: what `own` does not have is Docker's.
pub(crate) fn environment(own: &[String], terminal: bool, hostname: &str) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        env.push("TERM=xterm".to_owned());
    }
    merge_env(&env, own)
}

/// Without a pid namespace of its own a container has no first process to replace.
fn has_init(spec: &ContainerSpec) -> bool {
    spec.init && spec.pid == PidMode::Private
}

fn process(spec: &ContainerSpec, around: &Surroundings, capabilities: Vec<String>) -> Process {
    Process {
        terminal: spec.terminal,
        console_size: spec.console_size.map(|(height, width)| ConsoleSize { height, width }),
        args: if has_init(spec) {
            [&[INIT_PATH.to_owned(), "--".to_owned()], &args(spec)[..]].concat()
        } else {
            args(spec)
        },
        env: merge_env(&environment(&spec.env, spec.terminal, &around.hostname), &around.injected_env),
        cwd: if spec.working_dir.is_empty() { "/".into() } else { clean_path(&spec.working_dir) },
        capabilities: Some(capability_sets(capabilities)),
        rlimits: rlimits(&spec.ulimits, around.open_files_max),
        no_new_privileges: spec.no_new_privileges,
        // As for Docker: that of the daemon is not theirs.
        oom_score_adj: Some(spec.resources.oom_score_adj.unwrap_or_default()),
        ..Process::default()
    }
}

/// Nothing is inheritable and nothing ambient: an unprivileged process must not gain by executing (CVE-2022-24769).
pub(crate) fn capability_sets(capabilities: Vec<String>) -> Capabilities {
    Capabilities {
        bounding: capabilities.clone(),
        effective: capabilities.clone(),
        permitted: capabilities,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

fn seccomp(spec: &ContainerSpec, capabilities: &[String]) -> Result<Option<Seccomp>> {
    match &spec.seccomp {
        SeccompMode::Unconfined => Ok(None),
        SeccompMode::Default if spec.privileged => Ok(None),
        SeccompMode::Default => Ok(Some(runtime::seccomp::default_profile(capabilities))),
        SeccompMode::Profile(profile) => runtime::seccomp::parse_profile(profile, capabilities)
            .map(Some)
            .map_err(|error| Error::InvalidArgument(format!("invalid seccomp profile: {error}"))),
    }
}

/// The limits of a container's processes; the default of open files is lowered to `open_files_max`.
pub(crate) fn rlimits(ulimits: &[Ulimit], open_files_max: u64) -> Vec<Rlimit> {
    // -1 is the kernel's own word for "without limit".
    let value = |number: i64| u64::from_ne_bytes(number.to_ne_bytes());
    let mut limits: Vec<Rlimit> = ulimits
        .iter()
        .filter_map(|limit| {
            let kind = rlimit_name(&limit.name)?.to_owned();
            Some(Rlimit { kind, soft: value(limit.soft), hard: value(limit.hard) })
        })
        .collect();
    if !limits.iter().any(|limit| limit.kind == "RLIMIT_NOFILE") {
        let (soft, hard) = DEFAULT_NOFILE;
        let (soft, hard) = (soft.min(open_files_max), hard.min(open_files_max));
        limits.push(Rlimit { kind: "RLIMIT_NOFILE".into(), soft, hard });
    }
    limits
}

fn namespaces(spec: &ContainerSpec, around: &Surroundings) -> Vec<Namespace> {
    let own = |kind| Namespace { kind, path: None };
    let of = |kind, pid: Option<u32>, name: &str| Namespace {
        kind,
        path: pid.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/{name}"))),
    };
    let mut namespaces = vec![own(NamespaceKind::Mount)];
    match &spec.network {
        NetworkMode::None => namespaces.push(own(NamespaceKind::Network)),
        NetworkMode::Networks => namespaces
            .push(Namespace { kind: NamespaceKind::Network, path: around.network_namespace.clone() }),
        NetworkMode::Host => {}
        NetworkMode::Container(_) => namespaces.push(of(NamespaceKind::Network, around.network_pid, "net")),
    }
    match &spec.pid {
        PidMode::Private => namespaces.push(own(NamespaceKind::Pid)),
        PidMode::Host => {}
        PidMode::Container(_) => namespaces.push(of(NamespaceKind::Pid, around.pid_pid, "pid")),
    }
    match &spec.ipc {
        IpcMode::Private | IpcMode::Shareable | IpcMode::None => namespaces.push(own(NamespaceKind::Ipc)),
        IpcMode::Host => {}
        IpcMode::Container(_) => namespaces.push(of(NamespaceKind::Ipc, around.ipc_pid, "ipc")),
    }
    if spec.uts == UtsMode::Private {
        namespaces.push(own(NamespaceKind::Uts));
    }
    if spec.cgroup_namespace == CgroupNamespaceMode::Private {
        namespaces.push(own(NamespaceKind::Cgroup));
    }
    namespaces
}

/// The defaults, what the container asked for, and the files of `/etc`; parents before what lies below them. A mount
/// that was asked for takes the place of a default one.
fn mounts(spec: &ContainerSpec, around: &Surroundings) -> Vec<SpecMount> {
    let asked: BTreeSet<String> = spec.mounts.iter().map(|mount| clean_path(mount.target())).collect();
    let shm_size = spec.shm_size_bytes.unwrap_or(DEFAULT_SHM_SIZE_BYTES);
    let mut mounts = runtime::defaults::mounts(shm_size);
    for mount in &mut mounts {
        let is_cgroup = mount.kind == "cgroup";
        if (spec.privileged && mount.destination == "/sys")
            || (is_cgroup && (spec.privileged || spec.writable_cgroups))
        {
            mount.options.retain(|option| option != "ro");
        }
        if mount.destination == "/dev/shm"
            && let Some(shm) = &around.shm
        {
            mount.kind = "bind".into();
            mount.source = shm.display().to_string();
            mount.options = ["rbind", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).into();
        }
    }
    let has_no_shm = spec.ipc == IpcMode::None;
    mounts.retain(|mount| !asked.contains(&mount.destination));
    mounts.retain(|mount| !has_no_shm || mount.destination != "/dev/shm");
    let files = [
        ("/etc/hostname", &around.etc.hostname),
        ("/etc/hosts", &around.etc.hosts),
        ("/etc/resolv.conf", &around.etc.resolv_conf),
    ];
    let mut own: Vec<SpecMount> = spec.mounts.iter().map(|mount| spec_mount(mount, around)).collect();
    for (destination, source) in files {
        if asked.contains(destination) {
            continue;
        }
        let access = if spec.readonly_rootfs { "ro" } else { "rw" };
        own.push(SpecMount {
            destination: destination.into(),
            kind: "bind".into(),
            source: source.display().to_string(),
            options: ["bind", "rprivate", access].map(str::to_owned).into(),
            ..SpecMount::default()
        });
    }
    own.extend(around.injected_mounts.iter().cloned());
    if has_init(spec) && !asked.contains(INIT_PATH) {
        own.push(SpecMount {
            destination: INIT_PATH.into(),
            kind: "bind".into(),
            source: around.init.display().to_string(),
            options: ["bind", "rprivate", "ro"].map(str::to_owned).into(),
            ..SpecMount::default()
        });
    }
    own.sort_by_key(|mount| clean_path(&mount.destination).split('/').count());
    mounts.extend(own);
    mounts
}

fn spec_mount(mount: &MountSpec, around: &Surroundings) -> SpecMount {
    let destination = clean_path(mount.target());
    let source = around.sources.get(&destination).map_or(String::new(), |path| path.display().to_string());
    // With everything that is mounted below. What is read-only on the host stays so, because nothing says `rw`.
    let access = |readonly: bool| readonly.then_some("rro");
    let bind = |source: String, copy: &str, propagation: &str, access: Option<&str>| SpecMount {
        destination: destination.clone(),
        kind: "bind".into(),
        source,
        options: [copy, propagation].into_iter().chain(access).map(str::to_owned).collect(),
        ..SpecMount::default()
    };
    match mount {
        MountSpec::Bind(asked) => {
            let access = match asked.below {
                BelowReadOnly::StaysWritable if asked.readonly => Some("ro"),
                _ => access(asked.readonly),
            };
            let copy = if asked.non_recursive { "bind" } else { "rbind" };
            bind(asked.source.clone(), copy, propagation(asked.propagation.unwrap_or_default()), access)
        }
        MountSpec::Volume(volume) => bind(source, "rbind", "rprivate", access(volume.readonly)),
        MountSpec::Image(_) => bind(source, "rbind", "rprivate", access(true)),
        MountSpec::Tmpfs(tmpfs) => SpecMount {
            destination: clean_path(&tmpfs.target),
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            options: tmpfs_options(&tmpfs.options),
            ..SpecMount::default()
        },
    }
}

/// Docker's word for a propagation, which is also mount(8)'s.
pub(crate) fn propagation(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    }
}

/// Docker's defaults, each replaced by what contradicts it.
fn tmpfs_options(asked: &[String]) -> Vec<String> {
    let positive = |option: &str| option.strip_prefix("no").unwrap_or(option).to_owned();
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"]
        .into_iter()
        .filter(|default| !asked.iter().any(|option| positive(option) == positive(default)))
        .map(str::to_owned)
        .collect();
    options.extend(asked.iter().cloned());
    options
}

/// A mount that shall receive or send mounts needs a root that does.
fn rootfs_propagation(spec: &ContainerSpec) -> String {
    let has = |wanted: &[Propagation]| {
        spec.mounts
            .iter()
            .any(|mount| matches!(mount, MountSpec::Bind(bind) if bind.propagation.is_some_and(|asked| wanted.contains(&asked))))
    };
    if has(&[Propagation::Rshared, Propagation::Shared]) {
        "shared".into()
    } else if has(&[Propagation::Rslave, Propagation::Slave]) {
        "rslave".into()
    } else {
        String::new()
    }
}

/// With a network namespace of its own a container may bind low ports and send pings without a capability.
pub(crate) const NETWORK_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// The parameters of a network namespace that is made before its container: those of everybody, then the container's.
pub(crate) fn network_sysctls(spec: &ContainerSpec) -> Vec<(String, String)> {
    let own = spec.sysctls.iter().filter(|(name, _)| name.starts_with("net."));
    let own = own.map(|(name, value)| (name.clone(), value.clone()));
    NETWORK_SYSCTLS.iter().map(|(name, value)| ((*name).into(), (*value).into())).chain(own).collect()
}

fn sysctls(spec: &ContainerSpec) -> BTreeMap<String, String> {
    let mut sysctls = spec.sysctls.clone();
    match spec.network {
        // They are set where the namespace is made.
        NetworkMode::Networks => sysctls.retain(|name, _| !name.starts_with("net.")),
        NetworkMode::None => {
            for (name, value) in NETWORK_SYSCTLS {
                sysctls.entry(name.into()).or_insert_with(|| value.into());
            }
        }
        NetworkMode::Host | NetworkMode::Container(_) => {}
    }
    sysctls
}

fn devices(around: &Surroundings) -> Vec<Device> {
    let mut devices = runtime::defaults::devices();
    devices.retain(|default| !around.devices.iter().any(|asked| asked.path == default.path));
    devices.extend(around.devices.iter().cloned());
    devices
}

fn resources(spec: &ContainerSpec, around: &Surroundings) -> Resources {
    let asked = &spec.resources;
    let devices = if spec.privileged {
        vec![DeviceRule { allow: true, kind: None, major: None, minor: None, access: "rwm".into() }]
    } else {
        let mut rules = runtime::defaults::device_rules();
        rules.extend(around.device_rules.iter().cloned());
        rules
    };
    let weight = asked.blkio_weight.filter(|weight| *weight > 0);
    let io = BlockIo { weight, ..around.block_io.clone() };
    Resources {
        devices,
        memory: memory(asked),
        cpu: cpu(asked),
        pids: asked.pids_limit.filter(|limit| *limit > 0).map(|limit| Pids { limit }),
        block_io: (io != BlockIo::default()).then_some(io),
        unified: BTreeMap::new(),
        ..Resources::default()
    }
}

pub(super) fn memory(asked: &ResourceSpec) -> Option<Memory> {
    let positive = |value: Option<i64>| value.filter(|bytes| *bytes > 0);
    let limit = positive(asked.memory_bytes);
    let memory = Memory {
        limit,
        reservation: positive(asked.memory_reservation_bytes),
        swap: memory_swap_bytes(asked),
        swappiness: asked.memory_swappiness,
        disable_oom_killer: asked.oom_kill_disable.then_some(true),
    };
    (memory != Memory::default()).then_some(memory)
}

/// Memory plus swap: as asked, else as much swap as memory.
pub(crate) fn memory_swap_bytes(asked: &ResourceSpec) -> Option<i64> {
    let limit = asked.memory_bytes.filter(|bytes| *bytes > 0)?;
    match asked.memory_swap_bytes {
        None | Some(0) => Some(limit.saturating_mul(2)),
        Some(swap) => Some(swap),
    }
}

pub(super) fn cpu(asked: &ResourceSpec) -> Option<Cpu> {
    let period = asked.cpu_period_us.filter(|period| *period > 0);
    let (quota, period) = match asked.nano_cpus.filter(|nano_cpus| *nano_cpus > 0) {
        Some(nano_cpus) => {
            let per_period = nano_cpus.saturating_mul(DEFAULT_CPU_PERIOD_US.cast_signed()) / 1_000_000_000;
            (Some(per_period), Some(DEFAULT_CPU_PERIOD_US))
        }
        None => (asked.cpu_quota_us.filter(|quota| *quota != 0), period),
    };
    let cpu = Cpu {
        shares: asked.cpu_shares.filter(|shares| *shares > 0),
        quota,
        period,
        realtime_runtime: asked.cpu_realtime_runtime_us,
        realtime_period: asked.cpu_realtime_period_us,
        cpus: asked.cpuset_cpus.clone(),
        mems: asked.cpuset_mems.clone(),
        ..Cpu::default()
    };
    (cpu != Cpu::default()).then_some(cpu)
}

#[cfg(test)]
mod tests;
