//! What clients send as options: ours are a promise, all others are taken only if they ask for nothing that is not there.

use std::path::Path;

use api::bootstrap::BootstrapParams;
use api::runc::Options as RuncOptions;
use api::shim::{CreateOptions, ExecOptions};
use prost::{Message, Name};
use prost_types::Any;

use crate::error::{Error, Result};
use crate::streams::Owner;

/// What is asked of a creation beyond its specification.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Our daemon asks.
    pub(crate) is_ours: bool,
    pub(crate) options: CreateOptions,
    pub(crate) runc: Runc,
    /// Where runc would keep its state.
    pub(crate) root: String,
}

/// What containerd's clients may ask of runc, and is here as well. It holds for execs, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Runc {
    /// `no_new_keyring`
    pub(crate) keep_keyring: bool,
    /// `io_uid`, `io_gid`
    pub(crate) owner: Owner,
}

/// The options of a creation: ours, or those of runc.
pub(crate) fn of_creation(any: Option<&Any>) -> Result<Wishes> {
    let Some(any) = any.filter(|any| !any.type_url.is_empty() || !any.value.is_empty()) else {
        return Ok(Wishes::default());
    };
    if let Some(options) = unpack(any, "options") {
        return Ok(Wishes { is_ours: true, options: options?, ..Wishes::default() });
    }
    let options: RuncOptions = unpack(any, "options")
        .unwrap_or_else(|| Err(Error::UnknownOptions { type_url: any.type_url.clone() }))?;
    if let Some((option, why)) = unsupported(&options) {
        let value = if option == BINARY { format!(" {:?}", options.binary_name) } else { String::new() };
        return Err(Error::Option { option, value, why });
    }
    let owner = Owner { uid: options.io_uid, gid: options.io_gid };
    let runc = Runc { keep_keyring: options.no_new_keyring, owner };
    Ok(Wishes { runc, root: options.root, ..Wishes::default() })
}

/// The control group that the shim itself is to be in, of what containerd writes to the standard input of `start`: bare
/// options, or a message with them in it. Empty: where it is.
pub(crate) fn shim_cgroup(input: &[u8]) -> String {
    let params = BootstrapParams::decode(input).unwrap_or_default();
    let extensions = params.extensions.into_iter().filter_map(|extension| extension.value);
    let mut all = Any::decode(input).into_iter().chain(extensions);
    let options = all.find_map(|any| api::any::unpack::<RuncOptions>(&any)?.ok());
    options.map(|options| options.shim_cgroup).unwrap_or_default()
}

/// The first option that would be ignored, and why it is not there. Where CRIU is
/// and keeps its (`criu_…`; nothing is checkpointed here) and the shim's own address (`task_api_…`) mean nothing here;
/// `shim_cgroup` was obeyed when the shim was started.
fn unsupported(options: &RuncOptions) -> Option<(&'static str, &'static str)> {
    let asked = [
        (options.no_pivot_root, "no_pivot_root", "a container's root is always pivoted to, on a ramfs, too"),
        (
            !is_runc(&options.binary_name),
            BINARY,
            "this shim is its own runtime, hint: take containerd-shim-runc-v2 for another one",
        ),
        (
            options.systemd_cgroup,
            "systemd_cgroup",
            "control groups are made without systemd, hint: take containerd-shim-runc-v2",
        ),
    ];
    asked.into_iter().find(|(is_asked, ..)| *is_asked).map(|(_, name, why)| (name, why))
}

const BINARY: &str = "binary_name";

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

    fn of(options: RuncOptions) -> Result<Wishes> {
        of_creation(Some(&api::any::pack(&options)))
    }

    #[test]
    fn options_are_ours_or_runcs() {
        let ours = CreateOptions { user: "me".into(), ..CreateOptions::default() };
        let wishes = of_creation(Some(&api::any::pack(&ours))).unwrap();
        assert_eq!((wishes.is_ours, wishes.options), (true, ours));
        assert_eq!(of_creation(None).unwrap(), Wishes::default());
        assert_eq!(of_creation(Some(&Any::default())).unwrap(), Wishes::default());
        let asked = RuncOptions {
            binary_name: "/usr/bin/runc".into(),
            root: "/run/x".into(),
            criu_work_path: "/var/criu".into(),
            shim_cgroup: "/shims".into(),
            no_new_keyring: true,
            io_uid: 5,
            io_gid: 6,
            ..RuncOptions::default()
        };
        let runc = Runc { keep_keyring: true, owner: Owner { uid: 5, gid: 6 } };
        assert_eq!(of(asked).unwrap(), Wishes { runc, root: "/run/x".into(), ..Wishes::default() });
        let other = Any { type_url: "kata.Options".into(), value: vec![] };
        assert!(matches!(of_creation(Some(&other)), Err(Error::UnknownOptions { .. })));
        let broken = Any { type_url: "corten.shim.v1.CreateOptions".into(), value: vec![0xff] };
        assert!(matches!(of_creation(Some(&broken)), Err(Error::Message { .. })));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (name, options) in [
            ("no_pivot_root", RuncOptions { no_pivot_root: true, ..RuncOptions::default() }),
            ("binary_name", RuncOptions { binary_name: "/usr/bin/crun".into(), ..RuncOptions::default() }),
            ("systemd_cgroup", RuncOptions { systemd_cgroup: true, ..RuncOptions::default() }),
        ] {
            let refused = of(options).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("runtime option `{name}`")));
            assert_eq!(refused.code(), api::code::Code::Unimplemented);
        }
    }

    #[test]
    fn the_shims_group_is_in_what_every_containerd_sends() {
        let options = api::any::pack(&RuncOptions { shim_cgroup: "/shims".into(), ..RuncOptions::default() });
        assert_eq!(shim_cgroup(&options.encode_to_vec()), "/shims");
        let params = BootstrapParams {
            instance_id: "one".into(),
            namespace: "test".into(),
            extensions: vec![api::bootstrap::Extension { value: Some(options) }],
            ..BootstrapParams::default()
        };
        assert_eq!(shim_cgroup(&params.encode_to_vec()), "/shims");
        assert_eq!(shim_cgroup(b""), "");
        assert_eq!(shim_cgroup(b"\xff\xff"), "");
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
