//! Patience with a host that is being sent something: it is not the whole that is waited for, but the next piece.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use super::client::Body;

/// When a piece of a body was last taken by the network.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    last: Arc<Mutex<Instant>>,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity { last: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl Activity {
    /// The body, seen on its way.
    pub(super) fn watch(&self, inner: Body) -> Body {
        http_body_util::BodyExt::boxed(Watched { inner, activity: self.clone() })
    }

    /// Waits for the answer to what is sent. None: nothing has moved for so long.
    pub(super) async fn patience<T>(&self, idle: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let last = self.last();
            match timeout_at(last + idle, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.last() > last => {}
                Err(_) => return None,
            }
        }
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    inner: Body,
    activity: Activity,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if polled.is_ready() {
            *self.activity.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, Full};
    use hyper::body::Body as _;

    use super::Activity;

    const IDLE: Duration = Duration::from_secs(60);

    fn pieces(count: usize) -> super::Body {
        let stream = futures_util::stream::unfold(count, |left| async move {
            let left = left.checked_sub(1)?;
            tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
            Some((Ok(hyper::body::Frame::data(bytes::Bytes::from_static(b"x"))), left))
        });
        BodyExt::boxed(http_body_util::StreamBody::new(stream))
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_long_and_what_does_not_is_given_up() {
        let activity = Activity::default();
        let slow = activity.watch(pieces(10));
        let sent = activity.patience(IDLE, slow.collect()).await;
        assert_eq!(sent.expect("it moved").unwrap().to_bytes().len(), 10);
        let activity = Activity::default();
        let silent = activity.watch(pieces(1));
        let answer = async {
            silent.collect().await.unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(activity.patience(IDLE, answer).await, None);
    }

    #[tokio::test]
    async fn a_watched_body_tells_its_length() {
        let body = Full::new(bytes::Bytes::from_static(b"abc")).map_err(|never| match never {}).boxed();
        let watched = Activity::default().watch(body);
        assert_eq!((watched.size_hint().exact(), watched.is_end_stream()), (Some(3), false));
    }
}
