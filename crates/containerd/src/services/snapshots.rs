//! `containerd.services.snapshots.v1.Snapshots`: the snapshots of a namespace.

use std::borrow::Cow;
use std::pin::Pin;

use api::code::Code;
use api::events::{SnapshotCommit, SnapshotPrepare, SnapshotRemove};
use api::types;
use futures_util::Stream;
use grpc::snapshots::snapshots_server;
use grpc::snapshots::{
    CleanupRequest, CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, ListSnapshotsResponse,
    MountsRequest, MountsResponse, PrepareSnapshotRequest, PrepareSnapshotResponse, RemoveSnapshotRequest,
    StatSnapshotRequest, StatSnapshotResponse, UpdateSnapshotRequest, UpdateSnapshotResponse, UsageRequest,
    UsageResponse, ViewSnapshotRequest, ViewSnapshotResponse,
};
use oci::mount::Mount;
use store::snapshots::Kind as StoredKind;
use store::space::labels::Mask;
use store::space::snapshots::{self as space, Creation};
use tonic::{Request, Response, Result};

use crate::Door;
use crate::filter::{Adaptor, label};
use crate::time::timestamp;
use crate::{request, status};

/// As many as containerd sends at once.
const BATCH: usize = 100;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots(pub(crate) Door);

impl Snapshots {
    /// Calls the store with the snapshots of the request's namespace.
    async fn call<T: Send + 'static>(
        &self,
        namespace: &str,
        snapshotter: &str,
        work: impl FnOnce(&space::Snapshots<'_>) -> store::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (namespace, snapshotter) = (namespace.to_owned(), snapshotter.to_owned());
        self.0.blocking(move |store| work(&store.space(&namespace).snapshots(&snapshotter)?)).await
    }
}

#[tonic::async_trait]
impl snapshots_server::Snapshots for Snapshots {
    type ListStream = Pin<Box<dyn Stream<Item = Result<ListSnapshotsResponse>> + Send>>;

