//! Namespaces: an extension of Docker's API, below `/corten`.
//!
//! Any other request is about the namespace that its header `X-Corten-Namespace` names; without one, about `default`.

use api::docker::namespace::{Namespace as Wire, NamespaceCreateBody, NamespaceUpdateBody};
use engine::Namespace;
use engine::namespaces::NamespaceView;
use hyper::StatusCode;

use crate::call::Call;
use crate::error::Result;
use crate::reply::{self, Reply};

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let all = call.engine.namespaces().list().await?;
    Ok(reply::json(StatusCode::OK, &all.into_iter().map(describe).collect::<Vec<Wire>>()))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.engine.namespaces().inspect(&Namespace::parse(&call.name)?).await?;
    Ok(reply::json(StatusCode::OK, &describe(found)))
}

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: NamespaceCreateBody = call.body().await?;
    let name = Namespace::parse(&body.name)?;
    call.engine.namespaces().create(&name, body.labels).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

pub(crate) async fn update(mut call: Call) -> Result<Reply> {
    let body: NamespaceUpdateBody = call.body().await?;
    call.engine.namespaces().update(&Namespace::parse(&call.name)?, body.labels).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn remove(call: Call) -> Result<Reply> {
    call.engine.namespaces().remove(&Namespace::parse(&call.name)?).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn describe(view: NamespaceView) -> Wire {
    let NamespaceView { name, labels, containers, images } = view;
    Wire { name, labels, containers, images }
}
