//! The keys of containerd's configuration, version 4: what each is when nobody says, and which of them Corten acts upon.
//!
//! A path names a table, with `/` between its parts, because plugins have dots in their names; `*` stands for any name.

use toml::{Table, Value};

/// The newest version of the format.
pub(super) const VERSION: i64 = 4;

pub(super) const GRPC: &str = "plugins/io.containerd.server.v1.grpc";
pub(super) const GRPC_TCP: &str = "plugins/io.containerd.server.v1.grpc-tcp";
pub(super) const TTRPC: &str = "plugins/io.containerd.server.v1.ttrpc";
pub(super) const DEBUG: &str = "plugins/io.containerd.server.v1.debug";
pub(super) const METRICS: &str = "plugins/io.containerd.server.v1.metrics";
pub(super) const GRPC_PROMETHEUS: &str = "plugins/io.containerd.metrics.v1.grpc-prometheus";
pub(super) const CRI: &str = "plugins/io.containerd.grpc.v1.cri";
pub(super) const CRI_IMAGES: &str = "plugins/io.containerd.cri.v1.images";
pub(super) const CRI_RUNTIME: &str = "plugins/io.containerd.cri.v1.runtime";
pub(super) const RESTART: &str = "plugins/io.containerd.monitor.container.v1.restart";
pub(super) const GC: &str = "plugins/io.containerd.gc.v1.scheduler";
pub(super) const TRANSFER: &str = "plugins/io.containerd.transfer.v1.local";
pub(super) const METADATA: &str = "plugins/io.containerd.metadata.v1.bolt";
pub(super) const VERIFIER: &str = "plugins/io.containerd.image-verifier.v1.bindir";

