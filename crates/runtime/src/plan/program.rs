//! Which files may be the program: what execvp(3) would try, as a list.

use std::ffi::CString;

use linux::child::Program;
use oci::runtime_spec::Process;

use super::{invalid, text};
use crate::error::Result;

/// Searched when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn program(process: &Process) -> Result<Program> {
    let name = process.args.first().ok_or_else(|| invalid("no command specified"))?;
    let strings = |strings: &[String]| -> Result<Vec<CString>> {
        strings.iter().map(|string| text(string.as_str())).collect()
    };
    Ok(Program {
        candidates: candidates(name, &process.env)?,
        arguments: strings(&process.args)?,
        environment: strings(&process.env)?,
    })
}

/// Relative entries of `PATH` are passed over: what they find would depend on the working directory.
fn candidates(name: &str, environment: &[String]) -> Result<Vec<CString>> {
    if name.contains('/') {
        return Ok(vec![text(name)?]);
    }
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| text(format!("{}/{name}", directory.trim_end_matches('/')))).collect()
}
