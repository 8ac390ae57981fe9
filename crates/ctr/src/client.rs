//! The connection to a daemon that speaks containerd's API.

use std::path::Path;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;
use crate::grammar::Call;

/// Where Corten's own door is, and containerd's, which is taken when only that is there.
pub(crate) const ADDRESS: &str = "/run/corten/corten.sock";
const CONTAINERD_ADDRESS: &str = "/run/containerd/containerd.sock";
/// containerd's bound of a message.
const MESSAGE_LIMIT_BYTES: usize = 16 << 20;
/// How long containerd's client tries to reach a daemon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which every call carries the namespace, and the lease where there is one.
pub(crate) type Service = InterceptedService<Channel, Headers>;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    headers: Headers,
}

#[derive(Debug, Clone)]
pub(crate) struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl tonic::service::Interceptor for Headers {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// One accessor for each service.
macro_rules! services {
    ($($name:ident: $client:ty),* $(,)?) => {
        impl Client {
            $(pub(crate) fn $name(&self) -> $client {
                let service = InterceptedService::new(self.channel.clone(), self.headers.clone());
                <$client>::new(service)
                    .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
                    .max_encoding_message_size(MESSAGE_LIMIT_BYTES)
            })*
        }
    };
}

services! {
    controller: grpc::sandbox::controller_client::ControllerClient<Service>,
    containers: grpc::containers::containers_client::ContainersClient<Service>,
    content: grpc::content::content_client::ContentClient<Service>,
    diff: grpc::diff::diff_client::DiffClient<Service>,
    events: grpc::events::events_client::EventsClient<Service>,
    images: grpc::images::images_client::ImagesClient<Service>,
    introspection: grpc::introspection::introspection_client::IntrospectionClient<Service>,
    leases: grpc::leases::leases_client::LeasesClient<Service>,
    namespaces: grpc::namespaces::namespaces_client::NamespacesClient<Service>,
    sandboxes: grpc::sandbox::store_client::StoreClient<Service>,
    tasks: grpc::tasks::tasks_client::TasksClient<Service>,
    snapshots: grpc::snapshots::snapshots_client::SnapshotsClient<Service>,
    streaming: grpc::streaming::streaming_client::StreamingClient<Service>,
    transfer: grpc::transfer::transfer_client::TransferClient<Service>,
    version: grpc::version::version_client::VersionClient<Service>,
}

impl Client {
    /// Connects as the command line says.
    pub(crate) async fn connect(call: &Call) -> Result<Client, Error> {
        let address = address(call);
        let path = address.strip_prefix("unix://").unwrap_or(&address);
        let namespace = call.text("namespace");
        let refused = || Error::Usage(format!("namespace {namespace:?}: invalid argument"));
        let headers = Headers { namespace: namespace.parse().map_err(|_| refused())?, lease: None };
        let failed = |source| Error::Connect { address: address.clone(), source };
        let timeout = call.duration("connect-timeout").filter(|timeout| !timeout.is_zero());
        let endpoint = Endpoint::from_shared(format!("unix://{path}")).map_err(failed)?;
        let channel =
            endpoint.connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT)).connect().await.map_err(failed)?;
        Ok(Client { channel, headers })
    }

    /// The namespace of every call.
    pub(crate) fn namespace(&self) -> &str {
        self.headers.namespace.to_str().unwrap_or_default()
    }

    /// The same connection, in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Option<Client> {
        let namespace = namespace.parse().ok()?;
        Some(Client {
            channel: self.channel.clone(),
            headers: Headers { namespace, lease: self.headers.lease.clone() },
        })
    }

    /// The same connection, whose calls put what they make under a lease.
    pub(crate) fn with_lease(&self, id: &str) -> Result<Client, Error> {
        let wrong = |_| Error::Usage(format!("lease {id:?}: invalid argument"));
        let headers = Headers { lease: Some(id.parse().map_err(wrong)?), ..self.headers.clone() };
        Ok(Client { channel: self.channel.clone(), headers })
    }

    /// The snapshotter to use: the flag (or its environment variable), the namespace's default, overlayfs.
    pub(crate) async fn snapshotter(&self, call: &Call) -> String {
        const DEFAULT_LABEL: &str = "containerd.io/defaults/snapshotter";
        let named = call.text("snapshotter");
        if !named.is_empty() {
            return named.to_owned();
        }
        let request = grpc::namespaces::GetNamespaceRequest { name: self.namespace().to_owned() };
        let labels = match self.namespaces().get(request).await {
            Ok(response) => {
                response.into_inner().namespace.map(|namespace| namespace.labels).unwrap_or_default()
            }
            // A namespace that does not exist yet has no default.
            Err(_) => return "overlayfs".to_owned(),
        };
        labels.get(DEFAULT_LABEL).cloned().unwrap_or_else(|| "overlayfs".to_owned())
    }
}

/// The address that the user gave, or that of the door which is there.
pub(crate) fn address(call: &Call) -> String {
    match call.text("address") {
        "" if !Path::new(ADDRESS).exists() && Path::new(CONTAINERD_ADDRESS).exists() => {
            CONTAINERD_ADDRESS.to_owned()
        }
        "" => ADDRESS.to_owned(),
        given => given.to_owned(),
    }
}
