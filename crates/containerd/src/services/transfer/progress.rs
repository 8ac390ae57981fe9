//! What a client is told while it waits. The words of the events are containerd's: its clients show them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use api::any;
use api::types;
use api::types::transfer::Progress as Message;
use engine::images::{Found, PullEvent, PullStep, PushEvent, PushStep};
use oci::descriptor::Descriptor;
use oci::digest::Digest;

use super::super::streaming::Taken;

/// Between two reports of how far one blob is.
const INTERVAL: Duration = Duration::from_millis(300);

/// Where progress goes, if anywhere. A client that does not read it any more does not stop what it asked for.
pub(super) struct Progress(Option<Taken>);

impl Progress {
    pub(super) fn to(stream: Option<Taken>) -> Progress {
        Progress(stream)
    }

    /// Of the transfer as a whole.
    pub(super) async fn status(&self, event: impl Into<String>) {
        self.tell(Message { event: event.into(), ..Message::default() }).await;
    }

    /// Of something with a name.
    pub(super) async fn named(&self, event: &str, name: &str, descriptor: &Descriptor) {
        let (event, name) = (event.to_owned(), name.to_owned());
        self.tell(Message { event, name, desc: Some(described(descriptor)), ..Message::default() }).await;
    }

    async fn tell(&self, message: Message) {
        if let Some(stream) = &self.0 {
            // Whoever went away needs no answer.
            let _ = stream.send(any::pack(&message)).await;
        }
    }

    /// Returns when all of it is on its way.
    pub(super) async fn finish(self) {
        if let Some(stream) = self.0 {
            stream.finish().await;
        }
    }
}

/// How far the blobs of an image are.
pub(super) struct Blobs<'a> {
    progress: &'a Progress,
    parents: HashMap<Digest, Vec<String>>,
    told: HashMap<Digest, Instant>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(progress: &'a Progress) -> Blobs<'a> {
        Blobs { progress, parents: HashMap::new(), told: HashMap::new() }
    }

    /// All that an image has; its documents are here already.
    pub(super) async fn found(&mut self, name: &str, found: &Found) {
        let tree = found.tree();
        let by_digest: HashMap<&Digest, &Descriptor> =
            tree.iter().map(|(_, descriptor)| (&descriptor.digest, descriptor)).collect();
        for (parent, descriptor) in &tree {
            let parent = parent.as_ref().and_then(|parent| by_digest.get(parent));
            let parent = parent.map_or_else(|| name.to_owned(), |parent| parent.key());
            self.parents.insert(descriptor.digest.clone(), vec![parent]);
            self.blob("waiting", descriptor, 0).await;
            if !descriptor.key().starts_with("layer-") {
                self.blob("complete", descriptor, descriptor.size).await;
            }
        }
    }

    /// A step of a layer.
    pub(super) async fn step(&mut self, PullEvent { layer, step }: PullEvent) {
        let (event, current) = match step {
            PullStep::AlreadyExists => ("already exists", layer.size),
            PullStep::Downloading { current, .. } if self.is_due(&layer) => ("downloading", current),
            PullStep::DownloadComplete => ("complete", layer.size),
            PullStep::Extracting { current, .. } if self.is_due(&layer) => ("extracting", current),
            PullStep::PullComplete => ("extracted", layer.size),
            _ => return,
        };
        self.blob(event, &layer, current).await;
    }

    /// A step of a layer on its way out.
    pub(super) async fn sent(&mut self, name: &str, PushEvent { layer, step }: PushEvent) {
        self.parents.entry(layer.digest.clone()).or_insert_with(|| vec![name.to_owned()]);
        let (event, current) = match step {
            PushStep::Preparing => ("waiting", 0),
            PushStep::LayerExists => ("already exists", layer.size),
            PushStep::Pushing { current, .. } if self.is_due(&layer) => ("uploading", current),
            PushStep::Pushing { .. } => return,
            PushStep::Pushed => ("complete", layer.size),
        };
        self.blob(event, &layer, current).await;
    }

    fn is_due(&mut self, layer: &Descriptor) -> bool {
        let now = Instant::now();
        let is_due = self.told.get(&layer.digest).is_none_or(|last| now.duration_since(*last) >= INTERVAL);
        if is_due {
            self.told.insert(layer.digest.clone(), now);
        }
        is_due
    }

    async fn blob(&self, event: &str, descriptor: &Descriptor, current: u64) {
        let message = Message {
            event: event.to_owned(),
            name: descriptor.key(),
            parents: self.parents.get(&descriptor.digest).cloned().unwrap_or_default(),
            progress: i64::try_from(current).unwrap_or(i64::MAX),
            total: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            desc: Some(described(descriptor)),
        };
        self.progress.tell(message).await;
    }
}

fn described(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: descriptor.annotations.clone().into_iter().collect(),
    }
}
