//! Devices that their vendors describe in files of the Container Device Interface (`--device vendor/class=name`, and
//! `--gpus`): looked up when a container is created, to refuse what is not there, and at each start, because drivers are
//! updated. The files belong to root. In a later directory they come before those of an earlier one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci::cdi::{self, Edits, Format, QualifiedName, Specification};
use oci::runtime_spec::{Device, DeviceRule, SpecMount};

use super::devices;
use super::spec::{DeviceRequest, DeviceSpec};
use crate::error::{Error, Result, chain};

/// Most files of a directory that are read.
const FILES_MAX: usize = 256;
/// A file lists devices and libraries of one driver.
const FILE_MAX_BYTES: u64 = 4 << 20;
/// More than any machine has.
const GPUS_MAX: i64 = 256;
/// The kinds that `--gpus` means.
const GPU_KINDS: [&str; 2] = ["nvidia.com/gpu", "amd.com/gpu"];

/// What the devices bring into a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Injected {
    pub(crate) env: Vec<String>,
    pub(crate) devices: Vec<(Device, DeviceRule)>,
    pub(crate) mounts: Vec<SpecMount>,
    pub(crate) groups: Vec<u32>,
}

/// Finds what was requested, in the files of `directories`.
pub(crate) fn find(requests: &[DeviceRequest], directories: &[PathBuf]) -> Result<Injected> {
    let mut injected = Injected::default();
    if requests.is_empty() {
        return Ok(injected);
    }
    let catalog = Catalog::read(directories);
    let mut names = Vec::new();
    for request in requests {
        names.extend(catalog.names(request)?);
    }
    let mut seen = BTreeSet::new();
    for name in &names {
        let (entry, device) = catalog.device(name)?;
        if seen.insert(&entry.path) {
            injected.apply(name, &entry.specification.container_edits)?;
        }
        injected.apply(name, &device.container_edits)?;
    }
    Ok(injected)
}

impl Injected {
    fn apply(&mut self, name: &str, edits: &Edits) -> Result<()> {
        let unsupported = |what: String| {
            Err(Error::Unsupported(format!("{what} of the CDI device `{name}` is not there yet")))
        };
        if let Some(hook) = edits.hooks.first() {
            return unsupported(format!("the hook `{}` ({})", hook.hook_name, hook.path));
        }
        if edits.intel_rdt.is_some() {
            return unsupported("`intelRdt`".into());
        }
        self.env.extend(edits.env.iter().cloned());
        self.groups.extend(edits.additional_gids.iter().filter(|group| **group != 0));
        for node in &edits.device_nodes {
            self.devices.push(device_node(name, node)?);
        }
        for mount in &edits.mounts {
            let is_bind = mount.options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"));
            let mut options = mount.options.clone();
            let kind = if mount.kind.is_empty() { "bind" } else { &mount.kind };
            if kind == "bind" && !is_bind {
                options.insert(0, "rbind".into());
            }
            self.mounts.push(SpecMount {
                destination: mount.container_path.clone(),
                kind: kind.to_owned(),
                source: mount.host_path.clone(),
                options,
                ..SpecMount::default()
            });
        }
        Ok(())
    }
}

fn device_node(name: &str, node: &cdi::DeviceNode) -> Result<(Device, DeviceRule)> {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let asked = DeviceSpec {
        host_path: or(&node.host_path, &node.path),
        container_path: node.path.clone(),
        permissions: or(&node.permissions, "rwm"),
    };
    let (mut device, mut rule) = match (node.kind.as_str(), node.major, node.minor) {
        ("", ..) | (_, 0, 0) => devices::node(&asked)?.ok_or_else(|| {
            Error::InvalidArgument(format!("CDI device {name}: {} is not a device node", asked.host_path))
        })?,
        (kind @ ("b" | "c" | "u" | "p"), major, minor) => {
            devices::known_node(&asked, if kind == "u" { "c" } else { kind }, (major, minor))
        }
        (kind, ..) => {
            return Err(Error::InvalidArgument(format!(
                "CDI device {name}: there is no device type {kind:?}"
            )));
        }
    };
    device.file_mode = node.file_mode.or(device.file_mode);
    device.uid = node.uid.or(device.uid);
    device.gid = node.gid.or(device.gid);
    rule.access = asked.permissions;
    Ok((device, rule))
}

struct Entry {
    /// Place of its directory: the last one wins.
    priority: usize,
    path: PathBuf,
    specification: Specification,
}

