//! `containerd.services.namespaces.v1.Namespaces`: namespaces and their labels.

use std::collections::HashMap;

use api::code::Code;
use api::events::{NamespaceCreate, NamespaceDelete, NamespaceUpdate};
use grpc::namespaces::namespaces_server;
use grpc::namespaces::{
    CreateNamespaceRequest, CreateNamespaceResponse, DeleteNamespaceRequest, GetNamespaceRequest,
    GetNamespaceResponse, ListNamespacesRequest, ListNamespacesResponse, Namespace, UpdateNamespaceRequest,
    UpdateNamespaceResponse,
};
use store::space::identifier;
use store::space::labels::{self, Mask};
use store::{Commit, Labels, namespaces as rows};
use tonic::{Request, Response, Result, Status};

use crate::Door;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces(pub(crate) Door);

#[tonic::async_trait]
impl namespaces_server::Namespaces for Namespaces {
    /// One that is not there has no labels.
    async fn get(&self, request: Request<GetNamespaceRequest>) -> Result<Response<GetNamespaceResponse>> {
        let name = request.into_inner().name;
        let asked = name.clone();
        let labels = self.0.blocking(move |store| store.read(|tx| rows::labels(tx, &asked))).await?;
        let namespace = Namespace { name, labels: wire(labels.unwrap_or_default()) };
        Ok(Response::new(GetNamespaceResponse { namespace: Some(namespace) }))
    }

    /// containerd has a filter here, and does not look at it.
    async fn list(&self, _: Request<ListNamespacesRequest>) -> Result<Response<ListNamespacesResponse>> {
        let found = self.0.blocking(|store| store.read(rows::list)).await?;
        let namespaces = found.into_iter().map(|row| Namespace { name: row.name, labels: wire(row.labels) });
        Ok(Response::new(ListNamespacesResponse { namespaces: namespaces.collect() }))
    }

    async fn create(
        &self,
        request: Request<CreateNamespaceRequest>,
    ) -> Result<Response<CreateNamespaceResponse>> {
        let namespace = request.into_inner().namespace.unwrap_or_default();
        let Namespace { name, labels } = namespace.clone();
        self.0
            .blocking(move |store| {
                identifier::check(&name)?;
                // One without a value is none, but a new namespace has nothing to clear.
                if labels.contains_key("") {
                    let why = "namespace.Labels: label key required".to_owned();
                    return Err(store::Error::Label { why });
                }
                let labels = labels::stored(labels.into_iter().collect())
                    .map_err(|error| error.within("namespace.Labels"))?;
                store.write(Commit::Durable, move |tx| rows::create(tx, &name, &labels))
            })
            .await?;
        let event = NamespaceCreate { name: namespace.name.clone(), labels: namespace.labels.clone() };
        self.0.exchange().publish(&namespace.name, "/namespaces/create", &event);
        Ok(Response::new(CreateNamespaceResponse { namespace: Some(namespace) }))
    }

    /// Makes it, too.
    async fn update(
        &self,
        request: Request<UpdateNamespaceRequest>,
    ) -> Result<Response<UpdateNamespaceResponse>> {
        let UpdateNamespaceRequest { namespace, update_mask } = request.into_inner();
        let namespace = namespace.unwrap_or_default();
        let mask = mask(&update_mask.unwrap_or_default().paths)?;
        let Namespace { name, labels } = namespace.clone();
        self.0
            .blocking(move |store| {
                identifier::check(&name)?;
                store.write(Commit::Durable, move |tx| {
                    let old = rows::labels(tx, &name)?.unwrap_or_default();
                    let labels = mask
                        .apply(&old, &labels.into_iter().collect())
                        .map_err(|error| error.within("namespace.Labels"))?;
                    rows::put(tx, &name, &labels)
                })
            })
            .await?;
        let event = NamespaceUpdate { name: namespace.name.clone(), labels: namespace.labels };
        self.0.exchange().publish(&namespace.name, "/namespaces/update", &event);
        Ok(Response::new(UpdateNamespaceResponse { namespace: None }))
    }

    async fn delete(&self, request: Request<DeleteNamespaceRequest>) -> Result<Response<()>> {
        let name = request.into_inner().name;
        let gone = name.clone();
        self.0.blocking(move |store| store.write(Commit::Durable, move |tx| rows::delete(tx, &gone))).await?;
        self.0.exchange().publish(&name, "/namespaces/delete", &NamespaceDelete { name: name.clone() });
        self.0.collect(false).await?;
        Ok(Response::new(()))
    }
}

/// Which labels an update is about; only single ones can be named.
fn mask(paths: &[String]) -> Result<Mask> {
    let keys = paths.iter().map(|path| match path.strip_prefix("labels.") {
        Some(key) => Ok(key.to_owned()),
        None => Err(grpc::status::status(Code::InvalidArgument, format!("cannot update {path:?} field"))),
    });
    let keys = keys.collect::<Result<Vec<_>, Status>>()?;
    Ok(if keys.is_empty() { Mask::All } else { Mask::Keys(keys) })
}

fn wire(labels: Labels) -> HashMap<String, String> {
    labels.into_iter().collect()
}
