//! From an older version of containerd's configuration to the newest, in memory. Pure.
//!
//! ```text
//! 1 ─▶ 2  plugins get their whole names
//! 2 ─▶ 3  the CRI's table becomes three; the monitors are renamed
//! 3 ─▶ 4  the servers ([grpc], [ttrpc], [debug], [metrics]) become plugins
//! ```

use toml::{Table, Value};

use super::keys::{
    CRI, CRI_IMAGES, CRI_RUNTIME, DEBUG, GRPC, GRPC_PROMETHEUS, GRPC_TCP, METRICS, TTRPC, VERSION, enter,
};

/// What a plugin was called in version 1, and its type since.
const SHORT_NAMES: &[(&str, &[&str])] = &[
    ("io.containerd.content.v1", &["content"]),
    ("io.containerd.differ.v1", &["walking"]),
    ("io.containerd.event.v1", &["exchange"]),
    ("io.containerd.gc.v1", &["scheduler"]),
    ("io.containerd.internal.v1", &["opt", "restart", "tracing"]),
    ("io.containerd.metadata.v1", &["bolt"]),
    ("io.containerd.monitor.v1", &["cgroups"]),
    ("io.containerd.runtime.v1", &["linux"]),
    ("io.containerd.runtime.v2", &["task"]),
    (
        "io.containerd.service.v1",
        &[
            "containers-service",
            "content-service",
            "diff-service",
            "images-service",
            "introspection-service",
            "leases-service",
            "namespaces-service",
            "snapshots-service",
            "tasks-service",
        ],
    ),
    (
        "io.containerd.snapshotter.v1",
        &["aufs", "blockfile", "btrfs", "devmapper", "native", "overlayfs", "zfs"],
    ),
    ("io.containerd.tracing.processor.v1", &["otlp"]),
];

/// What all other plugins of version 1 were.
const OTHER_TYPE: &str = "io.containerd.grpc.v1";

/// What is the CRI server's own.
const CRI_SERVER: &[&str] = &[
    "disable_tcp_service",
    "stream_server_address",
    "stream_server_port",
    "stream_idle_timeout",
    "enable_tls_streaming",
    "x509_key_pair_streaming",
];

/// What went to images, of the CRI's table and of `containerd` in it.
const CRI_OF_IMAGES: &[&str] = &[
    "registry",
    "image_decryption",
    "max_concurrent_downloads",
    "image_pull_progress_timeout",
    "image_pull_with_sync_fs",
    "stats_collect_period",
];
const CONTAINERD_OF_IMAGES: &[&str] =
    &["snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"];

/// Plugins that were renamed in version 3.
const RENAMED: &[(&str, &str)] = &[
    ("io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart"),
    ("io.containerd.monitor.v1.cgroups", "io.containerd.monitor.task.v1.cgroups"),
];

/// Where a key went in version 4.
struct Move {
    table: &'static str,
    key: &'static str,
    path: &'static str,
    name: &'static str,
}

const fn moved(table: &'static str, key: &'static str, path: &'static str, name: &'static str) -> Move {
    Move { table, key, path, name }
}

const SERVERS: &[Move] = &[
    moved("grpc", "address", GRPC, "address"),
    moved("grpc", "uid", GRPC, "uid"),
    moved("grpc", "gid", GRPC, "gid"),
    moved("grpc", "max_recv_message_size", GRPC, "max_recv_message_size"),
    moved("grpc", "max_send_message_size", GRPC, "max_send_message_size"),
    moved("grpc", "tcp_address", GRPC_TCP, "address"),
    moved("grpc", "tcp_tls_ca", GRPC_TCP, "tls_ca"),
    moved("grpc", "tcp_tls_cert", GRPC_TCP, "tls_cert"),
    moved("grpc", "tcp_tls_key", GRPC_TCP, "tls_key"),
    moved("grpc", "tcp_tls_common_name", GRPC_TCP, "tls_common_name"),
    moved("ttrpc", "address", TTRPC, "address"),
    moved("ttrpc", "uid", TTRPC, "uid"),
    moved("ttrpc", "gid", TTRPC, "gid"),
    moved("debug", "address", DEBUG, "address"),
    moved("debug", "uid", DEBUG, "uid"),
    moved("debug", "gid", DEBUG, "gid"),
    moved("metrics", "address", METRICS, "address"),
    moved("metrics", "grpc_histogram", GRPC_PROMETHEUS, "grpc_histogram"),
];

