//! Saving images.

use std::os::fd::OwnedFd;

use oci::platform::Platform;

use super::Images;
use crate::blocking::blocking;
use crate::error::{Error, Result};

/// Images that are ready to be written into an archive. Nothing of them is collected before that.
#[derive(Debug)]
pub struct SavedImages(image::Saving);

impl Images {
    /// Decides what an archive of these images holds; what is not there is told now. Saving only reads: what another
    /// namespace has, Kubernetes' too, is found without asking for that one.
    pub async fn save(&self, names: Vec<String>, platform: Option<Platform>) -> Result<SavedImages> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        let saving = blocking(move || {
            let others = engine.other_namespaces(&namespace)?;
            let namespaces: Vec<String> = [namespace.as_str().to_owned()].into_iter().chain(others).collect();
            Ok::<_, Error>(engine.images.save(&namespaces, &names, platform.as_ref())?)
        })
        .await?;
        for id in saving.ids() {
            self.engine.publish_image(&self.namespace, "save", id.as_str(), None);
        }
        Ok(SavedImages(saving))
    }
}

impl SavedImages {
    /// Leaves out the lists that only docker reads.
    pub fn skip_docker(&mut self) {
        self.0.skip_docker();
    }

    /// Writes the archive to a file, or to a pipe at its reader's pace.
    pub async fn write(self, output: OwnedFd) -> Result<()> {
        blocking(move || self.0.write(std::fs::File::from(output))).await.map_err(Error::from)
    }
}
