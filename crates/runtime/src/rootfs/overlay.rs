//! An overlay on any number of layers.
//!
//! fsconfig(2) takes values of at most 255 bytes. Since Linux 6.7 an overlay takes its layers one by one; before, it takes the list
//! as one value. A longer list goes through mount(2), which takes a page of options, in a mount namespace that ends with its thread.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::mount::{Attributes, Parameter};
use linux::path;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::{c_string, copy, parameter};
use crate::error::{Error, Result};
use crate::open::{self, cannot};
use crate::plan::{self, Options};

/// mount(2): a page, with the NUL.
const DATA_MAX: usize = 4095;

const WHAT: &str = "mount file system `overlay`";

/// Mounts an overlay on layers, topmost first, attached nowhere.
pub(super) fn mount(layers: &[&str], options: &Options) -> Result<OwnedFd> {
    let one_by_one = layers.iter().map(|layer| parameter("lowerdir+", layer)).collect::<Result<Vec<_>>>()?;
    match with(one_by_one, options) {
        Err(Error::Prepare { source: Errno::INVAL, .. }) => {}
        mounted => return mounted,
    }
    let list = layers.join(":");
    if list.len() <= plan::OPTION_VALUE_MAX {
        return with(vec![parameter("lowerdir", &list)?], options);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || by_page(layers, options));
        let thread = thread.map_err(|error| cannot("start a thread")(open::errno(&error)))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn with(layers: Vec<Parameter>, options: &Options) -> Result<OwnedFd> {
    let mut parameters = vec![parameter("source", "overlay")?];
    parameters.extend(layers);
    parameters.extend(options.parameters.iter().cloned());
    open::instance(c"overlay", &parameters, options.attributes())
}

/// Layers are named by their descriptors, so that a page has room for nearly two hundred, wherever they are. They are opened in the new
/// namespace, because the kernel takes layers from the caller's own.
fn by_page(layers: &[&str], options: &Options) -> Result<OwnedFd> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    linux::unshare::mounts().map_err(cannot("make a mount namespace"))?;
    rustix::mount::mount_change(c"/", private).map_err(cannot("make a mount namespace"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened: Vec<OwnedFd> = layers
        .iter()
        .map(|layer| rustix::fs::open(*layer, flags, Mode::empty()))
        .collect::<rustix::io::Result<_>>()
        .map_err(cannot(WHAT))?;
    let data = data(&opened, &options.parameters)?;
    // Any directory serves as the place; a path that goes there afterwards arrives at what is mounted.
    let place = layers.first().copied().unwrap_or("/");
    rustix::mount::mount(c"overlay", place, c"overlay", MountFlags::empty(), &*data).map_err(cannot(WHAT))?;
    copy(Path::new(place), false, Attributes { set: options.attributes(), ..Attributes::default() })
}

fn data(layers: &[OwnedFd], parameters: &[Parameter]) -> Result<CString> {
    let names: Vec<String> =
        layers.iter().map(|layer| path::of_descriptor(layer.as_fd()).display().to_string()).collect();
    let mut data = format!("lowerdir={}", names.join(":"));
    for Parameter { key, value } in parameters {
        let (key, value) = (key.to_string_lossy(), value.as_ref().map(|value| value.to_string_lossy()));
        if value.as_ref().is_some_and(|value| value.contains(',')) {
            return Err(Error::Invalid { what: format!("mount option `{key}` contains a comma") });
        }
        data += &value.map_or_else(|| format!(",{key}"), |value| format!(",{key}={value}"));
    }
    if data.len() > DATA_MAX {
        let what =
            format!("an overlay of {} layers is more than a kernel before Linux 6.7 takes", layers.len());
        return Err(Error::Invalid { what });
    }
    c_string(&data)
}