/// Brings a document of any known version to the newest one; what had to be guessed is added to `notes`.
///
/// # Errors
/// A version that is not known, in words for who wrote it.
pub(super) fn migrate(table: &mut Table, notes: &mut Vec<String>) -> Result<(), String> {
    let version = match table.remove("version") {
        None => 1,
        Some(Value::Integer(version)) => version,
        Some(other) => return Err(format!("`version` must be a number, and is {}", other.type_str())),
    };
    if !(1..=VERSION).contains(&version) {
        return Err(format!("version {version} is not known; the newest is {VERSION}"));
    }
    if version == 1 {
        name_plugins(table, notes);
    }
    if version <= 2 {
        split_cri(table);
        rename_plugins(table);
    }
    // Also in a file of version 4, where containerd still takes the old tables.
    move_servers(table);
    table.insert("version".into(), VERSION.into());
    Ok(())
}

/// 1 to 2: whole names.
fn name_plugins(table: &mut Table, notes: &mut Vec<String>) {
    for list in ["disabled_plugins", "required_plugins"] {
        if let Some(Value::Array(names)) = table.get_mut(list) {
            for name in names {
                if let Value::String(name) = name {
                    *name = whole_name(name, notes);
                }
            }
        }
    }
    let Some(Value::Table(plugins)) = table.get_mut("plugins") else { return };
    let named = std::mem::take(plugins);
    plugins.extend(named.into_iter().map(|(name, keys)| (whole_name(&name, notes), keys)));
}

fn whole_name(name: &str, notes: &mut Vec<String>) -> String {
    if name.starts_with("io.containerd.") {
        return name.to_owned();
    }
    if let Some((kind, _)) = SHORT_NAMES.iter().find(|(_, names)| names.contains(&name)) {
        return format!("{kind}.{name}");
    }
    let whole = format!("{OTHER_TYPE}.{name}");
    if name != "cri" {
        notes.push(format!("the plugin `{name}` of version 1 is taken for `{whole}`"));
    }
    whole
}

/// 2 to 3: the CRI's table is one for the server, one for images and one for what runs.
fn split_cri(table: &mut Table) {
    let id = CRI.trim_start_matches("plugins/");
    let Some(Value::Table(plugins)) = table.get_mut("plugins") else { return };
    let Some(Value::Table(mut all)) = plugins.remove(id) else { return };
    let server = take(&mut all, CRI_SERVER);
    let mut images = take(&mut all, CRI_OF_IMAGES);
    if let Some(Value::Table(containerd)) = all.get_mut("containerd") {
        images.extend(take(containerd, CONTAINERD_OF_IMAGES));
        name_sandboxers(containerd);
    }
    if let Some(sandbox) = all.remove("sandbox_image") {
        enter(&mut images, "pinned_images").insert("sandbox".into(), sandbox);
    }
    if let Some(Value::Table(cni)) = all.get_mut("cni")
        && let Some(directory) = cni.remove("bin_dir").filter(|value| value.as_str() != Some(""))
    {
        cni.insert("bin_dirs".into(), Value::Array(vec![directory]));
    }
    for (path, keys) in [(CRI, server), (CRI_IMAGES, images), (CRI_RUNTIME, all)] {
        if !keys.is_empty() {
            enter(table, path).extend(keys);
        }
    }
}

fn name_sandboxers(containerd: &mut Table) {
    let Some(Value::Table(runtimes)) = containerd.get_mut("runtimes") else { return };
    for (_, runtime) in runtimes.iter_mut() {
        if let Value::Table(runtime) = runtime
            && let Some(mode) = runtime.remove("sandbox_mode")
        {
            runtime.insert("sandboxer".into(), mode);
        }
    }
}

fn rename_plugins(table: &mut Table) {
    for list in ["disabled_plugins", "required_plugins"] {
        if let Some(Value::Array(names)) = table.get_mut(list) {
            for name in names {
                if let Some((_, new)) = RENAMED.iter().find(|(old, _)| name.as_str() == Some(old)) {
                    *name = (*new).into();
                }
            }
        }
    }
    let Some(Value::Table(plugins)) = table.get_mut("plugins") else { return };
    for (old, new) in RENAMED {
        if let Some(keys) = plugins.remove(*old) {
            plugins.insert((*new).to_owned(), keys);
        }
    }
    if let Some(Value::Table(task)) = plugins.get_mut("io.containerd.runtime.v2.task")
        && task.remove("sched_core").is_some_and(|value| value.as_bool() == Some(true))
    {
        let manager = enter(plugins, "io.containerd.shim.v1.manager");
        manager.insert("env".into(), Value::Array(vec!["SCHED_CORE=1".into()]));
    }
}

