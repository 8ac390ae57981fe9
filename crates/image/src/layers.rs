//! Layers for clients that make their own snapshots: one layer into directories that they name.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use oci::digest::Digest;

use crate::apply::Whiteouts;
use crate::commit::hash;
use crate::compression::{Compression, compression_of};
use crate::error::{Error, Result};
use crate::images::Images;
use crate::unpack::open_directory;
use crate::worker::{Comparison, Job, Limits, Packing, Task};

/// Where a layer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlace {
    pub upper: PathBuf,
    /// The directories below, topmost first.
    pub lowers: Vec<PathBuf>,
    pub whiteouts: Whiteouts,
    /// Everything is on disk before it is told.
    pub is_synced: bool,
}

/// A layer that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedLayer {
    /// Of the archive without compression, with all that comes after its end.
    pub diff_id: Digest,
    pub size_bytes: u64,
}

impl Images {
    /// Applies a layer, however it is compressed; blocks until it is done. One that should not be compressed must not be.
    ///
    /// # Errors
    /// [`Error::Apply`] when it is no archive, or cannot be made there; what was made until then stays.
    pub fn apply_layer(&self, layer: &File, is_compressed: bool, place: &LayerPlace) -> Result<AppliedLayer> {
        if !is_compressed {
            require_plain(layer).map_err(|source| failed("read", Path::new("the layer"), source))?;
        }
        let upper = open_directory(&place.upper)?;
        let lowers =
            place.lowers.iter().map(|path| open_directory(path)).collect::<Result<Vec<OwnedFd>>>()?;
        let job = Job {
            task: Task::Unpack,
            limits: Limits::default(),
            input: layer.as_fd(),
            directory: upper.as_fd(),
            lowers: lowers.iter().map(OwnedFd::as_fd).collect(),
            whiteouts: place.whiteouts,
            packing: Packing::default(),
        };
        let outcome = self.worker.run(&job, &mut |_| {}).map_err(Error::Apply)?;
        if place.is_synced {
            rustix::fs::syncfs(&upper).map_err(|errno| failed("sync", &place.upper, errno.into()))?;
        }
        // The worker always tells it of a layer.
        let diff_id = outcome.diff_id.ok_or(Error::NoLayers)?;
        Ok(AppliedLayer { diff_id, size_bytes: outcome.output_bytes })
    }
}

/// How a layer that is made is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerCompression {
    None,
    Gzip,
    Zstd,
}

/// A layer to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The layers of the tree that it goes on, topmost first.
    pub left: Vec<PathBuf>,
    /// Those of the tree that it makes of it.
    pub right: Vec<PathBuf>,
    pub compression: LayerCompression,
    /// Nothing in it is younger, in seconds since 1970.
    pub epoch_s: Option<i64>,
}

impl Difference {
    /// The directory that is the layer, if one tree has just one more than the other.
    fn one_more(&self) -> Option<&PathBuf> {
        self.right.split_first().filter(|(_, below)| **below == self.left).map(|(top, _)| top)
    }

    /// The layers of both trees, each once.
    fn comparison(&self) -> (Vec<&PathBuf>, Comparison) {
        let mut layers: Vec<&PathBuf> = self.left.iter().chain(&self.right).collect();
        layers.sort_unstable();
        layers.dedup();
        let positions = |tree: &[PathBuf]| -> Vec<usize> {
            tree.iter().map(|path| layers.binary_search(&path).expect("it is one of them")).collect()
        };
        let comparison = Comparison { left: positions(&self.left), right: positions(&self.right) };
        (layers, comparison)
    }
}

impl Images {
    /// Packs a layer into `output`; the digest of the archive before compression. Blocks until it is done.
    ///
    /// A directory that is one layer more is packed as it is, with an overlay's own marks; for everything else both trees are
    /// compared.
    ///
    /// # Errors
    /// [`Error::Pack`] for what cannot be in a layer.
    pub fn pack_layer(&self, difference: &Difference, output: &mut (dyn Write + Send)) -> Result<Digest> {
        let broken = |source| failed("pack", Path::new("a layer"), source);
        let (reader, writer) = io::pipe().map_err(broken)?;
        let (packed, stored) = std::thread::scope(|scope| {
            let storing = scope.spawn(|| compress(reader, difference.compression, output));
            let packed = self.run_packing(difference, writer.as_fd());
            drop(writer);
            (packed, storing.join().expect("it does not panic"))
        });
        // A full disk is why the worker's pipe broke, not the other way round.
        let diff_id = stored.map_err(broken)?;
        packed?;
        Ok(diff_id)
    }

    fn run_packing(&self, difference: &Difference, output: BorrowedFd<'_>) -> Result<()> {
        let packing = Packing { is_whole: true, epoch_s: difference.epoch_s };
        if let Some(upper) = difference.one_more() {
            let directory = open_directory(upper)?;
            let job = Job {
                task: Task::Diff,
                limits: Limits::default(),
                input: output,
                directory: directory.as_fd(),
                lowers: Vec::new(),
                whiteouts: Whiteouts::Hide,
                packing,
            };
            return self.worker.run(&job, &mut |_| {}).map(drop).map_err(Error::Pack);
        }
        let (layers, comparison) = difference.comparison();
        let layers = layers.into_iter().map(|path| open_directory(path)).collect::<Result<Vec<OwnedFd>>>()?;
        let layers: Vec<BorrowedFd<'_>> = layers.iter().map(OwnedFd::as_fd).collect();
        self.worker.run_comparison(comparison, packing, output, &layers).map(drop).map_err(Error::Pack)
    }
}

/// Passes an archive on; its digest before compression.
fn compress(
    mut archive: impl Read,
    compression: LayerCompression,
    output: &mut (dyn Write + Send),
) -> io::Result<Digest> {
    match compression {
        LayerCompression::None => hash(&mut archive, &mut |piece, _| output.write_all(piece)),
        LayerCompression::Gzip => {
            let mut encoder = GzEncoder::new(output, Level::fast());
            let diff_id = hash(&mut archive, &mut |piece, _| encoder.write_all(piece))?;
            encoder.finish()?;
            Ok(diff_id)
        }
        LayerCompression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            let diff_id = hash(&mut archive, &mut |piece, _| encoder.write_all(piece))?;
            encoder.finish()?;
            Ok(diff_id)
        }
    }
}

fn require_plain(mut layer: &File) -> io::Result<()> {
    let compression = compression_of(&mut layer)?;
    layer.rewind()?;
    match compression {
        Compression::None => Ok(()),
        // What Go's reader of archives says.
        Compression::Gzip | Compression::Zstd => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "archive/tar: invalid tar header"))
        }
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { what, path: path.to_owned(), source }
}
