//! `containerd.services.transfer.v1`: images between registries, archives and the store, all of it done here.
//!
//! ```text
//! registry ─ pull ───▶ store ─ push ───▶ registry       the store's names as they are, without completion
//! archive ── import ─▶ store ─ export ─▶ archive
//!                      store ─ tag ────▶ store
//! ```
//!
//! A client names both ends; streams for progress and credentials it has opened before.

mod archive;
mod auth;
mod names;
mod progress;
mod registry;

use std::sync::Arc;

use api::any;
use api::code::Code;
use api::types::transfer::{ImageExportStream, ImageImportStream, ImageStore, OciRegistry};
use engine::Namespace;
use engine::images::Images;
use grpc::transfer::{TransferRequest, transfer_server};
use prost_types::Any;
use tonic::{Request, Response, Status};

use self::progress::Progress;
use super::streaming::Streams;
use crate::door::Door;
use crate::{request, status};

/// The service.
#[derive(Debug)]
pub(crate) struct Transfer(pub(crate) Door, pub(crate) Arc<Streams>);

/// One transfer.
struct Call {
    door: Door,
    streams: Arc<Streams>,
    namespace: String,
    images: Images,
    progress: Progress,
}

/// An end of a transfer.
enum End {
    Registry(OciRegistry),
    Store(ImageStore),
    Import(ImageImportStream),
    Export(ImageExportStream),
}

#[tonic::async_trait]
impl transfer_server::Transfer for Transfer {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<()>, Status> {
        let namespace = request::namespace(&request);
        let TransferRequest { source, destination, options } = request.into_inner();
        let (source, destination) = (source.unwrap_or_default(), destination.unwrap_or_default());
        // What the ends are is looked at first.
        let ends = (End::of(&source)?, End::of(&destination)?);
        let namespace = namespace?;
        let scope = Namespace::parse(&namespace).map_err(|error| status::of_engine(&error))?;
        let images = self.0.engine().within(scope).images();
        let told = options.unwrap_or_default().progress_stream;
        let told = if told.is_empty() { None } else { Some(self.1.take(&namespace, &told)?) };
        let call = Call {
            door: self.0.clone(),
            streams: self.1.clone(),
            namespace,
            images,
            progress: Progress::to(told),
        };
        let done = call.run(ends, [&source.type_url, &destination.type_url]).await;
        call.progress.finish().await;
        done.map(Response::new)
    }
}

impl Call {
    /// `names` are the ends', as the client calls them.
    async fn run(&self, ends: (End, End), names: [&str; 2]) -> Result<(), Status> {
        match ends {
            (End::Registry(registry), End::Store(store)) => self.pull(registry, store).await,
            (End::Store(store), End::Registry(registry)) => self.push(store, registry).await,
            (End::Store(store), End::Store(other)) => self.tag(store, other).await,
            (End::Store(store), End::Export(stream)) => self.export(store, stream).await,
            (End::Import(stream), End::Store(store)) => self.import(stream, store).await,
            (End::Import(from), End::Export(to)) => self.echo(from, to).await,
            _ => {
                let [from, to] = names;
                let text = format!("method Transfer not implemented for {from} to {to}");
                Err(grpc::status::status(Code::Unimplemented, text))
            }
        }
    }
}

impl End {
    /// # Errors
    /// containerd's for a type that it does not know.
    fn of(any: &Any) -> Result<End, Status> {
        let wrong = |error: prost::DecodeError| {
            status::with_suffix(Code::InvalidArgument, format!("{}: {error}", any.type_url))
        };
        if let Some(registry) = any::unpack(any) {
            return registry.map(End::Registry).map_err(wrong);
        }
        if let Some(store) = any::unpack(any) {
            return store.map(End::Store).map_err(wrong);
        }
        if let Some(stream) = any::unpack(any) {
            return stream.map(End::Import).map_err(wrong);
        }
        if let Some(stream) = any::unpack(any) {
            return stream.map(End::Export).map_err(wrong);
        }
        Err(Status::unknown(format!("type with url {}: not found", any.type_url)))
    }
}

/// That something cannot be done here, by its name.
fn refused(what: &str) -> Status {
    status::with_suffix(Code::Unimplemented, what)
}
