//! The daemon about itself: version and info.

use std::collections::BTreeMap;

use super::StringMap;
use super::container::ContainerSummary;
use super::image::ImageSummary;
use super::volume::Volume;

wire! {
    /// `GET /version`.
    pub struct Version {
        pub platform: PlatformName,
        pub components: Vec<Component>,
        pub version: String,
        pub api_version: String,
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        pub git_commit: String,
        pub go_version: String,
        pub os: String,
        pub arch: String,
        pub kernel_version: String,
        #[serde(skip_serializing_if = "super::is_false")]
        pub experimental: bool,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub build_time: String,
    }

    /// The product's name.
    pub struct PlatformName {
        pub name: String,
    }

    /// A part of the product with a version of its own.
    pub struct Component {
        pub name: String,
        pub version: String,
        pub details: StringMap,
    }

    /// `GET /system/df`. What was not asked for is `null`.
    pub struct DiskUsage {
        pub layers_size: i64,
        pub images: Option<Vec<ImageSummary>>,
        pub containers: Option<Vec<ContainerSummary>>,
        pub volumes: Option<Vec<Volume>>,
        pub build_cache: Option<Vec<BuildCacheRecord>>,
        /// Answered to clients below API 1.42 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub builder_size: Option<i64>,
    }

    /// `POST /build/prune`: ids of what was removed, and bytes.
    pub struct BuildCachePruneReport {
        pub caches_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }

    /// A result of a build step that is kept.
    pub struct BuildCacheRecord {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(rename = "Type")]
        pub kind: String,
        pub description: String,
        pub in_use: bool,
        pub shared: bool,
        pub size: i64,
        pub created_at: String,
        pub last_used_at: Option<String>,
        pub usage_count: i64,
    }

    /// `GET /info`.
    pub struct Info {
        #[serde(rename = "ID")]
        pub id: String,
        pub containers: i64,
        pub containers_running: i64,
        pub containers_paused: i64,
        pub containers_stopped: i64,
        pub images: i64,
        pub driver: String,
        pub driver_status: Vec<[String; 2]>,
        pub plugins: Plugins,
        pub memory_limit: bool,
        pub swap_limit: bool,
        pub cpu_cfs_period: bool,
        pub cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        pub pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bridge_nf_iptables: Option<bool>,
        #[serde(rename = "BridgeNfIp6tables", skip_serializing_if = "Option::is_none")]
        pub bridge_nf_ip6tables: Option<bool>,
        pub debug: bool,
        #[serde(rename = "NFd")]
        pub open_files: i64,
        pub oom_kill_disable: bool,
        #[serde(rename = "NGoroutines")]
        pub tasks: i64,
        pub system_time: String,
        pub logging_driver: String,
        pub cgroup_driver: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub cgroup_version: String,
        #[serde(rename = "NEventsListener")]
        pub event_listeners: i64,
        pub kernel_version: String,
        pub operating_system: String,
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        #[serde(rename = "OSType")]
        pub os_type: String,
        pub architecture: String,
        pub index_server_address: String,
        pub registry_config: Option<RegistryConfig>,
        #[serde(rename = "NCPU")]
        pub cpus: i64,
        pub mem_total: i64,
        pub generic_resources: Option<Vec<StringMap>>,
        pub docker_root_dir: String,
        pub http_proxy: String,
        pub https_proxy: String,
        pub no_proxy: String,
        pub name: String,
        pub labels: Vec<String>,
        pub experimental_build: bool,
        pub server_version: String,
        pub runtimes: BTreeMap<String, Runtime>,
        pub default_runtime: String,
        pub swarm: Swarm,
        pub live_restore_enabled: bool,
        pub isolation: String,
        pub init_binary: String,
        pub containerd_commit: Commit,
        pub runc_commit: Commit,
        pub init_commit: Commit,
        pub security_options: Vec<String>,
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Vec<String>,
        pub warnings: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub firewall_backend: Option<FirewallBackend>,
    }

    /// Who filters packets.
    pub struct FirewallBackend {
        pub driver: String,
    }

    /// Names of what is built in.
    pub struct Plugins {
        pub volume: Vec<String>,
        pub network: Vec<String>,
        pub authorization: Option<Vec<String>>,
        pub log: Vec<String>,
    }

    /// Registries with special rules.
    pub struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        pub index_configs: BTreeMap<String, IndexConfig>,
        pub mirrors: Vec<String>,
    }

    /// How a registry is spoken to.
    pub struct IndexConfig {
        pub name: String,
        pub mirrors: Vec<String>,
        pub secure: bool,
        pub official: bool,
    }

    /// An OCI runtime.
    pub struct Runtime {
        #[serde(rename = "path", skip_serializing_if = "String::is_empty")]
        pub path: String,
    }

    /// A node outside every swarm.
    pub struct Swarm {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub node_addr: String,
        pub local_node_state: String,
        pub control_available: bool,
        pub error: String,
        pub remote_managers: Option<Vec<StringMap>>,
    }

    /// The source revision of a part.
    pub struct Commit {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub expected: String,
    }
}
