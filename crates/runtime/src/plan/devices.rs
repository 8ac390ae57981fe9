//! Device nodes and the links that belong beside them.
//!
//! They are made right after `/dev` is mounted, through the mounted file system itself, before anything else can be
//! mounted into it. A `/dev` that is the host's, by a bind mount, is left alone.

use std::path::PathBuf;

use linux::child::{Base, Device, Step};
use oci::runtime_spec::{self, Spec, SpecMount};

use super::mounts::normal;
use super::options;
use super::{Open, Plan, invalid, text};
use crate::defaults;
use crate::error::Result;

/// Where device nodes go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Devices {
    pub(super) base: Base,
    /// `/dev` is a tmpfs of the container's.
    pub(super) is_mount: bool,
    /// `/dev` is somebody else's.
    pub(super) is_foreign: bool,
    pub(super) is_read_only: bool,
}

pub(super) fn place(mounts: &[SpecMount]) -> Result<Devices> {
    let mut devices = Devices { base: Base::Root, is_mount: false, is_foreign: false, is_read_only: false };
    for mount in mounts.iter().filter(|mount| normal(&mount.destination) == "/dev") {
        if devices.is_mount || devices.is_foreign {
            return Err(invalid("`/dev` is mounted twice"));
        }
        let options = options::parse(&mount.options)?;
        if mount.kind == "tmpfs" && !options.is_bind {
            devices.base = Base::Devices;
            devices.is_mount = true;
            devices.is_read_only = options.is_read_only();
        } else {
            devices.is_foreign = true;
        }
    }
    Ok(devices)
}

/// Links that POSIX programs expect (runtime specification, "Dev symbolic links").
const LINKS: [(&str, &str); 6] = [
    ("core", "/proc/kcore"),
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

impl Plan {
    pub(super) fn devices(&mut self, spec: &Spec, place: &Devices) -> Result<()> {
        let wanted = spec.linux.as_ref().map_or(&[][..], |linux| &linux.devices);
        let defaults = defaults::devices();
        let missing = defaults.iter().filter(|one| wanted.iter().all(|other| other.path != one.path));
        for device in wanted.iter().chain(missing) {
            let step = self.device(device, node(device, place.base)?);
            self.steps.push(step);
        }
        for (name, target) in LINKS {
            let path = match place.base {
                Base::Devices => text(name)?,
                Base::Root => text(format!("dev/{name}"))?,
            };
            self.steps.push(Step::Link { base: place.base, path, target: text(target)? });
        }
        Ok(())
    }
}

impl Plan {
    /// In a user namespace no device can be made, so the host's is shown. A fifo is no device.
    fn device(&mut self, asked: &runtime_spec::Device, node: Device) -> Step {
        if self.maps.is_none() || node.mode & S_IFMT == S_IFIFO {
            return Step::Device(node);
        }
        let (mode, major, minor) = (node.mode & S_IFMT, node.major, node.minor);
        let mount = self.open(Open::Device { path: PathBuf::from(&asked.path), mode, major, minor });
        Step::DeviceMount { base: node.base, path: node.path, mount }
    }
}

fn node(device: &runtime_spec::Device, base: Base) -> Result<Device> {
    let path = &device.path;
    let kind = match device.kind.as_str() {
        "c" | "u" => S_IFCHR,
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        other => return Err(invalid(format!("device `{path}` has the unknown type `{other}`"))),
    };
    let number = |number: i64| {
        let invalid = |_| invalid(format!("device `{path}` has the impossible number {number}"));
        u32::try_from(number).map_err(invalid)
    };
    if path.split('/').any(|name| name == "..") || !path.starts_with('/') {
        return Err(invalid(format!("device path `{path}` is not absolute")));
    }
    let normal = normal(path);
    let (base, path) = match normal.strip_prefix("/dev/") {
        Some(below) if base == Base::Devices => (base, below),
        _ => (Base::Root, normal.as_str()),
    };
    Ok(Device {
        base,
        path: text(path)?,
        mode: kind | (device.file_mode.unwrap_or(DEFAULT_MODE) & 0o7777),
        major: number(device.major)?,
        minor: number(device.minor)?,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// Permissions of a device that has none given.
const DEFAULT_MODE: u32 = 0o666;

/// inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