/// All files that can be read, and what is wrong with the others.
struct Catalog {
    entries: Vec<Entry>,
    broken: Vec<String>,
    directories: Vec<String>,
}

impl Catalog {
    fn read(directories: &[PathBuf]) -> Catalog {
        let shown = directories.iter().map(|directory| directory.display().to_string()).collect();
        let mut catalog = Catalog { entries: Vec::new(), broken: Vec::new(), directories: shown };
        for (priority, directory) in directories.iter().enumerate() {
            for (path, format) in files(directory) {
                match read(&path, format) {
                    Ok(specification) => catalog.entries.push(Entry { priority, path, specification }),
                    Err(why) => catalog.broken.push(format!("{}: {why}", path.display())),
                }
            }
        }
        catalog
    }

    /// The names of the devices that a request means.
    fn names(&self, request: &DeviceRequest) -> Result<Vec<String>> {
        let wants_gpu = request.capabilities.iter().flatten().any(|capability| capability == "gpu");
        match request.driver.as_str() {
            "cdi" if !request.ids.is_empty() => Ok(request.ids.clone()),
            "" | "nvidia" if wants_gpu => self.gpus(request),
            driver => Err(self.no_driver(driver, request)),
        }
    }

    fn gpus(&self, request: &DeviceRequest) -> Result<Vec<String>> {
        let has = |kind: &&&str| self.entries.iter().any(|entry| entry.specification.kind == **kind);
        let kind = GPU_KINDS.iter().find(has).ok_or_else(|| self.no_driver(&request.driver, request))?;
        let named = |device: &dyn std::fmt::Display| format!("{kind}={device}");
        match request.count {
            _ if !request.ids.is_empty() => Ok(request.ids.iter().map(|id| named(id)).collect()),
            -1 => Ok(vec![named(&"all")]),
            count @ 0..=GPUS_MAX => Ok((0..count).map(|number| named(&number)).collect()),
            count => Err(Error::InvalidArgument(format!("invalid count of devices: {count}"))),
        }
    }

    /// In Docker's words, which show lists as Go does.
    fn no_driver(&self, driver: &str, request: &DeviceRequest) -> Error {
        let sets: Vec<String> =
            request.capabilities.iter().map(|set| format!("[{}]", set.join(" "))).collect();
        Error::InvalidArgument(format!(
            "could not select device driver {driver:?} with capabilities: [{}] (hint: GPUs come with a CDI specification of {} in {})",
            sets.join(" "),
            GPU_KINDS.join(" or "),
            self.directories.join(" or "),
        ))
    }

    fn device(&self, name: &str) -> Result<(&Entry, &cdi::Device)> {
        let unresolvable = |why: &str| {
            Err(Error::InvalidArgument(format!(
                "CDI device injection failed: unresolvable CDI devices {name}{why}"
            )))
        };
        let Some(wanted) = QualifiedName::parse(name) else { return unresolvable("") };
        let mut found: Vec<(&Entry, &cdi::Device)> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.specification.kind == wanted.kind) {
            let devices = entry.specification.devices.iter().filter(|device| device.name == wanted.device);
            found.extend(devices.map(|device| (entry, device)));
        }
        let best = found.iter().map(|(entry, _)| entry.priority).max();
        found.retain(|(entry, _)| Some(entry.priority) == best);
        match found[..] {
            [only] => Ok(only),
            [] if self.broken.is_empty() => unresolvable(""),
            [] => unresolvable(&format!(" (hint: not read were: {})", self.broken.join("; "))),
            [(one, _), (other, _), ..] => unresolvable(&format!(
                " (hint: {} and {} both have it)",
                one.path.display(),
                other.path.display()
            )),
        }
    }
}

/// The specifications of a directory, by name. No such directory: none.
fn files(directory: &Path) -> Vec<(PathBuf, Format)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().take(FILES_MAX);
    let format = |path: PathBuf| match path.extension()?.to_str()? {
        "json" => Some((path, Format::Json)),
        "yaml" | "yml" => Some((path, Format::Yaml)),
        _ => None,
    };
    let mut files: Vec<(PathBuf, Format)> = entries.map(|entry| entry.path()).filter_map(format).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

