//! Images: the engine's part of them, over the `image` crate.

mod details;
mod history;
mod layers;
mod remote;
mod save;
mod web;

use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use ::image::Wanted;
pub use details::{ImageDetails, Manifest, ManifestKind};
pub use history::HistoryStep;
pub use layers::{AppliedLayer, Difference, LayerCompression, LayerDiff, LayerPlace, Whiteouts};
pub use remote::{
    Access, Asker, Credentials, Fetched, Found, Named, Proxies, PullEvent, PullOptions, PullProgress,
    PullStep, Pulled, PushEvent, PushProgress, PushStep, Pushed, RegistryConfig, Remote, SearchResult,
};
pub use save::SavedImages;
pub use web::Download;

use oci::digest::Digest;
use oci::image_config::ImageConfig;
use tokio::sync::mpsc;

use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::namespaces::{KUBERNETES, Namespace};
use crate::prune::{LabelFilter, PruneFilter, has_labels};

/// The images of a namespace. Wherever an image is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Images {
    pub(crate) engine: Arc<Engine>,
    pub(crate) namespace: Namespace,
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub name: Option<String>,
    pub id: String,
}

/// A step of a load, for the person who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProgress {
    /// What is being worked on (a short digest).
    pub id: String,
    pub status: String,
    pub current_bytes: u64,
    pub total_bytes: Option<u64>,
}

/// How an import is recorded.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name it gets.
    pub reference: Option<String>,
    /// Dockerfile instructions (`CMD`, `ENV`, …) for its configuration.
    pub changes: Vec<String>,
    pub message: String,
    pub platform: Option<String>,
}

/// An image at one moment.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration.
    pub id: String,
    pub manifest_digest: String,
    /// `name:tag`, in Docker's familiar form.
    pub tags: Vec<String>,
    /// `name@digest`
    pub digests: Vec<String>,
    pub created_ns: Option<i64>,
    pub size_bytes: u64,
    /// Bytes of those of its layers that other images have, too, if that was asked for.
    pub shared_bytes: Option<u64>,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    pub author: String,
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
    pub config: Arc<ImageConfig>,
    /// How many containers use it.
    pub containers: usize,
}

/// Which images `list` returns.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    /// Patterns of names (`busybox`, `busy*`, `busybox:latest`).
    pub references: Vec<String>,
    pub labels: LabelFilter,
    pub kept_labels: LabelFilter,
    pub dangling: Option<bool>,
    /// Made before, or since, that image.
    pub before: Option<String>,
    pub since: Option<String>,
    /// Made before that moment.
    pub until_ns: Option<i64>,
    /// Not a filter: tell what they share.
    pub with_shares: bool,
}

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Untagged(String),
    Deleted(String),
}

/// What a prune freed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    pub reclaimed_bytes: u64,
}

/// What a container is made of.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) id: String,
    pub(crate) manifest: String,
    pub(crate) config: Arc<ImageConfig>,
    /// The snapshot with all of its layers.
    pub(crate) layer: String,
}

