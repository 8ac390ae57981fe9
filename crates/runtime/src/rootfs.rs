//! The root file system of a container, as a mount that only we hold.

mod overlay;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{self as kernel, Attributes, Parameter};
use linux::user_namespace::{IdRange, Maps};
use oci::mount::Mount;
use oci::runtime_spec::IdMapping;

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
        let (maps, others) = maps(others)?;
        let options = plan::parse_options(&others)?;
        let descriptor = match (mount.kind.as_str(), maps) {
            ("overlay", None) => overlay::mount(&lower(&layers)?, &options)?,
            ("overlay", Some(maps)) => mapped_overlay(&layers, options, &maps)?,
            ("bind", maps) => {
                let copy = copy(Path::new(&mount.source), options.is_recursive_bind, options.top)?;
                if let Some(maps) = maps {
                    open::map_owners(copy.as_fd(), open::owners(&maps)?.as_fd(), true)?;
                }
                copy
            }
            (kind, Some(_)) => {
                return Err(Error::Unsupported {
                    what: format!("a root of type `{kind}` with user mappings"),
                });
            }
            (kind, None) => {
                let mut parameters = vec![parameter("source", &mount.source)?];
                let attributes = options.attributes();
                parameters.extend(options.parameters);
                open::instance(&c_string(kind)?, &parameters, attributes)?
            }
        };
        Ok(Rootfs { mount: descriptor })
    }

    /// Whether layers can be shown as others' files (Linux 6.15: an overlay on detached mounts).
    pub fn maps_owners() -> bool {
        let uname = rustix::system::uname();
        let mut numbers =
            uname.release().to_str().unwrap_or_default().split(['.', '-']).map(str::parse::<u32>);
        matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 15))
    }

    /// Takes a directory of the host, with what is mounted below it.
    pub fn bind(path: &Path) -> Result<Rootfs> {
        Ok(Rootfs { mount: copy(path, true, Attributes::default())? })
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

fn copy(path: &Path, is_recursive: bool, top: Attributes) -> Result<OwnedFd> {
    // The host's mount and this one must not see each other's mounts and unmounts.
    let private = Attributes { propagation: kernel::PRIVATE, ..Attributes::default() };
    open::bind(path, is_recursive, private, top)
}

/// Takes containerd's options for mapped owners out: `uidmap=0:100000:65536,…` and `gidmap=`, which need each other.
fn maps(options: Vec<String>) -> Result<(Option<Maps>, Vec<String>)> {
    let is_map = |option: &String| option.starts_with(USER_MAP) || option.starts_with(GROUP_MAP);
    let (maps, others): (Vec<_>, Vec<_>) = options.into_iter().partition(is_map);
    let given = |key: &str| maps.iter().rev().find_map(|option| option.strip_prefix(key)).unwrap_or_default();
    let maps = Maps { users: ranges(given(USER_MAP))?, groups: ranges(given(GROUP_MAP))? };
    match (maps.users.is_empty(), maps.groups.is_empty()) {
        (true, true) => Ok((None, others)),
        (false, false) => Ok((Some(maps), others)),
        _ => Err(Error::Invalid { what: "`uidmap` and `gidmap` of a mount need each other".into() }),
    }
}

fn ranges(list: &str) -> Result<Vec<IdRange>> {
    let invalid = |one: &str| Error::Invalid {
        what: format!("user mapping `{one}` of a mount is not `container-id:host-id:size`"),
    };
    let range = |one: &str| match IdMapping::parse(one) {
        Some(IdMapping { container_id: inside, host_id: outside, size }) => {
            Ok(IdRange { inside, outside, size })
        }
        None => Err(invalid(one)),
    };
    list.split(',').filter(|one| !one.is_empty()).map(range).collect()
}

const USER_MAP: &str = "uidmap=";
const GROUP_MAP: &str = "gidmap=";

fn lower(options: &[String]) -> Result<Vec<&str>> {
    let layers: Vec<&str> = options
        .iter()
        .flat_map(|option| option[LOWER.len()..].split(':'))
        .filter(|l| !l.is_empty())
        .collect();
    if layers.is_empty() {
        return Err(Error::Invalid { what: "an overlay without `lowerdir`".into() });
    }
    Ok(layers)
}

/// The layers below are shown as others' files; the one above has its own owners, which a snapshotter gave it.
fn mapped_overlay(layers: &[String], options: Options, maps: &Maps) -> Result<OwnedFd> {
    let owners = open::owners(maps)?;
    let mut mapped = Vec::new();
    for layer in self::lower(layers)? {
        let layer = copy(Path::new(layer), false, Attributes::default())?;
        open::map_owners(layer.as_fd(), owners.as_fd(), false)?;
        mapped.push(layer);
    }
    let attributes = options.attributes();
    let mut parameters = vec![parameter("source", "overlay")?];
    parameters.extend(options.parameters);
    open::overlay_on(&mapped, &parameters, attributes)
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
