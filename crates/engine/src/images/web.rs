//! Imports from the web.

use std::io;

use tokio::sync::mpsc;

use super::{Access, Images, ImportOptions};
use crate::error::{Error, Result};

/// A root file system that a server has begun to send.
#[derive(Debug)]
pub struct Download(image::Download);

impl Images {
    /// Asks for what is at a URL.
    pub async fn download(&self, url: &str, access: &Access) -> Result<Download> {
        Ok(Download(self.engine.images.download(url, access).await?))
    }

    /// Makes an image of a download; `progress` is told the bytes so far. Returns the image's id.
    pub async fn import_download(
        &self,
        download: Download,
        options: ImportOptions,
        progress: mpsc::UnboundedSender<u64>,
    ) -> Result<String> {
        let failed = |source| Error::System { what: "no pipe for the download", source };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut tell = |bytes| {
            // A client that went away still gets its image.
            let _ = progress.send(bytes);
        };
        let (fetched, imported) =
            tokio::join!(download.0.write(writer.into(), &mut tell), self.import(reader.into(), options));
        match (fetched, imported) {
            // Who did not want the rest says why.
            (Err(image::Error::File { source, .. }), Err(error))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Err(error)
            }
            (Err(error), _) => Err(error.into()),
            (Ok(()), imported) => imported,
        }
    }
}

impl Download {
    /// The bytes that the server announced.
    pub fn total_bytes(&self) -> Option<u64> {
        self.0.total_bytes
    }
}