/// 3 to 4: a server is a plugin; what the plugin's own table says comes first.
fn move_servers(table: &mut Table) {
    for Move { table: from, key, path, name } in SERVERS {
        let Some(Value::Table(old)) = table.get_mut(*from) else { continue };
        let Some(value) = old.remove(*key) else { continue };
        // What is left stays: `[debug]` is still a table, and of the others it is unknown.
        if old.is_empty() {
            table.remove(*from);
        }
        enter(table, path).entry(*name).or_insert(value);
    }
}

fn take(from: &mut Table, names: &[&str]) -> Table {
    names.iter().filter_map(|name| Some(((*name).to_owned(), from.remove(*name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(text: &str) -> (Table, Vec<String>) {
        let (mut table, mut notes) = (text.parse().unwrap(), Vec::new());
        migrate(&mut table, &mut notes).unwrap();
        (table, notes)
    }

    #[test]
    fn all_versions_say_the_same() {
        let newest = "version = 4
            disabled_plugins = ['io.containerd.monitor.container.v1.restart']
            [plugins.'io.containerd.server.v1.grpc']
            address = '/a.sock'
            [plugins.'io.containerd.cri.v1.images'.registry]
            config_path = '/certs'
            [plugins.'io.containerd.cri.v1.images'.pinned_images]
            sandbox = 'pause:1'
            [plugins.'io.containerd.cri.v1.runtime'.cni]
            bin_dirs = ['/bin']";
        let third = newest
            .replace("version = 4", "version = 3")
            .replace("[plugins.'io.containerd.server.v1.grpc']", "[grpc]");
        let second = "version = 2
            disabled_plugins = ['io.containerd.internal.v1.restart']
            [grpc]
            address = '/a.sock'
            [plugins.'io.containerd.grpc.v1.cri']
            sandbox_image = 'pause:1'
            registry.config_path = '/certs'
            cni.bin_dir = '/bin'";
        let first = "disabled_plugins = ['restart']
            grpc.address = '/a.sock'
            [plugins.cri]
            sandbox_image = 'pause:1'
            registry.config_path = '/certs'
            cni.bin_dir = '/bin'";
        let (expected, _) = migrated(newest);
        for text in [&third, second, first] {
            let (table, notes) = migrated(text);
            assert_eq!(table, expected, "{text}");
            assert!(notes.is_empty(), "{notes:?}");
        }
    }

    #[test]
    fn the_cris_table_becomes_three() {
        let (table, _) = migrated(
            "version = 2
            [plugins.'io.containerd.grpc.v1.cri']
            stream_server_port = '1'
            enable_selinux = true
            [plugins.'io.containerd.grpc.v1.cri'.containerd]
            snapshotter = 'native'
            default_runtime_name = 'kata'
            runtimes.kata.sandbox_mode = 'shim'
            [plugins.'io.containerd.runtime.v2.task']
            sched_core = true",
        );
        let expected: Table = "version = 4
            [plugins.'io.containerd.grpc.v1.cri']
            stream_server_port = '1'
            [plugins.'io.containerd.cri.v1.images']
            snapshotter = 'native'
            [plugins.'io.containerd.cri.v1.runtime']
            enable_selinux = true
            containerd.default_runtime_name = 'kata'
            containerd.runtimes.kata.sandboxer = 'shim'
            [plugins.'io.containerd.runtime.v2.task']
            [plugins.'io.containerd.shim.v1.manager']
            env = ['SCHED_CORE=1']"
            .parse()
            .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn a_guess_is_told_and_an_unknown_version_refused() {
        let (table, notes) = migrated("[plugins.mine]\na = 1");
        assert!(table["plugins"].get("io.containerd.grpc.v1.mine").is_some());
        assert_eq!(notes, ["the plugin `mine` of version 1 is taken for `io.containerd.grpc.v1.mine`"]);
        for (text, expected) in [
            ("version = 5", "version 5 is not known; the newest is 4"),
            ("version = 0", "version 0 is not known; the newest is 4"),
            ("version = 'two'", "`version` must be a number, and is string"),
        ] {
            let error = migrate(&mut text.parse().unwrap(), &mut Vec::new()).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}
