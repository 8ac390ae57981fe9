//! The server: one router of all services on a Unix socket.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::Engine;
use engine::exchange::Exchange;
use futures_util::stream;
use store::Store;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Server;

use crate::bridge;
use crate::calls::{Calls, Counters};
use crate::services::containers::Containers;
use crate::services::content::Content;
use crate::services::diff::Diff;
use crate::services::events::Events;
use crate::services::health::Health;
use crate::services::images::Images;
use crate::services::introspection::{Introspection, can_be_disabled};
use crate::services::leases::Leases;
use crate::services::namespaces::Namespaces;
use crate::services::sandboxes::Sandboxes;
use crate::services::sandboxes::controller::Controller;
use crate::services::snapshots::Snapshots;
use crate::services::streaming::{Streaming, Streams};
use crate::services::tasks::Tasks;
use crate::services::transfer::Transfer;
use crate::services::version::Version;
use crate::status;

/// What a message may have, in both directions: containerd's default.
pub(crate) const MESSAGE_MAX_BYTES: usize = 16 << 20;

/// What every service works with.
#[derive(Debug, Clone)]
pub struct Door {
    engine: Arc<Engine>,
    /// Plugins that are not there.
    disabled: Arc<BTreeSet<String>>,
    counters: Option<Arc<Counters>>,
}

impl Door {
    /// A door to `engine`.
    pub fn new(engine: Arc<Engine>) -> Door {
        Door { engine, disabled: Arc::default(), counters: None }
    }

    /// The same without some plugins, as far as the daemon can do without them ([`can_be_disabled`]).
    pub fn without(mut self, plugins: impl IntoIterator<Item = String>) -> Door {
        self.disabled = Arc::new(plugins.into_iter().filter(|plugin| can_be_disabled(plugin)).collect());
        self
    }

    /// The same with its calls counted, for [`metrics`](crate::metrics()).
    pub fn counted(mut self) -> Door {
        self.counters = Some(Arc::default());
        self
    }

    pub(crate) fn counters(&self) -> Option<&Arc<Counters>> {
        self.counters.as_ref()
    }

    /// Whether there is that plugin.
    pub(crate) fn has(&self, kind: &str, id: &str) -> bool {
        !self.disabled.contains(&format!("{kind}.{id}"))
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        self.engine.exchange()
    }

    /// Runs `work` on a thread that may block, and words its error.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> store::Result<T> + Send + 'static,
    {
        self.attempt(work).await?.map_err(|error| status::of_store(&error))
    }

    /// The same for who words some errors himself.
    pub(crate) async fn attempt<T, F>(&self, work: F) -> Result<store::Result<T>, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> store::Result<T> + Send + 'static,
    {
        let store = self.engine.store().clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| Status::internal(format!("the work ended badly: {error}")))
    }

    /// Collects garbage after something was deleted: now, if a client waits for it, or soon.
    pub(crate) async fn collect(&self, is_awaited: bool) -> Result<(), Status> {
        if is_awaited {
            return self.engine.collect_now().await.map_err(|error| status::of_engine(&error));
        }
        self.engine.collect_later();
        Ok(())
    }
}

/// A service in its server, with containerd's bounds of messages.
macro_rules! bounded {
    ($server:path, $service:expr) => {{
        use $server as Server;
        Server::new($service)
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES)
    }};
}

/// Serves until `stopping` says so; calls that are under way are let go of then.
pub async fn serve(listener: UnixListener, door: Door, mut stopping: watch::Receiver<bool>) {
    let incoming = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    let streams = Arc::new(Streams::default());
    let calls = Calls::new(door.counters.clone(), door.disabled.clone());
    let router = Server::builder()
        .layer(calls)
        .add_service(bounded!(
            grpc::containers::containers_server::ContainersServer,
            Containers(door.clone())
        ))
        .add_service(bounded!(grpc::content::content_server::ContentServer, Content(door.clone())))
        .add_service(bounded!(grpc::diff::diff_server::DiffServer, Diff(door.clone())))
        .add_service(bounded!(grpc::events::events_server::EventsServer, Events(door.clone())))
        .add_service(bounded!(grpc::health::health_server::HealthServer, Health))
        .add_service(bounded!(grpc::images::images_server::ImagesServer, Images(door.clone())))
        .add_service(bounded!(grpc::leases::leases_server::LeasesServer, Leases(door.clone())))
        .add_service(bounded!(
            grpc::namespaces::namespaces_server::NamespacesServer,
            Namespaces(door.clone())
        ))
        .add_service(bounded!(grpc::sandbox::store_server::StoreServer, Sandboxes(door.clone())))
        .add_service(bounded!(grpc::sandbox::controller_server::ControllerServer, Controller(door.clone())))
        .add_service(bounded!(
            grpc::introspection::introspection_server::IntrospectionServer,
            Introspection(door.clone())
        ))
        .add_service(bounded!(grpc::snapshots::snapshots_server::SnapshotsServer, Snapshots(door.clone())))
        .add_service(bounded!(grpc::streaming::streaming_server::StreamingServer, Streaming(streams.clone())))
        .add_service(bounded!(grpc::tasks::tasks_server::TasksServer, Tasks(door.clone())))
        .add_service(bounded!(
            grpc::transfer::transfer_server::TransferServer,
            Transfer(door.clone(), streams)
        ))
        .add_service(bounded!(grpc::version::version_server::VersionServer, Version));
    let served = router.serve_with_incoming(incoming);
    tokio::select! {
        () = bridge::run(door) => {}
        result = served => {
            if let Err(error) = result {
                tracing::error!(%error, "the containerd door ended");
            }
        }
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}