fn read(path: &Path, format: Format) -> Result<Specification, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(error.to_string()),
        Ok(length) if length as u64 > FILE_MAX_BYTES => {
            Err(format!("it is larger than {FILE_MAX_BYTES} bytes"))
        }
        Ok(_) => Specification::parse(&text, format).map_err(|error| chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn request(ids: &[&str]) -> Vec<DeviceRequest> {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        vec![DeviceRequest { driver: "cdi".into(), ids, ..DeviceRequest::default() }]
    }

    fn gpus(driver: &str, count: i64, ids: &[&str]) -> Vec<DeviceRequest> {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        let capabilities = vec![vec!["gpu".to_owned()]];
        vec![DeviceRequest { driver: driver.into(), count, ids, capabilities, ..DeviceRequest::default() }]
    }

    const ONE: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net", "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "a", "containerEdits": {"env": ["A=1"], "deviceNodes": [
                {"path": "/dev/x", "hostPath": "/dev/null", "permissions": "r", "fileMode": 384, "uid": 5}],
                "mounts": [{"hostPath": "/h", "containerPath": "/c", "options": ["ro"]}], "additionalGids": [7, 0]}},
            {"name": "b", "containerEdits": {"env": ["B=1"]}},
            {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/x"}]}}]}"#;

    #[test]
    fn a_device_brings_what_its_file_says_and_what_is_common_once() {
        let files = directory(&[("one.json", ONE)]);
        let found =
            find(&request(&["vendor.com/net=a", "vendor.com/net=b"]), &[files.path().into()]).unwrap();
        assert_eq!(found.env, ["ALL=1", "A=1", "B=1"]);
        assert_eq!(found.groups, [7]);
        let (device, rule) = &found.devices[0];
        assert_eq!((device.path.as_str(), device.major, device.minor), ("/dev/x", 1, 3));
        assert_eq!((device.file_mode, device.uid), (Some(0o600), Some(5)));
        assert_eq!((rule.access.as_str(), rule.minor), ("r", Some(3)));
        assert_eq!(
            (found.mounts[0].kind.as_str(), found.mounts[0].options.as_slice()),
            ("bind", &["rbind".to_owned(), "ro".into()][..])
        );
    }

    #[test]
    fn the_later_directory_wins_and_two_files_of_one_do_not_agree() {
        let other = ONE.replace("A=1", "A=2");
        let (first, second) = (directory(&[("x.json", ONE)]), directory(&[("y.json", &other)]));
        let directories = [first.path().to_owned(), second.path().to_owned()];
        let found = find(&request(&["vendor.com/net=a"]), &directories).unwrap();
        assert_eq!(found.env, ["ALL=1", "A=2"]);
        std::fs::write(second.path().join("z.json"), ONE).unwrap();
        let error = find(&request(&["vendor.com/net=a"]), &directories).unwrap_err().to_string();
        assert!(error.contains("y.json and ") && error.contains("both have it"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_said_in_dockers_words() {
        let files = directory(&[("one.json", ONE), ("broken.yaml", "kind: [")]);
        let say =
            |requests: &[DeviceRequest]| find(requests, &[files.path().into()]).unwrap_err().to_string();
        let text = say(&request(&["vendor.com/net=c"]));
        assert!(
            text.starts_with("CDI device injection failed: unresolvable CDI devices vendor.com/net=c"),
            "{text}"
        );
        assert!(text.contains("broken.yaml"), "{text}");
        assert!(say(&request(&["vendor.com/net=hooked"])).contains("the hook `createContainer` (/bin/x)"));
        let text = say(&gpus("", -1, &[]));
        assert!(text.starts_with("could not select device driver \"\" with capabilities: [[gpu]]"), "{text}");
        assert!(say(&gpus("other", -1, &[])).starts_with("could not select device driver \"other\""));
        assert!(
            say(&request(&[])).starts_with("could not select device driver \"cdi\" with capabilities: []")
        );
    }

    #[test]
    fn gpus_are_devices_of_their_vendor() {
        let text = ONE
            .replace("vendor.com/net", "nvidia.com/gpu")
            .replace("\"a\"", "\"all\"")
            .replace("\"b\"", "\"0\"");
        let files = directory(&[("gpu.json", &text)]);
        let env = |requests: &[DeviceRequest]| find(requests, &[files.path().into()]).unwrap().env;
        assert_eq!(env(&gpus("", -1, &[])), ["ALL=1", "A=1"]);
        assert_eq!(env(&gpus("nvidia", 1, &[])), ["ALL=1", "B=1"]);
        assert_eq!(env(&gpus("", 0, &["0"])), ["ALL=1", "B=1"]);
        assert!(find(&gpus("", 2, &[]), &[files.path().into()]).is_err(), "there is only one");
    }
}