    async fn prepare(
        &self,
        request: Request<PrepareSnapshotRequest>,
    ) -> Result<Response<PrepareSnapshotResponse>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let PrepareSnapshotRequest { snapshotter, key, parent, labels } = request.into_inner();
        let event =
            SnapshotPrepare { key: key.clone(), parent: parent.clone(), snapshotter: snapshotter.clone() };
        let mounts = self.call(&namespace, &snapshotter, move |snapshots| {
            let labels = labels.into_iter().collect();
            snapshots.prepare(&key, Creation { parent: named(&parent), labels, lease: lease.as_deref() })
        });
        let mounts = mounts.await?.into_iter().map(mount).collect();
        self.0.exchange().publish(&namespace, "/snapshot/prepare", &event);
        self.0.engine().look_later();
        Ok(Response::new(PrepareSnapshotResponse { mounts }))
    }

    async fn view(&self, request: Request<ViewSnapshotRequest>) -> Result<Response<ViewSnapshotResponse>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let ViewSnapshotRequest { snapshotter, key, parent, labels } = request.into_inner();
        let mounts = self.call(&namespace, &snapshotter, move |snapshots| {
            let labels = labels.into_iter().collect();
            snapshots.view(&key, Creation { parent: named(&parent), labels, lease: lease.as_deref() })
        });
        let mounts = mounts.await?.into_iter().map(mount).collect();
        self.0.engine().look_later();
        Ok(Response::new(ViewSnapshotResponse { mounts }))
    }

    async fn mounts(&self, request: Request<MountsRequest>) -> Result<Response<MountsResponse>> {
        let namespace = request::namespace(&request)?;
        let MountsRequest { snapshotter, key } = request.into_inner();
        let mounts = self.call(&namespace, &snapshotter, move |snapshots| snapshots.mounts(&key)).await?;
        Ok(Response::new(MountsResponse { mounts: mounts.into_iter().map(mount).collect() }))
    }

    async fn commit(&self, request: Request<CommitSnapshotRequest>) -> Result<Response<()>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let CommitSnapshotRequest { snapshotter, name, key, labels, parent } = request.into_inner();
        let event = SnapshotCommit { key: key.clone(), name: name.clone(), snapshotter: snapshotter.clone() };
        let done = self.call(&namespace, &snapshotter, move |snapshots| {
            let labels = labels.into_iter().collect();
            let creation = Creation { parent: named(&parent), labels, lease: lease.as_deref() };
            snapshots.commit(&name, &key, creation)
        });
        done.await?;
        self.0.engine().sync_layers_later();
        self.0.exchange().publish(&namespace, "/snapshot/commit", &event);
        self.0.engine().look_later();
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<RemoveSnapshotRequest>) -> Result<Response<()>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let RemoveSnapshotRequest { snapshotter, key } = request.into_inner();
        let event = SnapshotRemove { key: key.clone(), snapshotter: snapshotter.clone() };
        let done =
            self.call(&namespace, &snapshotter, move |snapshots| snapshots.remove(&key, lease.as_deref()));
        done.await?;
        // Its files, and what nothing holds any more without it.
        self.0.engine().collect_later();
        self.0.exchange().publish(&namespace, "/snapshot/remove", &event);
        Ok(Response::new(()))
    }

    async fn stat(&self, request: Request<StatSnapshotRequest>) -> Result<Response<StatSnapshotResponse>> {
        let namespace = request::namespace(&request)?;
        let StatSnapshotRequest { snapshotter, key } = request.into_inner();
        let found = self.call(&namespace, &snapshotter, move |snapshots| snapshots.stat(&key)).await?;
        Ok(Response::new(StatSnapshotResponse { info: Some(info(found)) }))
    }

    async fn update(
        &self,
        request: Request<UpdateSnapshotRequest>,
    ) -> Result<Response<UpdateSnapshotResponse>> {
        let namespace = request::namespace(&request)?;
        let UpdateSnapshotRequest { snapshotter, info: update, update_mask } = request.into_inner();
        let update = update.unwrap_or_default();
        if update.name.is_empty() {
            return Err(grpc::status::status(Code::InvalidArgument, "invalid argument"));
        }
        let paths = update_mask.unwrap_or_default().paths;
        let mask = Mask::parse(&paths)
            .map_err(|path| request::no_field(path, &format!("snapshot {:?}", update.name)))?;
        let updated = self.call(&namespace, &snapshotter, move |snapshots| {
            snapshots.update(&update.name, update.labels.into_iter().collect(), mask)
        });
        Ok(Response::new(UpdateSnapshotResponse { info: Some(info(updated.await?)) }))
    }

    async fn list(&self, request: Request<ListSnapshotsRequest>) -> Result<Response<Self::ListStream>> {
        let namespace = request::namespace(&request)?;
        let ListSnapshotsRequest { snapshotter, filters } = request.into_inner();
        let filter = request::filter(&filters)?;
        let mut infos = self.call(&namespace, &snapshotter, |snapshots| snapshots.list()).await?;
        infos.retain(|info| filter.matches(&Fields(info)));
        let mut answers = Vec::new();
        let mut infos = infos.into_iter().map(info).peekable();
        while infos.peek().is_some() {
            answers.push(Ok(ListSnapshotsResponse { info: infos.by_ref().take(BATCH).collect() }));
        }
        Ok(Response::new(Box::pin(futures_util::stream::iter(answers))))
    }

    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>> {
        let namespace = request::namespace(&request)?;
        let UsageRequest { snapshotter, key } = request.into_inner();
        let usage = self.call(&namespace, &snapshotter, move |snapshots| snapshots.usage(&key)).await?;
        let [size, inodes] =
            [usage.bytes, usage.inodes].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Ok(Response::new(UsageResponse { size, inodes }))
    }

    async fn cleanup(&self, request: Request<CleanupRequest>) -> Result<Response<()>> {
        let namespace = request::namespace(&request)?;
        self.call(&namespace, &request.into_inner().snapshotter, |_| Ok(())).await?;
        // containerd's answer for its own snapshotters, too: they clean up after themselves.
        Err(status::with_suffix(Code::Unimplemented, "snapshotter does not implement Cleanup method"))
    }
}

/// An empty text names nothing.
fn named(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What filters see of a snapshot.
struct Fields<'a>(&'a space::Info);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "kind" => Some(Cow::Borrowed(match self.0.kind {
                StoredKind::Active => "active",
                StoredKind::View => "view",
                StoredKind::Committed => "committed",
            })),
            "name" => Some(Cow::Borrowed(&self.0.key)),
            "parent" => Some(Cow::Borrowed(self.0.parent.as_deref().unwrap_or_default())),
            "labels" => label(rest, &self.0.labels),
            _ => None,
        }
    }
}

fn info(info: space::Info) -> Info {
    let kind = match info.kind {
        StoredKind::Active => Kind::Active,
        StoredKind::View => Kind::View,
        StoredKind::Committed => Kind::Committed,
    };
    Info {
        name: info.key,
        parent: info.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: Some(timestamp(info.created_ns)),
        updated_at: Some(timestamp(info.updated_ns)),
        labels: info.labels.into_iter().collect(),
    }
}

pub(crate) fn mount(mount: Mount) -> types::Mount {
    types::Mount { r#type: mount.kind, source: mount.source, target: mount.target, options: mount.options }
}
