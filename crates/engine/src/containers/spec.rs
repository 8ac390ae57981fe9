//! What a client asks of a container, and what is stored of it.
//!
//! At creation the image's configuration is merged into it (see [`super::merge`]); from then on it is the whole
//! truth about the container and the image's configuration is not looked at again. It is stored as JSON in the
//! container's row, so every field has a default and unknown fields are ignored: an older daemon reads a newer row.

mod health;
mod mount;
mod network;

use std::collections::BTreeMap;

pub use health::HealthCheckSpec;
pub use mount::{
    BelowReadOnly, BindMount, Form, ImageMount, MountSpec, Propagation, TmpfsMount, VolumeMount,
};
pub use network::{EndpointSpec, ExtraHost, Link, NetworkMode, NetworkSpec, Port, PortSpec, Protocol};
use serde::{Deserialize, Serialize};

/// A container, as asked for (before creation) or as it is (after).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image as the client named it.
    pub image: String,
    /// None: the image's. Some of an empty list: none at all.
    pub entrypoint: Option<Vec<String>>,
    /// None: the image's, unless the entrypoint was given.
    pub command: Option<Vec<String>>,
    /// `KEY=VALUE`, or `KEY` to take the image's `KEY` away.
    pub env: Vec<String>,
    /// Empty: the image's, else `/`.
    pub working_dir: String,
    /// `name|uid[:group|gid]`. Empty: the image's, else root.
    pub user: String,
    pub group_add: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Passed to the runtime, which does nothing with them.
    pub annotations: BTreeMap<String, String>,
    /// Empty: the first twelve digits of the id (or the host's, with its UTS namespace).
    pub hostname: String,
    pub domainname: String,
    /// A name (`SIGTERM`, `TERM`) or a number. Empty: the image's, else SIGTERM.
    pub stop_signal: String,
    /// None: the daemon's default. Negative: wait without end.
    pub stop_timeout_s: Option<i64>,

    /// None: the image's.
    pub health_check: Option<HealthCheckSpec>,
    /// What runs the lines of health checks. Empty: the image's, else `/bin/sh -c`.
    pub shell: Vec<String>,

    pub terminal: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    /// Which streams the client said it attaches; kept for inspect only.
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    /// Initial size of the terminal: height and width in characters.
    pub console_size: Option<(u16, u16)>,

    /// Docker's `--init`: a small process of ours is the first one, and starts the container's.
    pub init: bool,
    pub auto_remove: bool,
    pub restart: RestartPolicy,
    pub log: LogSpec,

    pub network: NetworkMode,
    /// Networks, ports and names, for [`NetworkMode::Networks`].
    pub networking: NetworkSpec,
    pub pid: PidMode,
    pub ipc: IpcMode,
    pub uts: UtsMode,
    pub cgroup_namespace: CgroupNamespaceMode,

    pub mounts: Vec<MountSpec>,
    /// Containers whose mounts are among `mounts`.
    pub volumes_from: Vec<VolumesFrom>,
    /// None: 64 MiB.
    pub shm_size_bytes: Option<u64>,
    pub readonly_rootfs: bool,

    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: SeccompMode,
    /// `docker-default`, `unconfined` or the name of a profile. Empty: not said.
    pub apparmor_profile: String,
    /// The container may change its own control groups.
    pub writable_cgroups: bool,
    /// The security options as they were given, for inspect only.
    pub security_options: Vec<String>,
    /// Paths that are covered. None: Docker's; for a privileged container none.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that can only be read. None: Docker's; for a privileged container none.
    pub readonly_paths: Option<Vec<String>>,
    /// `--userns host` was said; there is no other.
    pub host_userns: bool,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: Vec<Ulimit>,
    pub devices: Vec<DeviceSpec>,
    pub device_requests: Vec<DeviceRequest>,
    /// `c 1:3 rwm`: devices that may be made and used although no node was asked for.
    pub device_cgroup_rules: Vec<String>,
    /// Below which group the container's own is. Empty: below the engine's.
    pub cgroup_parent: String,
    pub resources: ResourceSpec,
}

/// When the engine starts a container again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// After an exit code other than zero; `max_retries` 0 means without limit.
    OnFailure {
        max_retries: u32,
    },
}

/// Where the output is kept: one of [`crate::logs::DRIVERS`] and its options, as they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSpec {
    /// Empty: the daemon's default.
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PidMode {
    #[default]
    Private,
    Host,
    Container(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpcMode {
    /// A namespace of its own that no other container may join.
    #[default]
    Private,
    /// A namespace of its own that other containers may join.
    Shareable,
    Host,
    Container(String),
    /// Like private, and without `/dev/shm`.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UtsMode {
    #[default]
    Private,
    Host,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupNamespaceMode {
    #[default]
    Private,
    Host,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeccompMode {
    #[default]
    Default,
    Unconfined,
    /// The profile's JSON text.
    Profile(String),
}

/// A container that lends its binds and volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumesFrom {
    /// As the client named it.
    pub container: String,
    pub readonly: bool,
    /// Where what it lends is mounted; set by the engine.
    pub targets: Vec<String>,
}

impl ContainerSpec {
    /// Whether what is mounted there is another container's.
    pub fn is_lent(&self, mount: &MountSpec) -> bool {
        self.volumes_from.iter().any(|lender| lender.targets.iter().any(|target| target == mount.target()))
    }
}

/// A resource limit by its short lower-case name (`nofile`); `-1` is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// A device of the host, or a directory with devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceSpec {
    pub host_path: String,
    pub container_path: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// Devices that a driver provides, by name or by what they can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `cdi`, or empty for whichever has the capabilities.
    pub driver: String,
    /// How many, when there are no `ids`; -1: all.
    pub count: i64,
    pub ids: Vec<String>,
    /// Any of these sets of capabilities.
    pub capabilities: Vec<Vec<String>>,
    pub options: BTreeMap<String, String>,
}

/// Limits of the control groups. None: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceSpec {
    pub memory_bytes: Option<i64>,
    /// Memory plus swap; `-1` is unlimited.
    pub memory_swap_bytes: Option<i64>,
    pub memory_reservation_bytes: Option<i64>,
    pub memory_swappiness: Option<u64>,
    pub oom_kill_disable: bool,
    /// 0 to 1000 and -1000 to 0.
    pub oom_score_adj: Option<i32>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    /// Microseconds of real-time tasks per period, and that period.
    pub cpu_realtime_runtime_us: Option<i64>,
    pub cpu_realtime_period_us: Option<u64>,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// `-1` or `0`: unlimited.
    pub pids_limit: Option<i64>,
    pub blkio_weight: Option<u16>,
    pub blkio_weight_devices: Vec<DeviceWeight>,
    pub blkio_read_bps: Vec<DeviceRate>,
    pub blkio_write_bps: Vec<DeviceRate>,
    pub blkio_read_iops: Vec<DeviceRate>,
    pub blkio_write_iops: Vec<DeviceRate>,
}

/// Block I/O weight of one device of the host, 10 to 1000.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceWeight {
    pub path: String,
    pub weight: u16,
}

/// The most bytes or operations per second on one device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRate {
    pub path: String,
    pub rate: u64,
}
