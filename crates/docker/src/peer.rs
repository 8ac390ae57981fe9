//! The other end of a connection: whether it is still there.
//!
//! A stream that says nothing for a long time (`events`, `logs --follow`, `wait`) would not notice that its reader has
//! left, because nothing is written to it. A client that only has ended its sending side is still there; the kernel
//! tells the two apart on Unix sockets (`POLLHUP` comes when both directions are closed, unix(7), poll(2)).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

/// How late the end of an idle reader may be noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// One client. It counts as a connection for as long as this lives.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: OwnedFd,
    stopping: watch::Receiver<bool>,
    /// Is told the end of this.
    leaving: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Peer {
    pub(crate) fn new(
        socket: OwnedFd,
        stopping: watch::Receiver<bool>,
        leaving: Arc<Notify>,
        permit: OwnedSemaphorePermit,
    ) -> Peer {
        Peer { socket, stopping, leaving, _permit: permit }
    }

    /// Completes when the client has left or the door closes.
    pub(crate) async fn gone(&self) {
        let mut stopping = self.stopping.clone();
        let left = async {
            while !self.has_left() {
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = left => {}
            // An error means that the daemon has dropped the sender: it ends.
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    fn has_left(&self) -> bool {
        let mut events = [PollFd::new(&self.socket, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut events, Some(&now)).is_ok()
            && events[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.leaving.notify_one();
    }
}