impl Images {
    /// Loads an archive (OCI archive, OCI layout or docker archive; plain, gzip or zstd) from `input`: a file, or
    /// the read end of a pipe that the caller fills.
    pub async fn load(
        &self,
        input: OwnedFd,
        progress: mpsc::UnboundedSender<LoadProgress>,
    ) -> Result<Vec<Loaded>> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        let loaded = blocking(move || {
            let mut tell = |step: image::Progress| {
                // A client that went away still gets its images.
                drop(progress.send(told(step)));
            };
            engine.images.load(namespace.as_str(), input, &mut tell)
        })
        .await?;
        self.engine.sync_layers_later();
        let loaded: Vec<Loaded> = loaded
            .into_iter()
            .map(|loaded| Loaded { name: loaded.name, id: loaded.id.to_string() })
            .collect();
        for one in &loaded {
            self.engine.publish_image(&self.namespace, "load", &one.id, one.name.as_deref());
        }
        Ok(loaded)
    }

    /// Stores what is wanted of an archive, as [`Images::load`], without giving it names.
    pub async fn load_unnamed(&self, input: OwnedFd, wanted: Wanted, unpack: bool) -> Result<image::Unnamed> {
        let engine = self.engine.clone();
        let unnamed =
            blocking(move || Ok::<_, Error>(engine.images.load_unnamed(input, wanted, unpack)?)).await?;
        self.engine.sync_layers_later();
        Ok(unnamed)
    }

    /// Makes an image of a root file system's tar; returns its id.
    pub async fn import(&self, input: OwnedFd, options: ImportOptions) -> Result<String> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        let name = options.reference.clone();
        let ImportOptions { reference, changes, message, platform } = options;
        let options = image::ImportOptions { reference, changes, message, platform, created: None };
        let id =
            blocking(move || engine.images.import(namespace.as_str(), input, &options)).await?.to_string();
        self.engine.sync_layers_later();
        self.engine.publish_image(&self.namespace, "import", &id, name.as_deref());
        Ok(id)
    }

    /// Those that match, newest first.
    pub async fn list(&self, filter: &ImageFilter) -> Result<Vec<Image>> {
        let (engine, namespace, filter) = (self.engine.clone(), self.namespace.clone(), filter.clone());
        blocking(move || {
            let made = |name: &Option<String>| match name {
                Some(name) => engine.images.resolve(namespace.as_str(), name).map(|image| created_ns(&image)),
                None => Ok(None),
            };
            let before_ns = [made(&filter.before)?, filter.until_ns].into_iter().flatten().min();
            let since_ns = made(&filter.since)?;
            let mut images = match filter.with_shares {
                true => engine.image_usage(&namespace)?.images,
                false => {
                    let images = engine.images.list(namespace.as_str())?.into_iter();
                    images.map(|image| engine.image_view(&namespace, image)).collect()
                }
            };
            images.sort_by_key(|image| std::cmp::Reverse(image.created_ns));
            images
                .retain(|image| before_ns.is_none_or(|before_ns| image.created_ns.unwrap_or(0) < before_ns));
            images.retain(|image| since_ns.is_none_or(|since_ns| image.created_ns.unwrap_or(0) > since_ns));
            Ok(images.into_iter().filter_map(|image| filter.select(image)).collect())
        })
        .await
    }

    /// One image.
    pub async fn inspect(&self, image: &str) -> Result<Image> {
        let (engine, namespace, name) = (self.engine.clone(), self.namespace.clone(), image.to_owned());
        blocking(move || {
            let image = engine.images.resolve(namespace.as_str(), &name);
            let image = image.map_err(|error| engine.tell_where(&namespace, &name, error))?;
            Ok(engine.image_view(&namespace, image))
        })
        .await
    }

    /// Gives `source` another name.
    pub async fn tag(&self, source: &str, target: &str) -> Result<()> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        let (source, target) = (source.to_owned(), target.to_owned());
        let (id, target) = blocking(move || {
            let image = engine.images.tag(namespace.as_str(), &source, &target);
            let image = image.map_err(|error| engine.tell_where(&namespace, &source, error))?;
            Ok::<_, Error>((image.id.to_string(), target))
        })
        .await?;
        self.engine.publish_image(&self.namespace, "tag", &id, Some(&target));
        Ok(())
    }

    /// Removes a name, and the image with its last one.
    pub async fn remove(&self, image: &str, force: bool) -> Result<Vec<Removed>> {
        let (engine, namespace, name) = (self.engine.clone(), self.namespace.clone(), image.to_owned());
        let removed = blocking(move || {
            let users = engine.image_users(&namespace);
            let removed = engine.images.remove(namespace.as_str(), &name, force, &users);
            let removed = removed.map_err(|error| engine.tell_where(&namespace, &name, error))?;
            // Who removes an image wants its room back.
            if removed.iter().any(|one| matches!(one, image::Removed::Deleted(_)))
                && let Err(error) = engine.collect()
            {
                tracing::warn!(error = error.chain(), "garbage could not be collected");
            }
            Ok::<_, crate::Error>(removed)
        })
        .await?;
        Ok(self.engine.image_removed(&self.namespace, removed))
    }

    /// Removes images without a name, or (`all`) without a container, if they match. What is reclaimed are the files of
    /// layers that no other image has.
    pub async fn prune(&self, all: bool, filter: &PruneFilter) -> Result<Pruned> {
        let (engine, namespace, filter) = (self.engine.clone(), self.namespace.clone(), filter.clone());
        let (removed, reclaimed_bytes) = blocking(move || {
            let is_garbage = |image: &image::Image| {
                (all || image.names.is_empty())
                    && filter.matches(&image.config.config.labels, created_ns(image))
            };
            let removed =
                engine.images.prune(namespace.as_str(), &is_garbage, &engine.image_users(&namespace))?;
            let report = engine.collect()?;
            Ok::<_, crate::Error>((removed, report.file_bytes))
        })
        .await?;
        let removed = self.engine.image_removed(&self.namespace, removed);
        self.engine.publish_pruned(Some(&self.namespace), Kind::Image, reclaimed_bytes);
        Ok(Pruned { removed, reclaimed_bytes })
    }
}