/// Every table with its keys and their defaults, in the order in which they are printed.
const TABLES: &[(&str, &str)] = &[
    (
        "",
        "root = '/var/lib/containerd'
         state = '/run/containerd'
         temp = ''
         imports = ['/etc/containerd/conf.d/*.toml']
         disabled_plugins = []
         required_plugins = []
         oom_score = 0",
    ),
    ("cgroup", "path = ''"),
    ("debug", "level = ''\n format = ''\n log_trace_id = false"),
    (
        GRPC,
        "address = '/run/containerd/containerd.sock'
         uid = 0
         gid = 0
         max_recv_message_size = 16777216
         max_send_message_size = 16777216",
    ),
    (
        GRPC_TCP,
        "address = ''
         tls_ca = ''
         tls_cert = ''
         tls_key = ''
         tls_common_name = ''
         max_recv_message_size = 16777216
         max_send_message_size = 16777216",
    ),
    (TTRPC, "address = ''\n uid = 0\n gid = 0"),
    (DEBUG, "address = ''\n uid = 0\n gid = 0"),
    (METRICS, "address = ''"),
    (GRPC_PROMETHEUS, "grpc_histogram = false"),
    (
        CRI,
        "disable_tcp_service = true
         stream_server_address = '127.0.0.1'
         stream_server_port = '0'
         stream_idle_timeout = '4h0m0s'
         enable_tls_streaming = false",
    ),
    ("plugins/io.containerd.grpc.v1.cri/x509_key_pair_streaming", "tls_cert_file = ''\n tls_key_file = ''"),
    (
        CRI_IMAGES,
        "snapshotter = 'overlayfs'
         disable_snapshot_annotations = true
         discard_unpacked_layers = false
         max_concurrent_downloads = 3
         concurrent_layer_fetch_buffer = 0
         image_pull_progress_timeout = '5m0s'
         image_pull_with_sync_fs = false
         stats_collect_period = 10
         use_local_image_pull = false",
    ),
    ("plugins/io.containerd.cri.v1.images/pinned_images", "sandbox = 'registry.k8s.io/pause:3.10.2'"),
    ("plugins/io.containerd.cri.v1.images/registry", "config_path = ''"),
    ("plugins/io.containerd.cri.v1.images/image_decryption", "key_model = 'node'"),
    ("plugins/io.containerd.cri.v1.images/runtime_platforms/*", "platform = ''\n snapshotter = ''"),
    (
        CRI_RUNTIME,
        "enable_selinux = false
         selinux_category_range = 1024
         max_container_log_line_size = 16384
         disable_apparmor = false
         restrict_oom_score_adj = false
         disable_proc_mount = false
         unset_seccomp_profile = ''
         tolerate_missing_hugetlb_controller = true
         disable_hugetlb_controller = true
         device_ownership_from_security_context = false
         ignore_image_defined_volumes = false
         netns_mounts_under_state_dir = false
         enable_unprivileged_ports = true
         enable_unprivileged_icmp = true
         enable_cdi = true
         cdi_spec_dirs = ['/etc/cdi', '/var/run/cdi']
         drain_exec_sync_io_timeout = '0s'
         ignore_deprecation_warnings = []
         stats_collect_period = '1s'
         stats_retention_period = '2m'
         enable_criu = true",
    ),
    (
        "plugins/io.containerd.cri.v1.runtime/containerd",
        "default_runtime_name = 'runc'
         ignore_blockio_not_enabled_errors = false
         ignore_rdt_not_enabled_errors = false",
    ),
    (
        RUNTIMES,
        "runtime_type = ''
         runtime_path = ''
         pod_annotations = []
         container_annotations = []
         privileged_without_host_devices = false
         privileged_without_host_devices_all_devices_allowed = false
         cgroup_writable = false
         base_runtime_spec = ''
         cni_conf_dir = ''
         cni_max_conf_num = 0
         snapshotter = ''
         sandboxer = ''
         disable_pause_image_pull = false
         io_type = ''",
    ),
    (
        "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/runc",
        "runtime_type = 'io.containerd.runc.v2'\n sandboxer = 'podsandbox'",
    ),
    (
        "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/runc/options",
        "BinaryName = ''
         CriuImagePath = ''
         CriuWorkPath = ''
         IoGid = 0
         IoUid = 0
         NoNewKeyring = false
         Root = ''
         ShimCgroup = ''
         SystemdCgroup = false",
    ),
    (
        "plugins/io.containerd.cri.v1.runtime/cni",
        "bin_dir = ''
         bin_dirs = ['/opt/cni/bin']
         conf_dir = '/etc/cni/net.d'
         max_conf_num = 1
         setup_serially = false
         conf_template = ''
         ip_pref = ''
         use_internal_loopback = false",
    ),
    (
        "plugins/io.containerd.differ.v1.erofs",
        "mkfs_options = []\n enable_tar_index = false\n enable_dmverity = false",
    ),
    (
        GC,
        "pause_threshold = 0.02
         deletion_threshold = 0
         mutation_threshold = 100
         schedule_delay = '0s'
         startup_delay = '100ms'",
    ),
    (
        VERIFIER,
        "bin_dir = '/opt/containerd/image-verifier/bin'\n max_verifiers = 10\n per_verifier_timeout = '10s'",
    ),
    ("plugins/io.containerd.internal.v1.opt", "path = '/opt/containerd'"),
    ("plugins/io.containerd.internal.v1.tracing", ""),
    (METADATA, "content_sharing_policy = 'shared'\n no_sync = false"),
    ("plugins/io.containerd.monitor.container.v1.restart", "interval = '10s'"),
    ("plugins/io.containerd.monitor.task.v1.cgroups", "no_prometheus = false"),
    (
        "plugins/io.containerd.nri.v1.nri",
        "disable = false
         socket_path = '/var/run/nri/nri.sock'
         plugin_path = '/opt/nri/plugins'
         plugin_config_path = '/etc/nri/conf.d'
         plugin_registration_timeout = '5s'
         plugin_request_timeout = '2s'
         disable_connections = false",
    ),
    ("plugins/io.containerd.runtime.v2.task", "platforms = ['linux/amd64']"),
    ("plugins/io.containerd.service.v1.diff-service", "default = ['walking']\n sync_fs = false"),
    ("plugins/io.containerd.service.v1.tasks-service", "blockio_config_file = ''\n rdt_config_file = ''"),
    ("plugins/io.containerd.shim.v1.manager", "env = []\n socket_dir = ''"),
    (
        "plugins/io.containerd.snapshotter.v1.blockfile",
        "root_path = ''\n scratch_file = ''\n fs_type = ''\n mount_options = []\n recreate_scratch = false",
    ),
    ("plugins/io.containerd.snapshotter.v1.btrfs", "root_path = ''"),
    (
        "plugins/io.containerd.snapshotter.v1.devmapper",
        "root_path = ''
         pool_name = ''
         base_image_size = ''
         async_remove = false
         discard_blocks = false
         fs_type = ''
         fs_options = ''",
    ),
    (
        "plugins/io.containerd.snapshotter.v1.erofs",
        "root_path = ''
         ovl_mount_options = []
         enable_fsverity = false
         set_immutable = false
         default_size = ''
         dmverity_mode = ''",
    ),
    ("plugins/io.containerd.snapshotter.v1.native", "root_path = ''"),
    (
        "plugins/io.containerd.snapshotter.v1.overlayfs",
        "root_path = ''\n upperdir_label = false\n sync_remove = false\n slow_chown = false\n mount_options = []",
    ),
    ("plugins/io.containerd.snapshotter.v1.zfs", "root_path = ''"),
    ("plugins/io.containerd.tracing.processor.v1.otlp", ""),
    (
        TRANSFER,
        "max_concurrent_downloads = 3
         concurrent_layer_fetch_buffer = 0
         max_concurrent_uploaded_layers = 3
         check_platform_supported = false
         config_path = ''",
    ),
    (
        "timeouts",
        "'io.containerd.timeout.bolt.open' = '0s'
         'io.containerd.timeout.cri.defercleanup' = '1m0s'
         'io.containerd.timeout.metrics.shimstats' = '2s'
         'io.containerd.timeout.shim.cleanup' = '5s'
         'io.containerd.timeout.shim.load' = '5s'
         'io.containerd.timeout.shim.shutdown' = '3s'
         'io.containerd.timeout.task.state' = '2s'",
    ),
];

