//! Images from and to registries.

pub use image::registry::{Access, Asker, Config as RegistryConfig, Credentials, Proxies, SearchResult};
pub use image::{
    Fetched, Found, Named, PullEvent, PullOptions, PullProgress, PullStep, PushEvent, PushProgress, PushStep,
    Pushed,
};
use oci::platform::Platform;
use oci::reference::Reference;

use super::Images;
use crate::blocking::blocking;
use crate::error::{Error, Result};

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of its configuration.
    pub id: String,
    /// What its name leads to.
    pub digest: String,
    /// The name did not lead there before.
    pub is_new: bool,
}

/// What a name leads to at its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub descriptor: oci::descriptor::Descriptor,
    pub platforms: Vec<Platform>,
}

impl Images {
    /// Pulls an image. Dropping the future ends the pull.
    pub async fn pull(
        &self,
        name: &Reference,
        options: &PullOptions,
        progress: PullProgress,
    ) -> Result<Pulled> {
        let pulled = self.engine.images.pull(self.namespace.as_str(), name, options, progress).await?;
        self.engine.sync_layers_later();
        self.engine.publish_image(&self.namespace, "pull", &name.familiar(), Some(&name.familiar()));
        Ok(Pulled {
            id: pulled.image.id.to_string(),
            digest: pulled.target.to_string(),
            is_new: pulled.is_new,
        })
    }

    /// Looks up an image at its registry, for one platform.
    pub async fn find_remote(&self, name: &Reference, options: &PullOptions) -> Result<Found> {
        Ok(self.engine.images.find_remote(name, options).await?)
    }

    /// Fetches what is missing of an image. It has no name yet. Dropping the future ends it.
    pub async fn fetch(&self, found: Found, unpack: bool, progress: PullProgress) -> Result<Fetched> {
        let fetched = self.engine.images.fetch(found, unpack, progress).await?;
        self.engine.sync_layers_later();
        Ok(fetched)
    }

    /// Gives what is in the store names as they are; for each, whether it is new. `action` is what it was got by.
    pub async fn record(
        &self,
        target: &oci::descriptor::Descriptor,
        names: Vec<Named>,
        action: &str,
    ) -> Result<Vec<bool>> {
        let (engine, namespace, target) = (self.engine.clone(), self.namespace.clone(), target.clone());
        let texts: Vec<String> = names.iter().map(|named| named.name.clone()).collect();
        let are_new = blocking(move || engine.images.record_as(namespace.as_str(), &target, names)).await?;
        for name in texts {
            self.engine.publish_image(&self.namespace, action, &name, Some(&name));
        }
        Ok(are_new)
    }

    /// Pushes an image to the registry that its name says. Dropping the future ends the push.
    pub async fn push(&self, name: &Reference, access: &Access, progress: PushProgress) -> Result<Pushed> {
        let pushed = self.engine.images.push(self.namespace.as_str(), name, access, progress).await?;
        self.engine.publish_image(&self.namespace, "push", &name.familiar(), Some(&name.familiar()));
        Ok(pushed)
    }

    /// Pushes what is named exactly so to where another name says.
    pub async fn push_as(
        &self,
        image: &str,
        name: &Reference,
        access: &Access,
        progress: PushProgress,
    ) -> Result<Pushed> {
        let pushed =
            self.engine.images.push_as(self.namespace.as_str(), (image, name), access, progress).await?;
        self.engine.publish_image(&self.namespace, "push", image, Some(image));
        Ok(pushed)
    }

    /// What a name leads to, exactly as it is; none if there is no such name.
    pub async fn target(&self, name: &str) -> Result<Option<oci::descriptor::Descriptor>> {
        let (engine, namespace, name) = (self.engine.clone(), self.namespace.clone(), name.to_owned());
        blocking(move || Ok(engine.images.target(namespace.as_str(), &name)?)).await
    }

    /// All tags of a repository.
    pub async fn tags(&self, name: &Reference, access: &Access) -> Result<Vec<String>> {
        Ok(self.engine.images.tags(name, access).await?)
    }

    /// What a name leads to at its registry.
    pub async fn remote(&self, name: &Reference, access: &Access) -> Result<Remote> {
        let (descriptor, platforms) = self.engine.images.remote(name, access).await?;
        Ok(Remote { descriptor, platforms })
    }

    /// Shows credentials to a registry; the identity token that it gives for them, if it does.
    pub async fn login(&self, host: &str, access: &Access) -> Result<String> {
        Ok(self.engine.images.login(host, access).await?)
    }

    /// Images that a registry finds for a term.
    pub async fn search(&self, term: &str, limit: usize, access: &Access) -> Result<Vec<SearchResult>> {
        Ok(self.engine.images.search(term, limit, access).await?)
    }
}

impl Error {
    /// Why a registry did not do what it was asked.
    pub fn registry(&self) -> Option<&image::registry::RegistryError> {
        match self {
            Error::Image(image::Error::Registry(error)) => Some(error),
            _ => None,
        }
    }
}
