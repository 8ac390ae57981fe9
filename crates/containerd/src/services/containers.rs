//! `containerd.services.containers.v1.Containers`: records of containers; also of those that other doors made.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;

use api::code::Code;
use api::events::{ContainerCreate, ContainerDelete, ContainerUpdate, container_create};
use futures_util::{Stream, StreamExt as _};
use grpc::containers::containers_server;
use grpc::containers::{
    Container, CreateContainerRequest, CreateContainerResponse, DeleteContainerRequest, GetContainerRequest,
    GetContainerResponse, ListContainerMessage, ListContainersRequest, ListContainersResponse,
    UpdateContainerRequest, UpdateContainerResponse, container,
};
use store::Error;
use store::space::containers::{self as space, Containers as Stored};
use tonic::{Request, Response, Result};

use super::foreign;
use super::opaque::{any, extensions, opaque};
use crate::Door;
use crate::filter::{Adaptor, label};
use crate::time::timestamp;
use crate::{request, status};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Containers(pub(crate) Door);

impl Containers {
    /// Calls the store with the containers of the namespace; `missing` is what is said of one that is not there.
    async fn call<T: Send + 'static>(
        &self,
        namespace: &str,
        missing: impl FnOnce(&str) -> String,
        work: impl FnOnce(&Stored<'_>) -> store::Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = namespace.to_owned();
        let done = self.0.attempt(move |store| work(&store.space(&namespace).containers())).await?;
        done.map_err(|error| match &error {
            Error::NotFound { name, .. } => status::with_suffix(Code::NotFound, missing(name)),
            _ => status::of_store(&error),
        })
    }

    /// All that match, by id.
    async fn matching(&self, request: Request<ListContainersRequest>) -> Result<Vec<Container>> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let mut found = self.call(&namespace, quoted, |containers| containers.list()).await?;
        found.extend(foreign::list(&self.0, &namespace).await?);
        found.retain(|container| filter.matches(&Fields(container)));
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found.into_iter().map(wire).collect())
    }
}

#[tonic::async_trait]
impl containers_server::Containers for Containers {
    type ListStreamStream = Pin<Box<dyn Stream<Item = Result<ListContainerMessage>> + Send>>;

    async fn get(&self, request: Request<GetContainerRequest>) -> Result<Response<GetContainerResponse>> {
        let namespace = request::namespace(&request)?;
        let id = request.into_inner().id;
        if let Some(container) = foreign::get(&self.0, &namespace, &id).await? {
            return Ok(Response::new(GetContainerResponse { container: Some(wire(container)) }));
        }
        let missing = |id: &str| format!("container {id:?} in namespace {namespace:?}");
        let found = self.call(&namespace, missing, move |containers| containers.get(&id)).await?;
        Ok(Response::new(GetContainerResponse { container: Some(wire(found)) }))
    }

    async fn list(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>> {
        let containers = self.matching(request).await?;
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn list_stream(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<Self::ListStreamStream>> {
        let found = futures_util::stream::iter(self.matching(request).await?);
        let messages = found.map(|container| Ok(ListContainerMessage { container: Some(container) }));
        Ok(Response::new(Box::pin(messages)))
    }

    async fn create(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>> {
        let namespace = request::namespace(&request)?;
        let given = parsed(request.into_inner().container);
        let made = wire(self.call(&namespace, quoted, move |containers| containers.create(given)).await?);
        let container::Runtime { name, options } = made.runtime.clone().unwrap_or_default();
        let event = ContainerCreate {
            id: made.id.clone(),
            image: made.image.clone(),
            runtime: Some(container_create::Runtime { name, options }),
        };
        self.0.exchange().publish(&namespace, "/containers/create", &event);
        Ok(Response::new(CreateContainerResponse { container: Some(made) }))
    }

    async fn update(
        &self,
        request: Request<UpdateContainerRequest>,
    ) -> Result<Response<UpdateContainerResponse>> {
        let namespace = request::namespace(&request)?;
        let UpdateContainerRequest { container, update_mask } = request.into_inner();
        let given = parsed(container);
        if given.id.is_empty() {
            return Err(grpc::status::status(Code::InvalidArgument, "Container.ID required"));
        }
        if foreign::get(&self.0, &namespace, &given.id).await?.is_some() {
            return Err(foreign::refuse(&given.id));
        }
        let paths = update_mask.unwrap_or_default().paths;
        let updated = self.call(&namespace, quoted, move |containers| containers.update(given, paths));
        let updated = wire(updated.await?);
        let event = ContainerUpdate {
            id: updated.id.clone(),
            image: updated.image.clone(),
            labels: updated.labels.clone(),
            snapshot_key: updated.snapshot_key.clone(),
        };
        self.0.exchange().publish(&namespace, "/containers/update", &event);
        Ok(Response::new(UpdateContainerResponse { container: Some(updated) }))
    }

    async fn delete(&self, request: Request<DeleteContainerRequest>) -> Result<Response<()>> {
        let namespace = request::namespace(&request)?;
        let id = request.into_inner().id;
        if foreign::delete(&self.0, &namespace, &id).await? {
            // Its owner says that it is gone.
            return Ok(Response::new(()));
        }
        let (missing, gone) = (|id: &str| format!("container {id}"), id.clone());
        self.call(&namespace, missing, move |containers| containers.delete(&gone)).await?;
        self.0.exchange().publish(&namespace, "/containers/delete", &ContainerDelete { id });
        self.0.collect(false).await?;
        Ok(Response::new(()))
    }
}

fn quoted(id: &str) -> String {
    format!("container {id:?}")
}

/// What filters see of a container.
struct Fields<'a>(&'a space::Container);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        let text = match (first.as_str(), rest.first().map(String::as_str)) {
            ("id", _) => &self.0.id,
            ("runtime", Some("name")) => &self.0.runtime,
            ("image", _) => &self.0.image,
            ("labels", _) => return label(rest, &self.0.labels),
            _ => return None,
        };
        (!text.is_empty()).then_some(Cow::Borrowed(text))
    }
}

fn parsed(container: Option<Container>) -> space::Container {
    let container = container.unwrap_or_default();
    let container::Runtime { name, options } = container.runtime.unwrap_or_default();
    space::Container {
        id: container.id,
        labels: container.labels.into_iter().collect(),
        image: container.image,
        runtime: name,
        runtime_options: options.map(opaque),
        spec: container.spec.map(opaque),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        extensions: extensions(container.extensions),
        sandbox: container.sandbox,
        ..space::Container::default()
    }
}

fn wire(container: space::Container) -> Container {
    let runtime = container::Runtime { name: container.runtime, options: container.runtime_options.map(any) };
    let extensions: HashMap<_, _> =
        container.extensions.into_iter().map(|(key, value)| (key, any(value))).collect();
    Container {
        id: container.id,
        labels: container.labels.into_iter().collect(),
        image: container.image,
        runtime: Some(runtime),
        spec: container.spec.map(any),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        created_at: Some(timestamp(container.created_ns)),
        updated_at: Some(timestamp(container.updated_ns)),
        extensions,
        sandbox: container.sandbox,
    }
}
