//! Containers: what to run (`Config`), what runs (`State`), and the answers about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::host_config::{HostConfig, PortBinding};
use super::image::GraphDriver;
use super::network::{EndpointSettings, NetworkingConfig};
use super::{Command, Present, StringMap};

/// Port (`80/tcp`) to where it is published; `null` for exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// `POST /containers/create`: a [`Config`] with two more fields.
///
/// Not a `wire!` struct: reading a flattened field as nullable would take what is wrong in it for nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerCreateBody {
    #[serde(flatten)]
    pub config: Config,
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub host_config: HostConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networking_config: Option<NetworkingConfig>,
}

wire! {
    /// The portable half of a container's configuration; images carry one too.
    pub struct Config {
        pub hostname: String,
        pub domainname: String,
        pub user: String,
        pub attach_stdin: bool,
        pub attach_stdout: bool,
        pub attach_stderr: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub exposed_ports: Option<BTreeMap<String, Present>>,
        pub tty: bool,
        pub open_stdin: bool,
        pub stdin_once: bool,
        pub env: Option<Vec<String>>,
        pub cmd: Option<Command>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub healthcheck: Option<Healthcheck>,
        #[serde(skip_serializing_if = "super::is_false")]
        pub args_escaped: bool,
        pub image: String,
        pub volumes: Option<BTreeMap<String, Present>>,
        pub working_dir: String,
        pub entrypoint: Option<Command>,
        #[serde(skip_serializing_if = "super::is_false")]
        pub network_disabled: bool,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub mac_address: String,
        pub on_build: Option<Vec<String>>,
        pub labels: Option<StringMap>,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shell: Option<Command>,
    }

    /// How to see whether the container is well; durations in nanoseconds.
    pub struct Healthcheck {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub test: Option<Vec<String>>,
        #[serde(skip_serializing_if = "super::is_zero")]
        pub interval: i64,
        #[serde(skip_serializing_if = "super::is_zero")]
        pub timeout: i64,
        #[serde(skip_serializing_if = "super::is_zero")]
        pub start_period: i64,
        #[serde(skip_serializing_if = "super::is_zero")]
        pub start_interval: i64,
        #[serde(skip_serializing_if = "super::is_zero")]
        pub retries: i64,
    }

    /// The answer to a create.
    pub struct CreateResponse {
        pub id: String,
        pub warnings: Vec<String>,
    }

    /// `GET /containers/{id}/json`.
    pub struct ContainerInspect {
        pub id: String,
        pub created: String,
        pub path: String,
        pub args: Vec<String>,
        pub state: State,
        pub image: String,
        pub resolv_conf_path: String,
        pub hostname_path: String,
        pub hosts_path: String,
        pub log_path: String,
        pub name: String,
        pub restart_count: i64,
        pub driver: String,
        pub platform: String,
        pub mount_label: String,
        pub process_label: String,
        pub app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        pub exec_ids: Option<Vec<String>>,
        pub host_config: HostConfig,
        pub graph_driver: GraphDriver,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        pub mounts: Vec<MountPoint>,
        pub config: Config,
        pub network_settings: NetworkSettings,
    }

    /// Where a container is in its life. `Status`: created, running, paused, restarting, removing, exited, dead.
    pub struct State {
        pub status: String,
        pub running: bool,
        pub paused: bool,
        pub restarting: bool,
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        pub dead: bool,
        pub pid: i64,
        pub exit_code: i64,
        pub error: String,
        pub started_at: String,
        pub finished_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub health: Option<Health>,
    }

    /// What health checks have shown. `Status`: starting, healthy, unhealthy.
    pub struct Health {
        pub status: String,
        pub failing_streak: i64,
        pub log: Vec<HealthProbe>,
    }

    /// One health check.
    pub struct HealthProbe {
        pub start: String,
        pub end: String,
        pub exit_code: i64,
        pub output: String,
    }

    /// A mount as it is in a container.
    pub struct MountPoint {
        #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
        pub kind: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String,
        pub source: String,
        pub destination: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver: String,
        pub mode: String,
        #[serde(rename = "RW")]
        pub rw: bool,
        pub propagation: String,
    }

    /// The network half of an inspect.
    pub struct NetworkSettings {
        pub bridge: String,
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        pub sandbox_key: String,
        pub ports: PortMap,
        #[serde(rename = "HairpinMode")]
        pub hairpin_mode: bool,
        #[serde(rename = "LinkLocalIPv6Address")]
        pub link_local_ipv6_address: String,
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        pub link_local_ipv6_prefix_len: i64,
        #[serde(rename = "SecondaryIPAddresses")]
        pub secondary_ip_addresses: Option<Vec<String>>,
        #[serde(rename = "SecondaryIPv6Addresses")]
        pub secondary_ipv6_addresses: Option<Vec<String>>,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        pub mac_address: String,
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// One element of `GET /containers/json`.
    pub struct ContainerSummary {
        pub id: String,
        pub names: Vec<String>,
        pub image: String,
        #[serde(rename = "ImageID")]
        pub image_id: String,
        pub command: String,
        pub created: i64,
        pub ports: Vec<Port>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        pub labels: StringMap,
        pub state: String,
        pub status: String,
        pub host_config: SummaryHostConfig,
        pub network_settings: SummaryNetworkSettings,
        pub mounts: Vec<MountPoint>,
    }

    /// A port in a summary.
    pub struct Port {
        #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
        pub ip: String,
        pub private_port: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub public_port: Option<u16>,
        #[serde(rename = "Type")]
        pub kind: String,
    }

    /// The little of `HostConfig` that a summary tells.
    pub struct SummaryHostConfig {
        pub network_mode: String,
    }

    /// The little of `NetworkSettings` that a summary tells.
    pub struct SummaryNetworkSettings {
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// `GET /containers/{id}/top`.
    pub struct TopResponse {
        pub titles: Vec<String>,
        pub processes: Vec<Vec<String>>,
    }

    /// `POST /containers/{id}/update`.
    pub struct UpdateResponse {
        pub warnings: Option<Vec<String>>,
    }

    /// `POST /containers/{id}/wait`.
    pub struct WaitResponse {
        pub status_code: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub error: Option<WaitError>,
    }

    /// Why a wait failed.
    pub struct WaitError {
        pub message: String,
    }

    /// `GET /containers/{id}/archive`: what a path leads to, in a header.
    pub struct PathStat {
        #[serde(rename = "name")]
        pub name: String,
        #[serde(rename = "size")]
        pub size: i64,
        /// Go's `os.FileMode`.
        #[serde(rename = "mode")]
        pub mode: u32,
        #[serde(rename = "mtime")]
        pub mtime: String,
        #[serde(rename = "linkTarget")]
        pub link_target: String,
    }

    /// `GET /containers/{id}/changes`: one of them.
    pub struct ContainerChange {
        pub path: String,
        /// 0 changed, 1 added, 2 deleted.
        pub kind: u8,
    }

    /// `GET /containers/{id}/top`.
    pub struct Top {
        pub titles: Vec<String>,
        pub processes: Vec<Vec<String>>,
    }

    /// `POST /containers/prune`.
    pub struct ContainersPruneReport {
        pub containers_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }
}
