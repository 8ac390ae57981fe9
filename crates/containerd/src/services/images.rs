//! `containerd.services.images.v1.Images`: names of images, which the engine and its other doors see as well.

use std::borrow::Cow;

use api::code::Code;
use api::types;
use grpc::images::images_server;
use grpc::images::{
    CreateImageRequest, CreateImageResponse, DeleteImageRequest, GetImageRequest, GetImageResponse, Image,
    ImageCreate, ImageDelete, ImageUpdate, ListImagesRequest, ListImagesResponse, UpdateImageRequest,
    UpdateImageResponse,
};
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use store::images as rows;
use store::space::identifier;
use store::space::images::{Given, Images as Stored};
use tonic::{Request, Response, Result, Status};

use crate::Door;
use crate::filter::{Adaptor, label};
use crate::time::{of_timestamp, timestamp};
use crate::{request, status};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Images(pub(crate) Door);

impl Images {
    /// Calls the store with the images of the namespace.
    async fn call<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce(&Stored<'_>) -> store::Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = namespace.to_owned();
        self.0.blocking(move |store| work(&store.space(&namespace).images())).await
    }
}

#[tonic::async_trait]
impl images_server::Images for Images {
    async fn get(&self, request: Request<GetImageRequest>) -> Result<Response<GetImageResponse>> {
        let namespace = request::namespace(&request)?;
        let name = request.into_inner().name;
        let found = self.call(&namespace, move |images| images.get(&name)).await?;
        Ok(Response::new(GetImageResponse { image: Some(image(found)) }))
    }

    async fn list(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let mut images = self.call(&namespace, |images| images.list()).await?;
        images.retain(|image| filter.matches(&Fields(image)));
        Ok(Response::new(ListImagesResponse { images: images.into_iter().map(image).collect() }))
    }

    async fn create(&self, request: Request<CreateImageRequest>) -> Result<Response<CreateImageResponse>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let CreateImageRequest { image: given, source_date_epoch } = request.into_inner();
        let given = parsed(given, source_date_epoch)?;
        let made = self.call(&namespace, move |images| images.create(given, lease.as_deref())).await?;
        let image = image(made);
        let event = ImageCreate { name: image.name.clone(), labels: image.labels.clone() };
        self.0.exchange().publish(&namespace, "/images/create", &event);
        self.0.engine().look_later();
        Ok(Response::new(CreateImageResponse { image: Some(image) }))
    }

    async fn update(&self, request: Request<UpdateImageRequest>) -> Result<Response<UpdateImageResponse>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let UpdateImageRequest { image: given, update_mask, source_date_epoch } = request.into_inner();
        let paths = update_mask.unwrap_or_default().paths;
        let given = match given {
            // An update of labels need not say the target.
            Some(given) if !paths.is_empty() && !paths.iter().any(|path| path == "target") => {
                let annotations = given.target.unwrap_or_default().annotations;
                let target = types::Descriptor { annotations, ..unread() };
                Some(Image { target: Some(target), ..given })
            }
            given => given,
        };
        let given = parsed(given, source_date_epoch)?;
        let updated = self.call(&namespace, move |images| images.update(given, paths, lease.as_deref()));
        let image = image(updated.await?);
        let event = ImageUpdate { name: image.name.clone(), labels: image.labels.clone() };
        self.0.exchange().publish(&namespace, "/images/update", &event);
        self.0.engine().look_later();
        Ok(Response::new(UpdateImageResponse { image: Some(image) }))
    }

    async fn delete(&self, request: Request<DeleteImageRequest>) -> Result<Response<()>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let DeleteImageRequest { name, sync, target } = request.into_inner();
        let target = target.map(|target| target.digest).filter(|digest| !digest.is_empty());
        let gone = name.clone();
        self.call(&namespace, move |images| images.delete(&gone, target, lease.as_deref())).await?;
        self.0.exchange().publish(&namespace, "/images/delete", &ImageDelete { name });
        self.0.collect(sync).await?;
        Ok(Response::new(()))
    }
}

/// What filters see of an image.
struct Fields<'a>(&'a rows::Image);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        match (first.as_str(), rest.first().map(String::as_str)) {
            ("name", _) => Some(Cow::Borrowed(&self.0.name)),
            ("target", Some("digest")) => Some(Cow::Borrowed(self.0.target.digest.as_str())),
            ("target", Some("mediatype")) => Some(Cow::Borrowed(&self.0.target.media_type)),
            ("labels", _) => label(rest, &self.0.labels),
            ("annotations", _) => label(rest, &self.0.target.annotations),
            _ => None,
        }
    }
}

/// What a client says of an image, in our types.
fn parsed(image: Option<Image>, epoch: Option<prost_types::Timestamp>) -> Result<Given> {
    let Image { name, labels, target, .. } = image.unwrap_or_default();
    if name.is_empty() {
        return Err(grpc::status::status(Code::InvalidArgument, "Image.Name required"));
    }
    let target = descriptor(target.unwrap_or_default())?;
    let epoch_ns = epoch.as_ref().map(of_timestamp);
    Ok(Given { name, target, labels: labels.into_iter().collect(), epoch_ns })
}

fn descriptor(target: types::Descriptor) -> Result<Descriptor, Status> {
    let types::Descriptor { media_type, digest, size, annotations } = target;
    let digest = identifier::digest(&digest).map_err(|why| {
        status::with_suffix(Code::InvalidArgument, format!("Target.Digest {digest:?} invalid: {why}"))
    })?;
    let annotations = annotations.into_iter().collect();
    // The store refuses what has no size.
    let size = u64::try_from(size).unwrap_or(0);
    Ok(Descriptor { annotations, ..Descriptor::new(&media_type, digest, size) })
}

/// A target that is well formed, in place of one that is not looked at.
fn unread() -> types::Descriptor {
    let digest = Digest::of(&[]).to_string();
    types::Descriptor { media_type: "-".into(), digest, size: 1, ..types::Descriptor::default() }
}

fn image(image: rows::Image) -> Image {
    let Descriptor { media_type, digest, size, annotations, .. } = image.target;
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let (digest, annotations) = (digest.to_string(), annotations.into_iter().collect());
    Image {
        name: image.name,
        labels: image.labels.into_iter().collect(),
        target: Some(types::Descriptor { media_type, digest, size, annotations }),
        created_at: Some(timestamp(image.created_ns)),
        updated_at: Some(timestamp(image.updated_ns)),
    }
}