const RUNTIMES: &str = "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/*";

/// Tables in which containerd takes any key: what is in them is not Corten's to know.
const FREE: &[&str] = &[
    "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/*/options",
    "plugins/io.containerd.cri.v1.images/registry/mirrors",
    "plugins/io.containerd.cri.v1.images/registry/configs",
    "plugins/io.containerd.cri.v1.images/registry/auths",
    "plugins/io.containerd.cri.v1.images/registry/headers",
    "plugins/io.containerd.internal.v1.tracing",
    "plugins/io.containerd.tracing.processor.v1.otlp",
    "plugins/io.containerd.nri.v1.nri/default_validator",
    "proxy_plugins",
    "stream_processors",
    "timeouts",
];

/// The keys that Corten acts upon.
const ACTED_UPON: &[&str] = &[
    "root",
    "state",
    "imports",
    "disabled_plugins",
    "required_plugins",
    "oom_score",
    "cgroup/path",
    "debug/level",
    "debug/format",
    "plugins/io.containerd.server.v1.grpc/address",
    "plugins/io.containerd.server.v1.grpc/uid",
    "plugins/io.containerd.server.v1.grpc/gid",
    "plugins/io.containerd.server.v1.ttrpc/address",
    "plugins/io.containerd.server.v1.ttrpc/uid",
    "plugins/io.containerd.server.v1.ttrpc/gid",
    "plugins/io.containerd.server.v1.metrics/address",
    "plugins/io.containerd.cri.v1.images/registry/config_path",
    "plugins/io.containerd.cri.v1.runtime/cdi_spec_dirs",
    "plugins/io.containerd.gc.v1.scheduler/mutation_threshold",
    "plugins/io.containerd.monitor.container.v1.restart/interval",
    "plugins/io.containerd.transfer.v1.local/config_path",
];

/// What a key is to Corten.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    ActedUpon,
    /// containerd has it; with this default, if it has one.
    Known(Option<Value>),
    Unknown,
}

/// All defaults, `version` first.
pub(super) fn defaults() -> Table {
    let mut all = Table::new();
    all.insert("version".into(), VERSION.into());
    for (path, keys) in TABLES.iter().filter(|(path, _)| !path.contains('*')) {
        let table = enter(&mut all, path);
        if path.ends_with("runtimes/runc") {
            table.extend(keys_of(RUNTIMES).unwrap_or_default());
        }
        table.extend(parsed(keys));
    }
    all
}

/// The defaults of one table; none for one that containerd does not have.
pub(super) fn keys_of(path: &str) -> Option<Table> {
    // What a name of its own has comes after what all of its kind have.
    let mut found = TABLES.iter().filter(|(pattern, _)| matches(pattern, path)).peekable();
    found.peek()?;
    Some(found.flat_map(|(_, keys)| parsed(keys)).collect())
}

