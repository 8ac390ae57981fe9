//! The runtime that runs a container: its name and its options, from the flags; and what a runtime says about itself.

use api::runc::Options;
use api::types::{RuntimeInfo, RuntimeRequest};
use grpc::introspection::PluginInfoRequest;
use prost_types::Any;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::wire::{Field, Kind, message};
use crate::{documents, output};

/// The runtime whose options are known by field.
pub(crate) const RUNC: &str = "io.containerd.runc.v2";

/// The name of the runtime.
pub(crate) fn name(call: &Call) -> &str {
    if call.text("runtime").is_empty() { RUNC } else { call.text("runtime") }
}

/// Its options.
pub(crate) fn options(call: &Call) -> Result<Option<Any>, Error> {
    let (binary, root) = (call.text("runc-binary"), call.text("runc-root"));
    let (systemd_cgroup, config_path) = (call.is("runc-systemd-cgroup"), call.text("runtime-config-path"));
    let wrong = |text: &str| Err(Error::Usage(text.to_owned()));
    if name(call) != RUNC {
        if !binary.is_empty() || !root.is_empty() || systemd_cgroup {
            return wrong(
                "specifying runc-binary, runc-root and runc-systemd-cgroup is only supported for \"io.containerd.runc.v2\" runtime",
            );
        }
        let options = api::runtime_options::Options { config_path: config_path.into(), ..Default::default() };
        return Ok((!config_path.is_empty()).then(|| api::any::pack(&options)));
    }
    if !config_path.is_empty() {
        return wrong(
            "the runtime \"io.containerd.runc.v2\" has no configuration file; leave --runtime-config-path out",
        );
    }
    if systemd_cgroup && call.text("cgroup").is_empty() {
        return wrong(
            "option --runc-systemd-cgroup requires --cgroup to be set, e.g. \"machine.slice:foo:deadbeef\"",
        );
    }
    let options =
        Options { binary_name: binary.into(), root: root.into(), systemd_cgroup, ..Options::default() };
    Ok(Some(api::any::pack(&options)))
}

/// The options of a task: its container's, and what only the start of it decides. Users that are mapped own the pipes.
pub(crate) fn task_options(
    kept: Option<&Any>,
    runtime: &str,
    owner: Option<(u32, u32)>,
    no_pivot: bool,
) -> Result<Option<Any>, Error> {
    if owner.is_none() && !no_pivot {
        return Ok(kept.cloned());
    }
    let kept: Option<Options> = match kept {
        None => Some(Options::default()),
        Some(any) => api::any::unpack(any).and_then(Result::ok),
    };
    let Some(mut options) = kept.filter(|_| runtime == RUNC) else {
        return Err(Error::Usage(format!(
            "--no-pivot, --uidmap and --gidmap are only supported for {RUNC:?} runtime, not for {runtime:?}"
        )));
    };
    options.no_pivot_root |= no_pivot;
    if let Some((uid, gid)) = owner {
        (options.io_uid, options.io_gid) = (uid, gid);
    }
    Ok(Some(api::any::pack(&options)))
}

/// `ctr plugins inspect-runtime`.
pub(crate) async fn inspect(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let request = RuntimeRequest { runtime_path: name(call).into(), options: options(call)? };
    let request = PluginInfoRequest {
        r#type: "io.containerd.runtime.v2".into(),
        id: "task".into(),
        options: Some(api::any::pack(&request)),
    };
    let extra = client.introspection().plugin_info(request).await?.into_inner().extra;
    let info = extra.as_ref().and_then(api::any::unpack::<RuntimeInfo>).and_then(Result::ok);
    let Some(info) = info else {
        return Err(Error::Document {
            what: format!("what the daemon says of runtime {:?}", name(call)),
            reason: "it is no containerd.types.RuntimeInfo".into(),
        });
    };
    output::line(&documents::pretty(&document(&info))).map(|()| 0)
}

fn document(info: &RuntimeInfo) -> Value {
    let version = info.version.clone().unwrap_or_default();
    let options = info.options.as_ref().map_or(Value::Null, |any| match any.type_url.rsplit('/').next() {
        Some("containerd.runc.v1.Options") => {
            message(OPTIONS, &any.value).unwrap_or_else(|| documents::opaque(any))
        }
        _ => documents::opaque(any),
    });
    json!({
        "Name": info.name,
        "Version": {"Version": version.version, "Revision": version.revision},
        "Options": options,
        "Features": info.features.as_ref().map_or(Value::Null, documents::any),
        "Annotations": if info.annotations.is_empty() { Value::Null } else { documents::labels(&info.annotations) },
    })
}

/// `containerd.runc.v1.Options`.
const OPTIONS: &[Field] = &[
    (1, "no_pivot_root", Kind::Switch),
    (2, "no_new_keyring", Kind::Switch),
    (3, "shim_cgroup", Kind::Text),
    (4, "io_uid", Kind::Number),
    (5, "io_gid", Kind::Number),
    (6, "binary_name", Kind::Text),
    (7, "root", Kind::Text),
    (9, "systemd_cgroup", Kind::Switch),
    (10, "criu_image_path", Kind::Text),
    (11, "criu_work_path", Kind::Text),
    (12, "task_api_address", Kind::Text),
    (13, "task_api_version", Kind::Number),
];

#[cfg(test)]
mod tests {
    use super::{RUNC, task_options};
    use api::any::{pack, unpack};
    use api::runc::Options;

    #[test]
    fn a_task_keeps_its_containers_options_and_adds_its_own() {
        let kept = pack(&Options { binary_name: "crun".into(), ..Options::default() });
        assert_eq!(task_options(Some(&kept), RUNC, None, false).unwrap(), Some(kept.clone()));
        let any = task_options(Some(&kept), RUNC, Some((7, 8)), true).unwrap().unwrap();
        let options: Options = unpack(&any).unwrap().unwrap();
        assert_eq!((options.binary_name.as_str(), options.no_pivot_root), ("crun", true));
        assert_eq!((options.io_uid, options.io_gid), (7, 8));
        assert!(task_options(None, "io.containerd.kata.v2", None, true).is_err());
    }
}
