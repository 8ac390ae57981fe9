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
    /// Decides what an archive of these images holds; what is not there is told now.
    pub async fn save(&self, names: Vec<String>, platform: Option<Platform>) -> Result<SavedImages> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        let saving =
            blocking(move || engine.images.save(namespace.as_str(), &names, platform.as_ref())).await?;
        for id in saving.ids() {
            self.engine.publish_image(&self.namespace, "save", id.as_str(), None);
        }
        Ok(SavedImages(saving))
    }
}

impl SavedImages {
    /// Writes the archive to a file, or to a pipe at its reader's pace.
    pub async fn write(self, output: OwnedFd) -> Result<()> {
        blocking(move || self.0.write(std::fs::File::from(output))).await.map_err(Error::from)
    }
}
