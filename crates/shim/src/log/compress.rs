//! Compression of a file of the log that is not written any more: `log.json.1` becomes `log.json.1.gz`.
//!
//! It goes on in small steps between other work, because one thread does everything here. The header's comment is the time
//! of the file's last entry, which no other file has: by it a reader knows the two files for the same. The plain file goes
//! when the compressed one is on disk; a shim that is killed meanwhile leaves both, or a `.tmp` that is begun anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression as Level, GzBuilder};

use super::{file, time};

/// A millisecond's work.
const STEP_BYTES: usize = 32 << 10;

/// A compression under way.
#[derive(Debug)]
pub(super) struct Compression {
    plain: PathBuf,
    target: PathBuf,
    temporary: PathBuf,
    source: File,
    encoder: GzEncoder<File>,
}

impl Compression {
    /// Begins with the file at `plain`. `None`: there is none, or it does not end with an entry and stays as it is.
    pub(super) fn begin(plain: &Path) -> Option<Compression> {
        match Compression::open(plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                eprintln!("the log `{}` stays uncompressed: {error}", plain.display());
                None
            }
            Ok(compression) => compression,
        }
    }

    fn open(plain: &Path) -> io::Result<Option<Compression>> {
        let source = File::open(plain)?;
        let Some(last_ns) = file::last_time(&source, source.metadata()?.len())? else { return Ok(None) };
        let target = plain.with_added_extension("gz");
        let temporary = target.with_added_extension("tmp");
        let output =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
        let encoder = GzBuilder::new().comment(time::format(last_ns)).write(output, Level::default());
        Ok(Some(Compression { plain: plain.to_owned(), target, temporary, source, encoder }))
    }

    /// Compresses another piece. `None`: that was the last one, and the plain file is gone.
    pub(super) fn step(mut self) -> io::Result<Option<Compression>> {
        let mut piece = [0; STEP_BYTES];
        let length = self.source.read(&mut piece)?;
        if length > 0 {
            self.encoder.write_all(&piece[..length])?;
            return Ok(Some(self));
        }
        self.encoder.try_finish()?;
        self.encoder.get_ref().sync_data()?;
        fs::rename(&self.temporary, &self.target)?;
        fs::remove_file(&self.plain)?;
        Ok(None)
    }
}

impl Drop for Compression {
    fn drop(&mut self) {
        // There when it did not get to its end.
        drop(fs::remove_file(&self.temporary));
    }
}
