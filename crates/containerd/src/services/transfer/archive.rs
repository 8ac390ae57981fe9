//! Images from and to archives, which come and go as streams of bytes.

use api::types::transfer::{ImageExportStream, ImageImportStream, ImageStore};
use engine::images::Wanted;
use oci::platform::Platform;
use tonic::Status;

use super::super::streaming::bytes;
use super::registry::{platform, unpacks};
use super::{Call, names, refused};
use crate::status;

impl Call {
    /// Stores what an archive has for this machine, or all of it if no platform is named, and gives it its names.
    pub(super) async fn import(&self, archive: ImageImportStream, store: ImageStore) -> Result<(), Status> {
        if archive.force_compress {
            return Err(refused("compressing what is imported (force_compress)"));
        }
        let is_ours = |wanted| platform(wanted).matches(&Platform::host());
        let wanted = match store.platforms.as_slice() {
            [] => Wanted::All,
            platforms if platforms.iter().any(is_ours) => Wanted::Machine,
            _ => return Err(refused("importing images that are for other machines only")),
        };
        let unpack = unpacks(&store)?;
        let mut stream = self.streams.take(&self.namespace, &archive.stream)?;
        self.progress.status("Importing").await;
        let (sink, input) = bytes::reading()?;
        let (received, loaded) =
            tokio::join!(bytes::receive(&mut stream, sink), self.images.load_unnamed(input, wanted, unpack));
        received?;
        let loaded = loaded.map_err(|error| status::of_engine(&error))?;
        self.save(&loaded.index, names::asked(&store, &loaded.index.digest), "import").await?;
        for image in &loaded.images {
            self.save(image, names::found(&store, image), "import").await?;
        }
        self.progress.status("Completed import").await;
        stream.finish().await;
        Ok(())
    }

    /// Writes an archive of images.
    pub(super) async fn export(&self, store: ImageStore, archive: ImageExportStream) -> Result<(), Status> {
        if archive.all_platforms || archive.platforms.len() > 1 {
            return Err(refused("exporting more than one platform"));
        }
        if archive.skip_non_distributable {
            return Err(refused("leaving out what may not be distributed (skip_non_distributable)"));
        }
        if store.extra_references.iter().any(|reference| reference.is_prefix) {
            return Err(refused("prefix lookup on export not implemented"));
        }
        let first = Some(store.name).filter(|name| !name.is_empty());
        let further = store.extra_references.into_iter().map(|reference| reference.name);
        let names: Vec<String> = first.into_iter().chain(further).collect();
        let mut stream = self.streams.take(&self.namespace, &archive.stream)?;
        self.progress.status("Exporting").await;
        for name in &names {
            self.target(name).await?;
        }
        let wanted = archive.platforms.first().map_or_else(Platform::host, platform);
        let saved = self.images.save(names, Some(wanted)).await;
        let mut saved = saved.map_err(|error| status::of_engine(&error))?;
        if archive.skip_compatibility_manifest {
            saved.skip_docker();
        }
        let (source, output) = bytes::writing()?;
        let (sent, written) = tokio::join!(bytes::send(&mut stream, source), saved.write(output));
        sent?;
        written.map_err(|error| status::of_engine(&error))?;
        stream.finish().await;
        self.progress.status("Completed export").await;
        Ok(())
    }

    /// Gives a client back what it sends.
    pub(super) async fn echo(&self, from: ImageImportStream, to: ImageExportStream) -> Result<(), Status> {
        let mut from = self.streams.take(&self.namespace, &from.stream)?;
        let mut to = self.streams.take(&self.namespace, &to.stream)?;
        let (sink, input) = bytes::reading()?;
        let source = bytes::receiver(input)?;
        let (received, sent) = tokio::join!(bytes::receive(&mut from, sink), bytes::send(&mut to, source));
        received.and(sent)?;
        to.finish().await;
        Ok(())
    }
}
