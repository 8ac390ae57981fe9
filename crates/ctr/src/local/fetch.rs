//! From a registry into the daemon's content: layers first, then the documents that name them.

use std::cell::RefCell;
use std::collections::HashMap;

use api::types::transfer::Progress;
use futures_util::StreamExt as _;
use image::remote::Remote;
use oci::descriptor::Descriptor;
use oci::image_config::ImageConfig;
use oci::manifest::{Document, Index, MAX_DOCUMENT_SIZE, Manifest, media_type};
use oci::platform::Platform;
use tokio::sync::mpsc;

use super::{DEPTH_MAX, described, document, holding, is_document, size};
use crate::client::Client;
use crate::content::write::{self, Source, Upload, labelled};
use crate::error::Error;
use crate::transfer::progress::Shown;

/// Blobs that are fetched at one time when nobody says otherwise, as containerd's own client does.
pub(crate) const AT_ONCE: usize = 3;
/// Pieces of a blob that wait for the daemon.
const PIECES_MAX: usize = 16;

/// What is fetched of an image.
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) remote: &'a Remote,
    /// All, when there is none.
    pub(crate) platforms: &'a [Platform],
    /// No layers.
    pub(crate) metadata_only: bool,
    pub(crate) at_once: usize,
    pub(crate) shown: RefCell<Shown>,
}

/// What there is to fetch: documents, outermost first, and blobs.
#[derive(Default)]
struct Plan {
    documents: Vec<(Descriptor, Vec<u8>, Document)>,
    blobs: Vec<Descriptor>,
    parents: HashMap<String, String>,
}