impl Engine {
    /// The image of a container to come, unpacked. With the digest of its manifest in the container's row it is held.
    pub(crate) fn resolve_image(&self, namespace: &Namespace, name: &str) -> Result<Resolved> {
        let image = match self.images.find(namespace.as_str(), name) {
            Err(image::Error::NoSuchImage(shown)) => self.borrow_image(namespace, name, shown)?,
            found => found?,
        };
        let layer = self.images.unpack(&image)?;
        Ok(Resolved {
            id: image.id.to_string(),
            manifest: image.manifest.to_string(),
            config: image.config,
            layer: layer.to_string(),
        })
    }

    /// An image that only another namespace knows by that name gets the name here, too: all share its content. Out of
    /// Kubernetes' namespace nothing is taken unasked, but it is told that it is there.
    fn borrow_image(&self, namespace: &Namespace, name: &str, shown: String) -> Result<image::Image> {
        for other in self.other_namespaces(namespace)?.iter().filter(|other| *other != KUBERNETES) {
            if self.images.has_name(other, name)? {
                return Ok(self.images.copy_name(other, namespace.as_str(), name)?);
            }
        }
        Err(self.tell_where(namespace, name, image::Error::NoSuchImage(shown)))
    }

    /// That an image is not there, with the namespace that has it.
    fn tell_where(&self, namespace: &Namespace, name: &str, error: image::Error) -> Error {
        let image::Error::NoSuchImage(shown) = error else { return error.into() };
        let has_it = |other: &String| self.images.has_name(other, name).unwrap_or(false);
        let other = self.other_namespaces(namespace).unwrap_or_default().into_iter().find(has_it);
        match other {
            Some(namespace) => Error::InOtherNamespace { image: shown, namespace },
            None => image::Error::NoSuchImage(shown).into(),
        }
    }

    /// The names of the namespaces beside one.
    fn other_namespaces(&self, namespace: &Namespace) -> Result<Vec<String>> {
        let all = self.store.read(store::namespaces::list)?.into_iter().map(|other| other.name);
        Ok(all.filter(|other| other != namespace.as_str()).collect())
    }

    /// Unpacks whatever is missing of a container's image.
    pub(crate) fn unpack_again(&self, namespace: &Namespace, image_id: &str) -> Result<()> {
        let image = self.images.find(namespace.as_str(), image_id)?;
        self.images.unpack(&image)?;
        Ok(())
    }

    pub(crate) fn count_images(&self, namespace: &Namespace) -> Result<usize> {
        Ok(self.images.list(namespace.as_str())?.len())
    }

    pub(crate) fn image_view(&self, namespace: &Namespace, image: image::Image) -> Image {
        let id = image.id.to_string();
        let tagged = image.names.iter().filter(|name| name.tag().is_some());
        let digests =
            image.names.iter().map(|name| format!("{}@{}", familiar_repository(name), image.target.digest));
        let mut digests: Vec<String> = digests.collect();
        digests.dedup();
        let platform = image.platform();
        Image {
            manifest_digest: image.manifest.to_string(),
            tags: tagged.map(|name| name.familiar()).collect(),
            digests,
            created_ns: created_ns(&image),
            size_bytes: image.size_bytes,
            shared_bytes: None,
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            author: image.config.author.clone(),
            layers: image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            config: image.config.clone(),
            containers: self.index.all_in(namespace).iter().filter(|record| record.image_id == id).count(),
            id,
        }
    }

    /// The containers of a namespace, by their images.
    fn image_users(&self, namespace: &Namespace) -> Vec<image::User> {
        let users = self.index.all_in(namespace).into_iter().filter_map(|record| {
            let is_running = record.live.borrow().state.is_active();
            let image = Digest::parse(&record.image_id).ok()?;
            Some(image::User { container: record.id.clone(), image, is_running })
        });
        users.collect()
    }

