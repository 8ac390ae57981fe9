//! Figures that come as long as somebody reads: taken once each second, however many read.
//!
//! ```text
//! nobody reads ──the first reader──▶ figures each second ──the last one leaves, the container is gone──▶ nobody reads
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Sample;
use crate::blocking::blocking;
use crate::containers::Containers;
use crate::containers::record::Record;
use crate::engine::Engine;
use crate::error::Result;

/// Between two samples.
const PACE: Duration = Duration::from_secs(1);

/// Where a container's samples come from while they are read.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    readers: Mutex<Option<Arc<Readers>>>,
}

/// The latest sample, and all who wait for the next one.
type Readers = watch::Sender<Arc<Sample>>;

/// A container's samples as they come, each second for as long as it exists.
#[derive(Debug)]
pub struct Samples(watch::Receiver<Arc<Sample>>);

impl Samples {
    /// The next one; who is slow misses some. None: the container is gone.
    pub async fn next(&mut self) -> Option<Arc<Sample>> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

impl Containers {
    /// What a container uses from now on. The first sample is there at once, unless it was started or ended within this second.
    pub async fn samples(&self, container: &str) -> Result<Samples> {
        let record = self.find(container)?;
        let is_running = record.live.borrow().state.run().is_some();
        if let Some(samples) = record.sampler.join(is_running) {
            return Ok(samples);
        }
        let (engine, own) = (self.engine.clone(), record.clone());
        let first = blocking(move || engine.take_sample(&own)).await?;
        let (samples, begun) = record.sampler.begin(first);
        if let Some(readers) = begun {
            tokio::spawn(self.engine.clone().sample_again_and_again(record, readers));
        }
        Ok(samples)
    }
}

impl Engine {
    async fn sample_again_and_again(self: Arc<Self>, record: Arc<Record>, readers: Arc<Readers>) {
        while !record.sampler.end_if_unread(&readers) {
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = readers.closed() => continue,
            }
            let (engine, own) = (self.clone(), record.clone());
            match blocking(move || engine.take_sample(&own)).await {
                _ if record.live.borrow().is_gone => return record.sampler.end(),
                Ok(sample) => drop(readers.send_replace(Arc::new(sample))),
                Err(error) => {
                    tracing::warn!(container = record.id, error = %error.chain(), "its figures cannot be read");
                    return record.sampler.end();
                }
            }
        }
    }
}

impl Sampler {
    /// Reads along, if somebody reads.
    fn join(&self, is_running: bool) -> Option<Samples> {
        let mut reader = self.lock().as_ref()?.subscribe();
        // What was before a start or an end says nothing of now.
        if reader.borrow().uses.is_some() == is_running {
            reader.mark_changed();
        }
        Some(Samples(reader))
    }

    /// Begins with a first sample; where to send the next ones, unless somebody has begun meanwhile.
    fn begin(&self, first: Sample) -> (Samples, Option<Arc<Readers>>) {
        let mut inner = self.lock();
        let (readers, begun) = match &*inner {
            Some(readers) => (readers.clone(), None),
            None => {
                let readers = Arc::new(watch::Sender::new(Arc::new(first)));
                (readers.clone(), Some(readers))
            }
        };
        let mut reader = readers.subscribe();
        reader.mark_changed();
        *inner = Some(readers);
        (Samples(reader), begun)
    }

    /// True: nobody reads, and who comes now begins anew.
    fn end_if_unread(&self, readers: &Readers) -> bool {
        let mut inner = self.lock();
        let is_unread = readers.receiver_count() == 0;
        if is_unread {
            *inner = None;
        }
        is_unread
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Readers>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::stats::Uses;

    fn sample(name: &str, is_running: bool) -> Sample {
        let uses = is_running.then(Uses::default);
        Sample { name: name.into(), uses, ..Sample::default() }
    }

    #[tokio::test]
    async fn all_readers_get_the_same_samples_and_the_last_one_ends_them() {
        let sampler = Sampler::default();
        assert!(sampler.join(true).is_none());
        let (mut first, begun) = sampler.begin(sample("one", true));
        let readers = begun.unwrap();
        assert_eq!(first.next().await.unwrap().name, "one");
        // Two that begin at once: there is one sampler all the same.
        let (mut second, begun) = sampler.begin(sample("lost", true));
        assert!(begun.is_none());
        assert_eq!(second.next().await.unwrap().name, "one");
        // It reads nothing, and misses a sample.
        let mut slow = sampler.join(true).unwrap();
        for name in ["two", "three"] {
            readers.send_replace(Arc::new(sample(name, true)));
            let (first, second) = (first.next().await.unwrap(), second.next().await.unwrap());
            assert!(Arc::ptr_eq(&first, &second) && first.name == name);
        }
        assert_eq!(slow.next().await.unwrap().name, "three");
        drop((first, second));
        assert!(!sampler.end_if_unread(&readers));
        drop(slow);
        assert!(sampler.end_if_unread(&readers) && sampler.join(true).is_none());
    }

    #[tokio::test]
    async fn who_joins_after_a_start_does_not_hear_of_before_and_the_end_of_the_container_is_the_end() {
        let sampler = Sampler::default();
        let (_at_rest, begun) = sampler.begin(sample("at rest", false));
        let readers = begun.unwrap();
        let mut joined = sampler.join(true).unwrap();
        readers.send_replace(Arc::new(sample("running", true)));
        assert_eq!(joined.next().await.unwrap().name, "running");
        sampler.end();
        drop(readers);
        assert!(joined.next().await.is_none());
    }
}
