//! Images from and to registries.

use api::code::Code;
use api::types;
use api::types::transfer::{HttpDebug, ImageStore, OciRegistry};
use engine::images::{Access, Fetched, PullOptions};
use oci::platform::Platform;
use oci::reference::Reference;
use store::space::snapshots::OVERLAYFS;
use tokio::sync::mpsc;
use tonic::Status;

use super::progress::Blobs;
use super::{Call, auth, names, refused};
use crate::status;

impl Call {
    /// Fetches an image for the platforms that are asked for, unpacks it for this machine, and gives it its names.
    pub(super) async fn pull(&self, registry: OciRegistry, store: ImageStore) -> Result<(), Status> {
        let from = format!("OCI Registry ({})", registry.reference);
        let unpack = unpacks(&store)?;
        self.progress.status(format!("Resolving from {from}")).await;
        let reference = parse(&registry.reference)?;
        let access = self.access(registry)?;
        let mut fetched: Vec<Fetched> = Vec::new();
        let mut blobs = Blobs::new(&self.progress);
        for platform in self.platforms(&reference, &access, &store).await? {
            let options = PullOptions { platform, access: access.clone() };
            let found =
                self.images.find_remote(&reference, &options).await.map_err(|error| unresolved(&error))?;
            if fetched.is_empty() {
                self.progress.status(format!("Pulling from {from}")).await;
                self.progress.named("fetching image content", &reference.to_string(), found.target()).await;
            }
            blobs.found(&reference.to_string(), &found).await;
            let (sender, mut events) = mpsc::unbounded_channel();
            let fetch = self.images.fetch(found, unpack, sender);
            let tell = async {
                while let Some(event) = events.recv().await {
                    blobs.step(event).await;
                }
            };
            let (done, ()) = tokio::join!(fetch, tell);
            fetched.push(done.map_err(|error| status::of_engine(&error))?);
        }
        let Some(first) = fetched.first() else { return Err(unknown_platforms(&reference)) };
        let target = first.target().clone();
        let names = names::asked(&store, &target.digest);
        if names.is_empty() {
            return Err(status::with_suffix(Code::NotFound, "no image name found"));
        }
        self.save(&target, names, "pull").await?;
        self.progress.status(format!("Completed pull from {from}")).await;
        Ok(())
    }

    /// Sends an image to a registry, as it is stored here.
    pub(super) async fn push(&self, store: ImageStore, registry: OciRegistry) -> Result<(), Status> {
        let to = format!("OCI Registry ({})", registry.reference);
        if store.platforms.iter().any(|one| !platform(one).matches(&Platform::host())) {
            return Err(refused("pushing what is not for this machine"));
        }
        self.progress.status(format!("Pushing to {to}")).await;
        let target = self.target(&store.name).await?;
        let reference = parse(&registry.reference)?;
        let access = self.access(registry)?;
        self.progress.named("pushing content", &reference.to_string(), &target).await;
        let (sender, mut events) = mpsc::unbounded_channel();
        let push = self.images.push_as(&store.name, &reference, &access, sender);
        let mut blobs = Blobs::new(&self.progress);
        let tell = async {
            while let Some(event) = events.recv().await {
                blobs.sent(&store.name, event).await;
            }
        };
        let (pushed, ()) = tokio::join!(push, tell);
        pushed.map_err(|error| status::of_engine(&error))?;
        self.progress.named("pushed content", &reference.to_string(), &target).await;
        self.progress.status(format!("Completed push to {to}")).await;
        Ok(())
    }

    /// What is asked for; without a word all that there are.
    async fn platforms(
        &self,
        reference: &Reference,
        access: &Access,
        store: &ImageStore,
    ) -> Result<Vec<Option<Platform>>, Status> {
        if !store.platforms.is_empty() {
            return Ok(store.platforms.iter().map(|one| Some(platform(one))).collect());
        }
        let remote = self.images.remote(reference, access).await.map_err(|error| unresolved(&error))?;
        let mut platforms: Vec<_> = remote.platforms.into_iter().map(Some).collect();
        platforms.truncate(match store.manifest_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        });
        Ok(platforms)
    }

    /// How a registry is spoken to.
    fn access(&self, registry: OciRegistry) -> Result<Access, Status> {
        let resolver = registry.resolver.unwrap_or_default();
        if resolver.http_debug != i32::from(HttpDebug::Disabled) {
            return Err(refused("showing what is said to a registry (http_debug)"));
        }
        let plain_http = match resolver.default_scheme.as_str() {
            "http" => true,
            "" | "https" => false,
            other => {
                return Err(status::with_suffix(
                    Code::InvalidArgument,
                    format!("default_scheme {other:?}: it is http or https"),
                ));
            }
        };
        let asker = match resolver.auth_stream.as_str() {
            "" => None,
            id => Some(auth::asker(self.streams.take(&self.namespace, id)?, registry.reference)),
        };
        Ok(Access {
            asker,
            plain_http,
            host_directories: (!resolver.host_dir.is_empty()).then(|| vec![resolver.host_dir.into()]),
            headers: resolver.headers.into_iter().collect(),
            ..Access::default()
        })
    }
}

/// A name as it is: with its registry, and a tag or a digest.
fn parse(text: &str) -> Result<Reference, Status> {
    let wrong = |why: &str| {
        let text = format!("failed to resolve image: failed to resolve reference {text:?}: {why}");
        grpc::status::status(Code::InvalidArgument, text)
    };
    let reference = Reference::parse_named(text).map_err(|error| wrong(&error.to_string()))?;
    if !text.starts_with(&format!("{}/", reference.domain())) {
        return Err(wrong("invalid reference"));
    }
    if reference.tag().is_none() && reference.digest().is_none() {
        return Err(wrong("object required"));
    }
    Ok(reference)
}

/// Whether it is unpacked: what is for another machine is not, as with containerd.
pub(super) fn unpacks(store: &ImageStore) -> Result<bool, Status> {
    let host = Platform::host();
    let is_ours =
        |wanted: &Option<types::Platform>| wanted.as_ref().is_none_or(|one| platform(one).matches(&host));
    let ours: Vec<_> = store.unpacks.iter().filter(|unpack| is_ours(&unpack.platform)).collect();
    match ours.iter().find(|unpack| !matches!(unpack.snapshotter.as_str(), "" | OVERLAYFS)) {
        Some(other) => Err(refused(&format!("unpacking into the snapshotter {:?}", other.snapshotter))),
        None => Ok(!ours.is_empty()),
    }
}

pub(super) fn platform(platform: &types::Platform) -> Platform {
    Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        ..Platform::default()
    }
}

fn unresolved(error: &engine::Error) -> Status {
    let cause = status::of_engine(error);
    Status::new(cause.code(), format!("failed to resolve image: {}", cause.message()))
}

fn unknown_platforms(reference: &Reference) -> Status {
    status::with_suffix(Code::NotFound, format!("{reference} has no image"))
}