    fn image_removed(&self, namespace: &Namespace, removed: Vec<image::Removed>) -> Vec<Removed> {
        let removed: Vec<Removed> = removed
            .into_iter()
            .map(|removed| match removed {
                image::Removed::Untagged(name) => Removed::Untagged(name),
                image::Removed::Deleted(id) => Removed::Deleted(id.to_string()),
            })
            .collect();
        for one in &removed {
            match one {
                Removed::Untagged(name) => self.publish_image(namespace, "untag", name, Some(name)),
                Removed::Deleted(id) => self.publish_image(namespace, "delete", id, None),
            }
        }
        removed
    }

    fn publish_image(&self, namespace: &Namespace, action: &str, id: &str, name: Option<&str>) {
        let name = name.unwrap_or(id).to_owned();
        self.events.publish(Some(namespace), Kind::Image, action, (id, [("name".to_owned(), name)].into()));
    }
}

impl ImageFilter {
    /// The image with the tags that match, if it is wanted.
    fn select(&self, mut image: Image) -> Option<Image> {
        if !self.references.is_empty() {
            image.tags.retain(|tag| self.references.iter().any(|pattern| matches_reference(pattern, tag)));
            if image.tags.is_empty() {
                return None;
            }
            let shown: Vec<&str> =
                image.tags.iter().filter_map(|tag| Some(tag.rsplit_once(':')?.0)).collect();
            image.digests.retain(|digest| {
                digest.split_once('@').is_some_and(|(repository, _)| shown.contains(&repository))
            });
        }
        let labels = &image.config.config.labels;
        let is_kept = !self.kept_labels.is_empty() && has_labels(labels, &self.kept_labels);
        let is_wanted = has_labels(labels, &self.labels)
            && !is_kept
            && self.dangling.is_none_or(|dangling| image.tags.is_empty() == dangling);
        is_wanted.then_some(image)
    }
}

/// Docker's words for the steps of a load.
fn told(step: image::Progress) -> LoadProgress {
    let status = match step.step {
        image::Step::Reading => "Reading archive",
        image::Step::Storing => "Loading layer",
        image::Step::Unpacking => "Extracting",
    };
    LoadProgress {
        id: step.blob.map_or(String::new(), |blob| blob.short().to_owned()),
        status: status.to_owned(),
        current_bytes: step.current_bytes,
        total_bytes: step.total_bytes,
    }
}

/// `pattern` matches the whole tag, or its name without the tag.
fn matches_reference(pattern: &str, tag: &str) -> bool {
    let name = tag.rsplit_once(':').map_or(tag, |(name, _)| name);
    matches(pattern.as_bytes(), tag.as_bytes()) || matches(pattern.as_bytes(), name.as_bytes())
}

/// Shell patterns with `*` and `?`, which do not match a slash.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, text),
        (Some((b'*', rest)), Some((byte, after))) => {
            matches(rest, text) || (*byte != b'/' && matches(pattern, after))
        }
        (Some((b'?', rest)), Some((byte, after))) => *byte != b'/' && matches(rest, after),
        (Some((wanted, rest)), Some((byte, after))) => wanted == byte && matches(rest, after),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn familiar_repository(name: &oci::reference::Reference) -> String {
    let familiar = name.familiar();
    let without_digest = familiar.split('@').next().unwrap_or(&familiar);
    match without_digest.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => without_digest.to_owned(),
    }
}

/// When its maker says that it was made.
fn created_ns(image: &image::Image) -> Option<i64> {
    image.config.created.as_deref().and_then(parse_time_ns)
}

fn parse_time_ns(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_with_and_without_tag() {
        let cases = [
            ("busybox", "busybox:latest", true),
            ("busybox:latest", "busybox:latest", true),
            ("busy*", "busybox:1", true),
            ("busybox:1", "busybox:latest", false),
            ("*box:?", "busybox:1", true),
            ("*", "a/b:1", false),
            ("*/*", "a/b:1", true),
            ("", "a:1", false),
        ];
        for (pattern, tag, expected) in cases {
            assert_eq!(matches_reference(pattern, tag), expected, "{pattern} {tag}");
        }
    }

    #[test]
    fn repositories_keep_their_port() {
        for (name, expected) in
            [("busybox", "busybox"), ("localhost:5000/a/b:1", "localhost:5000/a/b"), ("a/b:2", "a/b")]
        {
            let name = oci::reference::Reference::parse_normalized(name).unwrap();
            assert_eq!(familiar_repository(&name), expected);
        }
    }
}
