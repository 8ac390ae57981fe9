//! `containerd.services.sandbox.v1.Store`: records of sandboxes.

pub(crate) mod controller;

use std::borrow::Cow;

use api::code::Code;
use api::types::{Sandbox, sandbox};
use grpc::sandbox::store_server;
use grpc::sandbox::{
    StoreCreateRequest, StoreCreateResponse, StoreDeleteRequest, StoreDeleteResponse, StoreGetRequest,
    StoreGetResponse, StoreListRequest, StoreListResponse, StoreUpdateRequest, StoreUpdateResponse,
};
use store::Error;
use store::space::sandboxes::{self as space, Sandboxes as Stored};
use tonic::{Request, Response, Result};

use super::opaque::{any, extensions, opaque};
use crate::Door;
use crate::filter::{Adaptor, label};
use crate::time::timestamp;
use crate::{request, status};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Sandboxes(pub(crate) Door);

impl Sandboxes {
    /// Calls the store with the sandboxes of the namespace; `missing` is what is said of one that is not there.
    async fn call<T: Send + 'static>(
        &self,
        namespace: String,
        missing: impl FnOnce(&str) -> String,
        work: impl FnOnce(&Stored<'_>) -> store::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.0.attempt(move |store| work(&store.space(&namespace).sandboxes())).await?;
        done.map_err(|error| match &error {
            Error::NotFound { name, .. } => status::with_suffix(Code::NotFound, missing(name)),
            Error::AlreadyExists { name, .. } => {
                let text = format!("write error: sandbox bucket {name:?} already exists");
                status::with_suffix(Code::AlreadyExists, format!("{text}: already exists"))
            }
            _ => status::of_store(&error),
        })
    }
}

#[tonic::async_trait]
impl store_server::Store for Sandboxes {
    async fn create(&self, request: Request<StoreCreateRequest>) -> Result<Response<StoreCreateResponse>> {
        let namespace = request::namespace(&request)?;
        let given = parsed(request.into_inner().sandbox);
        let made = self.call(namespace, not_found, move |sandboxes| sandboxes.create(given)).await?;
        Ok(Response::new(StoreCreateResponse { sandbox: Some(wire(made)) }))
    }

    async fn update(&self, request: Request<StoreUpdateRequest>) -> Result<Response<StoreUpdateResponse>> {
        let namespace = request::namespace(&request)?;
        let StoreUpdateRequest { sandbox, fields } = request.into_inner();
        let given = parsed(sandbox);
        let updated =
            self.call(namespace, not_found, move |sandboxes| sandboxes.update(given, fields)).await?;
        Ok(Response::new(StoreUpdateResponse { sandbox: Some(wire(updated)) }))
    }

    async fn delete(&self, request: Request<StoreDeleteRequest>) -> Result<Response<StoreDeleteResponse>> {
        let namespace = request::namespace(&request)?;
        let id = request.into_inner().sandbox_id;
        let missing = |id: &str| format!("failed to delete sandbox {id:?}");
        self.call(namespace, missing, move |sandboxes| sandboxes.delete(&id)).await?;
        self.0.collect(false).await?;
        Ok(Response::new(StoreDeleteResponse {}))
    }

    async fn list(&self, request: Request<StoreListRequest>) -> Result<Response<StoreListResponse>> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let mut found = self.call(namespace, not_found, |sandboxes| sandboxes.list()).await?;
        found.retain(|sandbox| filter.matches(&Fields(sandbox)));
        Ok(Response::new(StoreListResponse { list: found.into_iter().map(wire).collect() }))
    }

    async fn get(&self, request: Request<StoreGetRequest>) -> Result<Response<StoreGetResponse>> {
        let namespace = request::namespace(&request)?;
        let id = request.into_inner().sandbox_id;
        let found = self.call(namespace, not_found, move |sandboxes| sandboxes.get(&id)).await?;
        Ok(Response::new(StoreGetResponse { sandbox: Some(wire(found)) }))
    }
}

fn not_found(id: &str) -> String {
    format!("bucket {id:?} not found: not found")
}

/// What filters see of a sandbox.
struct Fields<'a>(&'a space::Sandbox);

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

fn parsed(sandbox: Option<Sandbox>) -> space::Sandbox {
    let sandbox = sandbox.unwrap_or_default();
    let sandbox::Runtime { name, options } = sandbox.runtime.unwrap_or_default();
    space::Sandbox {
        id: sandbox.sandbox_id,
        labels: sandbox.labels.into_iter().collect(),
        runtime: name,
        runtime_options: options.map(opaque),
        spec: sandbox.spec.map(opaque),
        extensions: extensions(sandbox.extensions),
        sandboxer: sandbox.sandboxer,
        ..space::Sandbox::default()
    }
}

fn wire(sandbox: space::Sandbox) -> Sandbox {
    let runtime = sandbox::Runtime { name: sandbox.runtime, options: sandbox.runtime_options.map(any) };
    Sandbox {
        sandbox_id: sandbox.id,
        runtime: Some(runtime),
        spec: sandbox.spec.map(any),
        labels: sandbox.labels.into_iter().collect(),
        created_at: Some(timestamp(sandbox.created_ns)),
        updated_at: Some(timestamp(sandbox.updated_ns)),
        extensions: sandbox.extensions.into_iter().map(|(key, value)| (key, any(value))).collect(),
        sandboxer: sandbox.sandboxer,
    }
}
