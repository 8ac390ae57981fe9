//! `containerd.services.diff.v1.Diff`: layers into snapshots, and out of them.
//!
//! The confined worker does both, and only with the files of snapshots of the namespace. Whatever else the mounts of a request say, no
//! other directory is read or written, and nothing is mounted: containerd mounts what it is told, but then a mistake of a client, or
//! a file system that somebody else wrote, is the daemon's problem, and nobody is known who gives it anything else than what
//! snapshotters said.

use api::code::Code;
use api::types::Descriptor;
use engine::images::{Difference, LayerCompression, LayerDiff, LayerPlace, Whiteouts};
use grpc::diff::diff_server;
use grpc::diff::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use oci::digest::Digest;
use oci::manifest::media_type;
use oci::mount::Mount;
use store::snapshots::Directories;
use tonic::{Request, Response, Result, Status};

use super::content;
use crate::Door;
use crate::{request, status};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Diff(pub(crate) Door);

#[tonic::async_trait]
impl diff_server::Diff for Diff {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>> {
        let namespace = request::namespace(&request).map_err(|error| unread(&error))?;
        // Payloads are for programs that decrypt; there are none.
        let ApplyRequest { diff, mounts, sync_fs, payloads: _ } = request.into_inner();
        let layer = diff.unwrap_or_default();
        let digest = Digest::parse(&layer.digest).map_err(|_| {
            unread(&status::with_suffix(Code::NotFound, format!("content digest {}", layer.digest)))
        })?;
        let mounts: Vec<Mount> = mounts.into_iter().map(mount).collect();
        let is_overlay = mounts.first().is_some_and(|mount| mount.kind == "overlay");
        let opened = self.0.attempt(move |store| {
            let space = store.space(&namespace);
            let (_, blob) = space.content().open(&digest)?;
            Ok((blob, space.writable(&mounts)))
        });
        let (blob, directories) = opened.await?.map_err(|error| unread(&content::worded(&error)))?;
        let is_compressed = is_compressed(&layer.media_type)?;
        let directories = directories.map_err(|error| status::of_store(&error))?;
        let place = place(directories, is_overlay, sync_fs);
        let applied = self.0.engine().apply_layer(blob, is_compressed, place).await;
        let applied = applied.map_err(|error| status::of_engine(&error))?;
        Ok(Response::new(ApplyResponse {
            applied: Some(Descriptor {
                media_type: media_type::OCI_LAYER.to_owned(),
                digest: applied.diff_id.to_string(),
                size: i64::try_from(applied.size_bytes).unwrap_or(i64::MAX),
                ..Descriptor::default()
            }),
        }))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let message = request.into_inner();
        let media_type = Some(message.media_type).filter(|name| !name.is_empty());
        let media_type = media_type.unwrap_or_else(|| media_type::OCI_LAYER_GZIP.to_owned());
        let compression = compression(&media_type)?;
        let [left, right] =
            [message.left, message.right].map(|mounts| mounts.into_iter().map(mount).collect::<Vec<Mount>>());
        let within = namespace.clone();
        let layers = self.0.blocking(move |store| {
            let space = store.space(&within);
            Ok((space.layers(&left)?, space.layers(&right)?))
        });
        let (left, right) = layers.await?;
        let epoch_s = message.source_date_epoch.map(|epoch| epoch.seconds);
        let diff = LayerDiff {
            namespace,
            difference: Difference { left, right, compression, epoch_s },
            reference: Some(message.r#ref).filter(|reference| !reference.is_empty()),
            labels: message.labels.into_iter().collect(),
            lease,
        };
        let made = self.0.engine().diff_layer(diff).await.map_err(|error| status::of_engine(&error))?;
        Ok(Response::new(DiffResponse {
            diff: Some(Descriptor {
                media_type,
                digest: made.digest.to_string(),
                size: i64::try_from(made.size).unwrap_or(i64::MAX),
                ..Descriptor::default()
            }),
        }))
    }
}

/// How a layer of a media type is compressed.
///
/// # Errors
/// containerd's for what cannot be made.
fn compression(media_type: &str) -> Result<LayerCompression, Status> {
    match media_type {
        media_type::OCI_LAYER => Ok(LayerCompression::None),
        media_type::OCI_LAYER_GZIP => Ok(LayerCompression::Gzip),
        media_type::OCI_LAYER_ZSTD => Ok(LayerCompression::Zstd),
        other => {
            let text = format!("unsupported diff media type: {other}");
            Err(status::with_suffix(Code::Unimplemented, text))
        }
    }
}

/// Where a layer goes, by the mounts' form as for containerd: an overlay keeps what a layer hides, all else has it deleted.
fn place(directories: Directories, is_overlay: bool, is_synced: bool) -> LayerPlace {
    let Directories { upper, lower: lowers } = directories;
    let whiteouts = match (is_overlay, lowers.is_empty()) {
        (false, _) => Whiteouts::Delete,
        // Its parents come when it is committed.
        (true, true) => Whiteouts::Keep,
        (true, false) => Whiteouts::Hide,
    };
    LayerPlace { upper, lowers, whiteouts, is_synced }
}

/// Whether layers of a media type may be compressed.
///
/// # Errors
/// containerd's for those that are no layers, or need a program that makes them some.
fn is_compressed(media_type: &str) -> Result<bool, Status> {
    let (base, suffixes) = media_type.split_once('+').unwrap_or((media_type, ""));
    let last = suffixes.rsplit('+').next().unwrap_or_default();
    match base {
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(suffixes.is_empty()),
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar" => Ok(matches!(last, "gzip" | "zstd")),
        _ => {
            let text =
                format!("failed to get stream processor for {media_type}: no processor for media-type");
            Err(status::with_suffix(Code::Unknown, text))
        }
    }
}

/// A layer that cannot be opened, in containerd's words.
fn unread(error: &Status) -> Status {
    Status::new(error.code(), format!("failed to get reader from content store: {}", error.message()))
}

fn mount(mount: api::types::Mount) -> Mount {
    Mount { kind: mount.r#type, source: mount.source, target: mount.target, options: mount.options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_tells_whether_a_layer_may_be_compressed() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(false)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(true)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(true)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(true)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(true)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(true)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", Some(false)),
            ("application/vnd.oci.image.manifest.v1+json", None),
            ("", None),
        ] {
            assert_eq!(is_compressed(media_type).ok(), expected, "{media_type}");
        }
        let told = is_compressed("x/y").unwrap_err();
        assert_eq!(told.message(), "failed to get stream processor for x/y: no processor for media-type");
        assert_eq!(told.code(), tonic::Code::Unknown);
    }

    #[test]
    fn whiteouts_do_what_the_form_of_the_mounts_says() {
        let whiteouts = |lower: &[&str], is_overlay| {
            let lower = lower.iter().map(Into::into).collect();
            place(Directories { upper: "/u".into(), lower }, is_overlay, false).whiteouts
        };
        assert_eq!(whiteouts(&["/l"], true), Whiteouts::Hide);
        assert_eq!(whiteouts(&[], true), Whiteouts::Keep);
        assert_eq!(whiteouts(&[], false), Whiteouts::Delete);
    }
}
