//! What clients send as options: ours are a promise, all others are taken only if they ask for nothing that is not there.

use std::path::Path;

use api::runc::Options as RuncOptions;
use api::shim::{CreateOptions, ExecOptions};
use prost::{Message, Name};
use prost_types::Any;

use crate::error::{Error, Result};
use crate::streams::Owner;

/// What is wished of a creation.
#[derive(Debug, PartialEq)]
pub(crate) enum Creation {
    /// By our daemon.
    Ours(Box<CreateOptions>),
    /// By a client of containerd.
    Theirs(Wishes),
}

/// What clients of containerd can wish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Whose the container's standard streams are: one that maps users opens them again as one of its own.
    pub(crate) streams_of: Option<Owner>,
    /// The control group that the shim itself goes to; empty: it stays where it is.
    pub(crate) shim_cgroup: String,
}

pub(crate) fn of_creation(any: Option<&Any>) -> Result<Creation> {
    let Some(any) = any.filter(|any| !any.type_url.is_empty() || !any.value.is_empty()) else {
        return Ok(Creation::Theirs(Wishes::default()));
    };
    if let Some(options) = unpack(any, "options") {
        return options.map(Box::new).map(Creation::Ours);
    }
    let options: RuncOptions = unpack(any, "options")
        .unwrap_or_else(|| Err(Error::UnknownOptions { type_url: any.type_url.clone() }))?;
    if let Some(what) = unsupported(&options) {
        return Err(Error::Unsupported { what: format!("runtime option `{what}`") });
    }
    let owner = Owner { uid: options.io_uid, gid: options.io_gid };
    let streams_of = Some(owner).filter(|owner| *owner != Owner::default());
    Ok(Creation::Theirs(Wishes { streams_of, shim_cgroup: options.shim_cgroup }))
}

/// The first option that would be ignored. Where a runtime keeps its state (`root`), where CRIU keeps its (`criu_…_path`) and
/// the shim's own address (`task_api_…`) mean nothing here.
fn unsupported(options: &RuncOptions) -> Option<&'static str> {
    let asked = [
        (options.no_pivot_root, "no_pivot_root"),
        (options.no_new_keyring, "no_new_keyring"),
        (!is_runc(&options.binary_name), "binary_name"),
        (options.systemd_cgroup, "systemd_cgroup"),
    ];
    asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, name)| name)
}

/// Whether a program stands for what this is: runc.
fn is_runc(program: &str) -> bool {
    program.is_empty() || Path::new(program).file_name().is_some_and(|name| name == "runc")
}

/// The options of an exec, and whether they are ours; containerd's clients send the process alone.
pub(crate) fn of_exec(any: Option<Any>) -> Result<(ExecOptions, bool)> {
    let any = any.ok_or(Error::Missing { what: "a process" })?;
    match unpack(&any, "options") {
        Some(options) => Ok((options?, true)),
        None => Ok((ExecOptions { process: any.value, ..ExecOptions::default() }, false)),
    }
}

fn unpack<M: Message + Name + Default>(any: &Any, what: &'static str) -> Option<Result<M>> {
    Some(api::any::unpack(any)?.map_err(|source| Error::Message { what, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_ours_or_ask_for_nothing() {
        let ours = CreateOptions { user: "me".into(), ..CreateOptions::default() };
        assert_eq!(of_creation(Some(&api::any::pack(&ours))).unwrap(), Creation::Ours(Box::new(ours)));
        let nothing = || Creation::Theirs(Wishes::default());
        assert_eq!(of_creation(None).unwrap(), nothing());
        assert_eq!(of_creation(Some(&Any::default())).unwrap(), nothing());
        let runc = RuncOptions { root: "/run/x".into(), ..RuncOptions::default() };
        assert_eq!(of_creation(Some(&api::any::pack(&runc))).unwrap(), nothing());
        let wishing = RuncOptions { io_gid: 7, shim_cgroup: "/x".into(), ..RuncOptions::default() };
        let wishes = Wishes { streams_of: Some(Owner { uid: 0, gid: 7 }), shim_cgroup: "/x".into() };
        assert_eq!(of_creation(Some(&api::any::pack(&wishing))).unwrap(), Creation::Theirs(wishes));
        let asking = RuncOptions { systemd_cgroup: true, ..RuncOptions::default() };
        let refused = of_creation(Some(&api::any::pack(&asking))).unwrap_err();
        assert_eq!(refused.to_string(), "runtime option `systemd_cgroup` is not supported yet");
        let named = RuncOptions { binary_name: "/usr/bin/runc".into(), ..RuncOptions::default() };
        assert_eq!(of_creation(Some(&api::any::pack(&named))).unwrap(), nothing());
        let another = RuncOptions { binary_name: "/usr/bin/crun".into(), ..RuncOptions::default() };
        assert!(of_creation(Some(&api::any::pack(&another))).is_err());
        let other = Any { type_url: "kata.Options".into(), value: vec![] };
        assert!(matches!(of_creation(Some(&other)), Err(Error::UnknownOptions { .. })));
        let broken = Any { type_url: "corten.shim.v1.CreateOptions".into(), value: vec![0xff] };
        assert!(matches!(of_creation(Some(&broken)), Err(Error::Message { .. })));
    }

    #[test]
    fn an_exec_is_ours_or_a_bare_process() {
        let ours = ExecOptions { process: b"{}".to_vec(), user: "me".into(), ..ExecOptions::default() };
        assert_eq!(of_exec(Some(api::any::pack(&ours))).unwrap(), (ours, true));
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".into();
        let (options, is_ours) = of_exec(Some(Any { type_url, value: b"{}".to_vec() })).unwrap();
        assert_eq!((options.process.as_slice(), is_ours), (&b"{}"[..], false));
        assert!(matches!(of_exec(None), Err(Error::Missing { .. })));
    }
}
