//! Work that waits (plugins, files, decompression), apart from the thread that talks to the daemon.

use crate::error::Error;

/// Does `work` in a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Runtime(error.into()))?
}