/// What a key of the table at `path` is.
pub(super) fn standing(path: &str, key: &str) -> Standing {
    let full = joined(path, key);
    if ACTED_UPON.contains(&full.as_str()) {
        return Standing::ActedUpon;
    }
    match keys_of(path).and_then(|keys| keys.get(key).cloned()) {
        Some(default) => Standing::Known(Some(default)),
        None if is_free(path) || full == "version" => Standing::Known(None),
        None => Standing::Unknown,
    }
}

/// Whether containerd takes any key in this table, or in one around it.
pub(super) fn is_free(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    (1..=parts.len()).any(|length| {
        let around = parts[..length].join("/");
        FREE.iter().any(|pattern| matches(pattern, &around))
    })
}

/// Whether containerd has this table, or one in it.
pub(super) fn is_table(path: &str) -> bool {
    let depth = path.split('/').count();
    let begins = |pattern: &&str| {
        let head: Vec<&str> = pattern.split('/').take(depth).collect();
        head.len() == depth && matches(&head.join("/"), path)
    };
    is_free(path) || TABLES.iter().map(|(pattern, _)| pattern).chain(FREE).any(begins)
}

/// The path of what is called `name` in the table at `path`.
pub(super) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// The table at a path, made if it is not there.
pub(super) fn enter<'a>(table: &'a mut Table, path: &str) -> &'a mut Table {
    let mut at = table;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let inner = at.entry(part).or_insert_with(|| Table::new().into());
        if !inner.is_table() {
            *inner = Table::new().into();
        }
        at = inner.as_table_mut().expect("it is a table now");
    }
    at
}

/// The value at a path, if there is one.
pub(super) fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (head, rest) = path.split_once('/').map_or((path, None), |(head, rest)| (head, Some(rest)));
    match rest {
        None => table.get(head),
        Some(rest) => find(table.get(head)?.as_table()?, rest),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut one, mut other) = (pattern.split('/'), path.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(want), Some(name)) if want == "*" || want == name => {}
            _ => return false,
        }
    }
}

fn parsed(keys: &str) -> Table {
    keys.parse().expect("the tables of defaults are TOML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_acted_upon_has_a_default() {
        let defaults = defaults();
        for path in ACTED_UPON {
            assert!(find(&defaults, path).is_some(), "{path}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_table_and_its_name() {
        for (path, key, expected) in [
            ("", "root", Standing::ActedUpon),
            ("", "version", Standing::Known(None)),
            ("", "rooot", Standing::Unknown),
            ("cgroup", "path", Standing::ActedUpon),
            (CRI_RUNTIME, "enable_cdi", Standing::Known(Some(true.into()))),
            (
                "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/kata",
                "snapshotter",
                Standing::Known(Some("".into())),
            ),
            ("plugins/io.containerd.cri.v1.runtime/containerd/runtimes/kata", "x", Standing::Unknown),
            (
                "plugins/io.containerd.cri.v1.runtime/containerd/runtimes/kata/options",
                "x",
                Standing::Known(None),
            ),
            ("proxy_plugins/soci", "address", Standing::Known(None)),
            ("plugins/io.containerd.none.v1.such", "x", Standing::Unknown),
        ] {
            assert_eq!(standing(path, key), expected, "{path} {key}");
        }
        assert!(is_table("plugins") && is_table(CRI) && is_table("proxy_plugins/x"));
        assert!(is_table("plugins/io.containerd.cri.v1.runtime/containerd/runtimes/kata"));
        assert!(!is_table("plugins/io.containerd.none.v1.such") && !is_table("grpc"));
    }

    #[test]
    fn a_runtime_of_any_name_has_the_keys_of_all() {
        let keys = |name: &str| {
            keys_of(&format!("plugins/io.containerd.cri.v1.runtime/containerd/runtimes/{name}")).unwrap()
        };
        assert_eq!(keys("kata").len(), keys("runc").len());
        assert_eq!(keys("kata")["runtime_type"].as_str(), Some(""));
        assert_eq!(keys("runc")["runtime_type"].as_str(), Some("io.containerd.runc.v2"));
    }
}
