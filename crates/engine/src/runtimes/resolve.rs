//! From the name of a runtime to the executable of its shim.

use std::path::{Path, PathBuf};

use api::runc::Options;
use prost_types::Any;

use crate::error::{Error, Result};

/// The runtime that is Corten itself.
pub const OWN: &str = "io.containerd.runc.v2";

/// The shim of `runtime`. `own`: Corten's.
///
/// # Errors
/// A name that is none, or a shim that is not installed.
pub(super) fn binary(runtime: &str, options: Option<&Any>, own: &Path) -> Result<PathBuf> {
    if runtime == OWN && is_ours(options) {
        return Ok(own.to_owned());
    }
    if Path::new(runtime).is_absolute() {
        return Ok(runtime.into());
    }
    let name = shim_name(runtime).ok_or_else(|| {
        Error::InvalidArgument(format!(
            "invalid runtime name {runtime}, correct runtime name should be either format like `io.containerd.runc.v2` or a full path to the binary"
        ))
    })?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = own.parent().map(Path::to_owned);
    let found = std::env::split_paths(&path).chain(beside).map(|folder| folder.join(&name));
    found.into_iter().find(|path| is_executable(path)).ok_or_else(|| {
        Error::InvalidArgument(format!(
            "failed to resolve runtime path: runtime {runtime:?} binary not installed {name:?}: file does not exist"
        ))
    })
}

/// Whether the options leave it to Corten's own runtime: a program that is called runc stands for it.
fn is_ours(options: Option<&Any>) -> bool {
    let Some(Ok(options)) = options.and_then(api::any::unpack::<Options>) else { return true };
    let program = Path::new(&options.binary_name).file_name().unwrap_or_default();
    (options.binary_name.is_empty() || program == "runc") && !options.systemd_cgroup
}

/// `io.containerd.runc.v2` is `containerd-shim-runc-v2`.
fn shim_name(runtime: &str) -> Option<String> {
    if runtime.contains('/') {
        return None;
    }
    let mut parts = runtime.rsplit('.');
    let (version, name) = (parts.next()?, parts.next()?);
    let is_whole = !version.is_empty() && !name.is_empty() && !runtime.starts_with('.');
    is_whole.then(|| format!("containerd-shim-{name}-{version}"))
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runc(options: Options) -> Any {
        api::any::pack(&options)
    }

    #[test]
    fn the_last_two_words_name_the_shim() {
        assert_eq!(shim_name("io.containerd.kata.v2").as_deref(), Some("containerd-shim-kata-v2"));
        for bad in ["", "kata", ".v2", "a/b.v2", "io..v2"] {
            assert_eq!(shim_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn corten_is_runc_unless_another_program_is_asked_for() {
        let own = Path::new("/opt/corten-shim");
        let resolved = |options: Option<&Any>| binary(OWN, options, own);
        assert_eq!(resolved(None).unwrap(), own);
        let named = runc(Options { binary_name: "/usr/bin/runc".into(), ..Options::default() });
        assert_eq!(resolved(Some(&named)).unwrap(), own);
        let other = runc(Options { binary_name: "/usr/bin/crun".into(), ..Options::default() });
        assert_ne!(resolved(Some(&other)).ok().as_deref(), Some(own));
        assert_eq!(binary("/x/shim", None, own).unwrap(), Path::new("/x/shim"));
        assert!(binary("io.containerd.no-such.v1", None, own).is_err());
    }
}
