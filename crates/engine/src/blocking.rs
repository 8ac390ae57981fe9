//! The one way from async code to code that blocks.
//!
//! An operation takes one hop: everything that it has to do with files, the store or the kernel runs in one closure on
//! one thread of tokio's blocking pool.

/// Runs `work` where it may block.
///
/// A panic in `work` goes on in the caller: it is the same operation.
pub(crate) async fn blocking<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down and did not begin the work; the caller goes with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
