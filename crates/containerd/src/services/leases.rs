//! `containerd.services.leases.v1.Leases`: what clients hold until they are done.

use std::borrow::Cow;

use grpc::leases::leases_server;
use grpc::leases::{
    AddResourceRequest, CreateRequest, CreateResponse, DeleteRequest, DeleteResourceRequest, Lease,
    ListRequest, ListResourcesRequest, ListResourcesResponse, ListResponse, Resource,
};
use store::space::leases::{self as space, Leases as Stored};
use tonic::{Request, Response, Result};

use crate::Door;
use crate::filter::{Adaptor, label};
use crate::request;
use crate::time::timestamp;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Leases(pub(crate) Door);

impl Leases {
    /// Calls the store with the leases of the namespace.
    async fn call<T: Send + 'static>(
        &self,
        namespace: String,
        work: impl FnOnce(&Stored<'_>) -> store::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.blocking(move |store| work(&store.space(&namespace).leases())).await
    }
}

#[tonic::async_trait]
impl leases_server::Leases for Leases {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>> {
        let namespace = request::namespace(&request)?;
        let CreateRequest { id, labels } = request.into_inner();
        let made = self.call(namespace, move |leases| {
            leases.create(Some(id.as_str()).filter(|id| !id.is_empty()), labels.into_iter().collect())
        });
        let lease = Some(lease(made.await?));
        // It may end before what is due next.
        self.0.engine().look_later();
        Ok(Response::new(CreateResponse { lease }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>> {
        let namespace = request::namespace(&request)?;
        let DeleteRequest { id, sync } = request.into_inner();
        self.call(namespace, move |leases| leases.delete(&id)).await?;
        self.0.collect(sync).await?;
        Ok(Response::new(()))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let mut leases = self.call(namespace, |leases| leases.list()).await?;
        leases.retain(|lease| filter.matches(&Fields(lease)));
        Ok(Response::new(ListResponse { leases: leases.into_iter().map(lease).collect() }))
    }

    async fn add_resource(&self, request: Request<AddResourceRequest>) -> Result<Response<()>> {
        let namespace = request::namespace(&request)?;
        let AddResourceRequest { id, resource } = request.into_inner();
        let resource = resource.unwrap_or_default();
        self.call(namespace, move |leases| leases.add(&id, &resource.r#type, &resource.id)).await?;
        Ok(Response::new(()))
    }

    async fn delete_resource(&self, request: Request<DeleteResourceRequest>) -> Result<Response<()>> {
        let namespace = request::namespace(&request)?;
        let DeleteResourceRequest { id, resource } = request.into_inner();
        let resource = resource.unwrap_or_default();
        self.call(namespace, move |leases| leases.remove(&id, &resource.r#type, &resource.id)).await?;
        self.0.collect(false).await?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Result<Response<ListResourcesResponse>> {
        let namespace = request::namespace(&request)?;
        let id = request.into_inner().id;
        let held = self.call(namespace, move |leases| leases.resources(&id)).await?;
        let resources = held.iter().map(|held| Resource { id: held.id().to_owned(), r#type: held.kind() });
        Ok(Response::new(ListResourcesResponse { resources: resources.collect() }))
    }
}

/// What filters see of a lease.
struct Fields<'a>(&'a space::Lease);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "id" => Some(Cow::Borrowed(&self.0.id)),
            "labels" => label(rest, &self.0.labels),
            _ => None,
        }
    }
}

fn lease(lease: space::Lease) -> Lease {
    let labels = lease.labels.into_iter().collect();
    Lease { id: lease.id, created_at: Some(timestamp(lease.created_ns)), labels }
}