impl Fetch<'_> {
    /// Fetches; what the name leads to.
    pub(crate) async fn run(self) -> Result<Descriptor, Error> {
        let (target, bytes) = self.remote.resolve().await?;
        let plan = self.plan(target.clone(), bytes).await?;
        let root = |event: &str| Progress {
            event: event.to_owned(),
            name: self.remote.name().to_string(),
            ..Progress::default()
        };
        self.shown.borrow_mut().tell(&root("fetching image content"));
        for blob in plan.documents.iter().map(|(document, ..)| document).chain(&plan.blobs) {
            self.tell("waiting", blob, 0, &plan);
        }
        let plan_ref = &plan;
        let fetch = async |blob: &Descriptor| self.blob(blob, plan_ref).await;
        let mut fetches =
            futures_util::stream::iter(&plan.blobs).map(fetch).buffer_unordered(self.at_once.max(1));
        while let Some(fetched) = fetches.next().await {
            fetched?;
        }
        drop(fetches);
        for (descriptor, bytes, document) in plan.documents.iter().rev() {
            let labels = [holding(document), self.source()].into_iter().flatten().collect();
            let (key, digest) = (descriptor.key(), descriptor.digest.to_string());
            write::document(self.client, (&key, &digest), bytes, labels).await?;
            self.tell("complete", descriptor, size(descriptor), &plan);
        }
        self.shown.borrow_mut().tell(&root("fetched"));
        self.shown.into_inner().finish()?;
        Ok(target)
    }

    /// Reads the documents, and finds out what is missing.
    async fn plan(&self, target: Descriptor, bytes: Vec<u8>) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        plan.parents.insert(target.key(), self.remote.name().to_string());
        let is_lone = !media_type::is_index(&target.media_type);
        let mut left = vec![(target, bytes, 0)];
        while let Some((descriptor, bytes, depth)) = left.pop() {
            if depth == DEPTH_MAX {
                let reason = "its documents are nested too deeply".to_owned();
                return Err(Error::Document { what: self.remote.name().to_string(), reason });
            }
            let parsed = document(&descriptor, &bytes)?;
            let mut named = match &parsed {
                Document::Index(index) => chosen(index, self.platforms)?,
                Document::Manifest(manifest) => {
                    if is_lone {
                        self.check(manifest).await?;
                    }
                    self.blobs(manifest)
                }
            };
            named.retain(|named| plan.parents.insert(named.key(), descriptor.key()).is_none());
            for named in named {
                if is_document(&named) {
                    let bytes = self.remote.manifest(&named).await?;
                    left.push((named, bytes, depth + 1));
                } else {
                    plan.blobs.push(named);
                }
            }
            plan.documents.push((descriptor, bytes, parsed));
        }
        Ok(plan)
    }

    fn blobs(&self, manifest: &Manifest) -> Vec<Descriptor> {
        let layers = manifest.layers.iter().filter(|_| !self.metadata_only);
        [&manifest.config].into_iter().chain(layers).cloned().collect()
    }

    /// An image that no index offers is for a platform, too.
    async fn check(&self, manifest: &Manifest) -> Result<(), Error> {
        let config = &manifest.config;
        let is_image =
            matches!(config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG);
        if self.platforms.is_empty() || !is_image || config.size > MAX_DOCUMENT_SIZE as u64 {
            return Ok(());
        }
        let parsed = ImageConfig::parse(&self.remote.document(config).await?);
        let parsed = parsed.map_err(|error| Error::Document {
            what: format!("content {}", config.digest),
            reason: error.to_string(),
        })?;
        match self.platforms.iter().any(|platform| platform.matches(&parsed.platform)) {
            true => Ok(()),
            false => Err(no_match(self.platforms, &[parsed.platform])),
        }
    }

    async fn blob(&self, blob: &Descriptor, plan: &Plan) -> Result<(), Error> {
        let (key, digest, labels) = (blob.key(), blob.digest.to_string(), self.source());
        if labelled(self.client, &digest, &labels).await? {
            self.tell("already exists", blob, size(blob), plan);
            return Ok(());
        }
        let (sink, pieces) = mpsc::channel(PIECES_MAX);
        let told = |offset| self.tell("downloading", blob, offset, plan);
        let upload =
            Upload { key: &key, size: size(blob), digest: &digest, labels: labels.clone(), told: &told };
        let write = write::write(self.client, upload, Source::Pieces(pieces));
        let (fetched, written) = tokio::join!(self.remote.blob(blob, sink), write);
        fetched?;
        written?;
        // It may have come from somebody else meanwhile, without the labels.
        labelled(self.client, &digest, &labels).await?;
        self.tell("complete", blob, size(blob), plan);
        Ok(())
    }

    /// The label that tells where a blob may be had again.
    fn source(&self) -> HashMap<String, String> {
        let name = self.remote.name();
        let host = name.domain().rsplit_once(':').map_or(name.domain(), |(host, _)| host);
        [(format!("containerd.io/distribution.source.{host}"), name.path().to_owned())].into()
    }

    fn tell(&self, event: &str, blob: &Descriptor, progress: i64, plan: &Plan) {
        self.shown.borrow_mut().tell(&Progress {
            event: event.to_owned(),
            name: blob.key(),
            parents: plan.parents.get(&blob.key()).cloned().into_iter().collect(),
            progress,
            total: size(blob),
            desc: Some(described(blob)),
        });
    }
}

/// The entries of an index for the platforms that are asked for; all, when none is.
pub(crate) fn chosen(index: &Index, platforms: &[Platform]) -> Result<Vec<Descriptor>, Error> {
    if platforms.is_empty() {
        return Ok(index.manifests.clone());
    }
    let images: Vec<&Descriptor> = index.manifests.iter().filter(|entry| !entry.is_attestation()).collect();
    let mut found: Vec<Descriptor> = Vec::new();
    for wanted in platforms {
        let exact = |entry: &&&Descriptor| entry.platform.as_ref() == Some(wanted);
        let fits = |entry: &&&Descriptor| entry.platform.as_ref().is_some_and(|one| wanted.matches(one));
        // What does not say may be anything, as an index in an index.
        let silent = |entry: &&&Descriptor| entry.platform.is_none();
        let entry = images.iter().find(exact).or_else(|| images.iter().find(fits));
        found.extend(entry.or_else(|| images.iter().find(silent)).map(|entry| (*entry).clone()));
    }
    found.dedup();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let there: Vec<Platform> = images.iter().filter_map(|entry| entry.platform.clone()).collect();
            Err(no_match(platforms, &there))
        }
    }
}

fn no_match(wanted: &[Platform], there: &[Platform]) -> Error {
    let list =
        |platforms: &[Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Error::Usage(format!(
        "no match for platform {} in manifest, which has {}: not found",
        list(wanted),
        list(there)
    ))
}
