//! `containerd.services.introspection.v1`: what this server has, in containerd's words for it.
//!
//! Clients look for plugins by their names: for a snapshotter before they use it, for a runtime and what it exports. An entry is
//! there if what it stands for works here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;

use api::any;
use api::code::Code;
use api::types::{self, RuntimeRequest};
use grpc::introspection::{
    Plugin, PluginInfoRequest, PluginInfoResponse, PluginsRequest, PluginsResponse, ServerResponse,
    introspection_server,
};
use prost_types::Any;
use store::space::snapshots::{NATIVE, OVERLAYFS};
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::filter::Adaptor;
use crate::{request, status};

/// Tells what there is.
#[derive(Debug)]
pub(crate) struct Introspection(pub(crate) Door);

impl Introspection {
    fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(|entry| self.0.has(entry.kind, entry.id))
    }
}

/// What stands for something that works here.
struct Entry {
    kind: &'static str,
    id: &'static str,
    requires: &'static [&'static str],
    /// It is for this platform only.
    has_platform: bool,
    capabilities: &'static [&'static str],
    exports: &'static [(&'static str, &'static str)],
}

impl Entry {
    /// Its capabilities on this kernel.
    fn usable(&self) -> Vec<&'static str> {
        let is_usable = |capability: &&str| *capability != MAPS_OWNERS || engine::info::maps_owners();
        self.capabilities.iter().copied().filter(is_usable).collect()
    }
}

const fn plain(kind: &'static str, id: &'static str) -> Entry {
    Entry { kind, id, requires: &[], has_platform: false, capabilities: &[], exports: &[] }
}

/// The type of the plugins that are services.
pub(crate) const SERVICE: &str = "io.containerd.grpc.v1";
/// The capability of a snapshotter whose snapshots may be shown as others' files, if the kernel has it, too.
const MAPS_OWNERS: &str = "remap-ids";
/// What tells about runtimes.
const RUNTIME: (&str, &str) = ("io.containerd.runtime.v2", "task");

const ENTRIES: &[Entry] = &[
    plain("io.containerd.event.v1", "exchange"),
    Entry {
        has_platform: true,
        capabilities: &[MAPS_OWNERS],
        ..plain("io.containerd.snapshotter.v1", OVERLAYFS)
    },
    Entry { has_platform: true, ..plain("io.containerd.snapshotter.v1", NATIVE) },
    plain("io.containerd.content.v1", "content"),
    plain("io.containerd.grpc.v1", "containers"),
    plain("io.containerd.grpc.v1", "content"),
    Entry { has_platform: true, ..plain("io.containerd.differ.v1", "walking") },
    plain("io.containerd.grpc.v1", "diff"),
    plain("io.containerd.lease.v1", "manager"),
    plain("io.containerd.monitor.container.v1", "restart"),
    plain("io.containerd.sandbox.controller.v1", "shim"),
    plain("io.containerd.streaming.v1", "manager"),
    Entry { has_platform: true, ..plain("io.containerd.transfer.v1", "local") },
    plain("io.containerd.grpc.v1", "events"),
    plain("io.containerd.grpc.v1", "healthcheck"),
    plain("io.containerd.grpc.v1", "images"),
    plain("io.containerd.grpc.v1", "introspection"),
    plain("io.containerd.grpc.v1", "leases"),
    plain("io.containerd.grpc.v1", "namespaces"),
    plain("io.containerd.grpc.v1", "sandbox-controllers"),
    plain("io.containerd.grpc.v1", "sandboxes"),
    plain("io.containerd.grpc.v1", "streaming"),
    plain("io.containerd.grpc.v1", "tasks"),
    plain("io.containerd.grpc.v1", "transfer"),
    plain("io.containerd.grpc.v1", "version"),
    Entry {
        has_platform: true,
        exports: &[("log-uri-schemes", "binary,binary-v2,fifo,file")],
        ..plain(RUNTIME.0, RUNTIME.1)
    },
];

