//! The root file system of a container, as a mount that only we hold.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{self as kernel, Attributes, Parameter};
use oci::mount::Mount;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::open;
use crate::plan::{self, Options};

/// A mounted tree that is attached nowhere until a container's first process takes it as `/`.
///
/// Keep it open (a [`crate::Container`] does) until the container's exit has been told: the last one to let go pays for
/// the overlay's final sync, and that must not be the exiting process.
#[derive(Debug)]
pub struct Rootfs {
    mount: OwnedFd,
}

impl Rootfs {
    /// Performs what a snapshotter returned: one `overlay`, `bind` or plain file system mount.
    pub fn mount(mounts: &[Mount]) -> Result<Rootfs> {
        let [mount] = mounts else {
            return Err(Error::Unsupported { what: format!("a root of {} mounts", mounts.len()) });
        };
        if !mount.target.is_empty() && mount.target != "/" {
            return Err(Error::Unsupported { what: format!("a root mounted on `{}`", mount.target) });
        }
        let (layers, others): (Vec<_>, Vec<_>) =
            mount.options.iter().cloned().partition(|option| option.starts_with(LOWER));
        let options = plan::parse_options(&others)?;
        let descriptor = match mount.kind.as_str() {
            "bind" => return Rootfs::copy(Path::new(&mount.source), options.is_recursive_bind, options.top),
            "overlay" => overlay(&layers, options)?,
            kind => {
                let mut parameters = vec![parameter("source", &mount.source)?];
                let attributes = options.attributes();
                parameters.extend(options.parameters);
                open::instance(&c_string(kind)?, &parameters, attributes)?
            }
        };
        Ok(Rootfs { mount: descriptor })
    }

    /// Takes a directory of the host, with what is mounted below it.
    pub fn bind(path: &Path) -> Result<Rootfs> {
        Rootfs::copy(path, true, Attributes::default())
    }

    fn copy(path: &Path, is_recursive: bool, top: Attributes) -> Result<Rootfs> {
        // The host's mount and this one must not see each other's mounts and unmounts.
        let private = Attributes { propagation: kernel::PRIVATE, ..Attributes::default() };
        Ok(Rootfs { mount: open::bind(path, is_recursive, private, top)? })
    }

    /// The root directory, to look into before there is a container ([`crate::user::resolve`]).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.mount
    }
}

/// The overlay option that lists the layers below, topmost first.
const LOWER: &str = "lowerdir=";

/// Layers are given one by one (Linux 6.7), because fsconfig(2) takes no value beyond 255 bytes; an older kernel gets
/// them in one value, which has room for few.
fn overlay(layers: &[String], options: Options) -> Result<OwnedFd> {
    let layers: Vec<&str> =
        layers.iter().flat_map(|option| option[LOWER.len()..].split(':')).filter(|l| !l.is_empty()).collect();
    if layers.is_empty() {
        return Err(Error::Invalid { what: "an overlay without `lowerdir`".into() });
    }
    let attributes = options.attributes();
    let mut parameters = vec![parameter("source", "overlay")?];
    let single_layers = layers.iter().map(|layer| parameter("lowerdir+", layer));
    parameters.extend(single_layers.collect::<Result<Vec<_>>>()?);
    parameters.extend(options.parameters.iter().cloned());
    match open::instance(c"overlay", &parameters, attributes) {
        Err(Error::Prepare { source: Errno::INVAL, .. }) if layers.len() * 2 <= plan::OPTION_VALUE_MAX => {
            let mut parameters =
                vec![parameter("source", "overlay")?, parameter("lowerdir", &layers.join(":"))?];
            parameters.extend(options.parameters);
            open::instance(c"overlay", &parameters, attributes)
        }
        other => other,
    }
}

fn parameter(key: &str, value: &str) -> Result<Parameter> {
    if value.len() > plan::OPTION_VALUE_MAX {
        let what = format!("mount option `{key}` is longer than {} bytes", plan::OPTION_VALUE_MAX);
        return Err(Error::Invalid { what });
    }
    Ok(Parameter { key: c_string(key)?, value: Some(c_string(value)?) })
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Invalid { what: "a mount contains a NUL character".into() })
}