/// What the daemon can do without: the services that clients call, but for those by which they know it.
pub fn can_be_disabled(plugin: &str) -> bool {
    let of_service = plugin.strip_prefix(SERVICE).and_then(|rest| rest.strip_prefix('.'));
    of_service
        .is_some_and(|id| !matches!(id, "introspection" | "version" | "healthcheck") && has_entry(plugin))
}

/// The whole names of all plugins.
pub fn plugins() -> impl Iterator<Item = String> {
    ENTRIES.iter().map(|entry| format!("{}.{}", entry.kind, entry.id))
}

fn has_entry(plugin: &str) -> bool {
    plugins().any(|one| one == plugin)
}

#[tonic::async_trait]
impl introspection_server::Introspection for Introspection {
    async fn plugins(&self, request: Request<PluginsRequest>) -> Result<Response<PluginsResponse>, Status> {
        let filter = request::filter(&request.get_ref().filters)?;
        let plugins = self.entries().filter(|entry| filter.matches(*entry)).map(plugin).collect();
        Ok(Response::new(PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<ServerResponse>, Status> {
        let uuid = self.0.engine().uuid().await.map_err(|error| status::of_engine(&error))?;
        let pidns =
            std::fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).unwrap_or_default();
        Ok(Response::new(ServerResponse {
            uuid,
            pid: std::process::id().into(),
            pidns,
            deprecations: Vec::new(),
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<PluginInfoRequest>,
    ) -> Result<Response<PluginInfoResponse>, Status> {
        let PluginInfoRequest { r#type: kind, id, options } = request.into_inner();
        let entry = self.entries().find(|entry| entry.kind == kind && entry.id == id);
        let Some(entry) = entry else {
            return Err(Status::not_found(format!("plugin {kind}.{id} not found: not found")));
        };
        let extra = match options {
            None => None,
            Some(options) if (entry.kind, entry.id) == RUNTIME => Some(self.runtime_info(&options).await?),
            Some(_) => return Err(not_understood(&format!("the options of {kind}.{id}"))),
        };
        Ok(Response::new(PluginInfoResponse { plugin: Some(plugin(entry)), extra }))
    }
}

impl Introspection {
    /// What a runtime tells of itself, in an envelope.
    async fn runtime_info(&self, options: &Any) -> Result<Any, Status> {
        let asked = any::unpack::<RuntimeRequest>(options)
            .ok_or_else(|| not_understood(&format!("request type {}", options.type_url)))?;
        let RuntimeRequest { runtime_path, options } =
            asked.map_err(|error| status::with_suffix(Code::InvalidArgument, error.to_string()))?;
        let info = self.0.engine().runtimes().info(&runtime_path, options.as_ref()).await;
        info.map(|info| any::pack(&info)).map_err(|error| status::of_engine(&error))
    }
}

fn not_understood(what: &str) -> Status {
    status::with_suffix(Code::Unimplemented, format!("{what} is not understood"))
}

fn plugin(entry: &Entry) -> Plugin {
    let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let exports: HashMap<_, _> =
        entry.exports.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Plugin {
        r#type: entry.kind.to_owned(),
        id: entry.id.to_owned(),
        requires: text(entry.requires),
        platforms: if entry.has_platform { vec![platform()] } else { Vec::new() },
        exports,
        capabilities: text(&entry.usable()),
        init_err: None,
    }
}

/// This machine, in containerd's words.
fn platform() -> types::Platform {
    let platform = oci::platform::Platform::host();
    types::Platform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant,
        ..types::Platform::default()
    }
}

impl Adaptor for Entry {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let [name] = path else { return None };
        Some(match name.as_str() {
            "type" => Cow::Borrowed(self.kind),
            "id" => Cow::Borrowed(self.id),
            "capabilities" if !self.usable().is_empty() => Cow::Owned(self.usable().join(",")),
            _ => return None,
        })
    }
}
