//! The worker: everything that parses hostile bytes in bulk, in a process of its own.
//!
//! The daemon re-executes its own file with `worker unpack` or `worker extract` and talks to it over one socket:
//!
//! ```text
//! daemon ──────────────────────────────▶ worker          stdin is a SOCK_SEQPACKET pair
//!   1 packet   JSON request, [input, directory]
//!   n packets  one byte, up to 16 lower directories each
//! daemon ◀────────────────────────────── worker
//!   packets    JSON progress …, then one JSON outcome; then the worker ends
//! ```
//!
//! All descriptors travel as `SCM_RIGHTS`: none of them is ever inheritable in the daemon, where other threads
//! start programs at any time, so none can leak into a container. A worker that ends without an outcome has
//! failed, whatever its status says. It dies with the daemon's thread that waits for it.
//!
//! A container's files need more than descriptors: a mount namespace of the worker's own (see [`view`]).
//!
//! Before it reads a byte of input the worker gives up what it does not need (see [`confine`]). What it says is
//! used as a claim: digests of blobs are computed again by the daemon; digests of unpacked layers must equal
//! those in the image's configuration.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use crate::apply::Target;
use protocol::{Message, Request};

mod client;
mod compare;
mod confine;
mod diff;
mod extract;
mod files;
mod merged;
mod protocol;
mod unpack;
mod view;

pub(crate) use client::Job;
pub use client::{WorkerCommand, WorkerError};
pub(crate) use compare::Comparison;
pub(crate) use extract::{MEMBERS_FILE, Member, MemberContent};
pub(crate) use files::{Action, FilesRequest};
pub use protocol::Refusal;
pub(crate) use protocol::{Limits, Outcome, Packing, Progress, Task};
pub(crate) use view::{MountRequest, ViewRequest};

/// The applet `worker`: does one task for the daemon, and ends.
///
/// `arguments` are those after `worker`; they only make the task visible in a list of processes.
pub fn main(arguments: &[String]) -> ExitCode {
    /// What sysexits(3) calls a wrong use of the command.
    const EXIT_USAGE: u8 = 64;
    // The daemon may be gone already; then the socket is, too, and the first read ends this.
    let _ = linux::process::die_with_parent(rustix::process::Signal::KILL.as_raw());
    let socket = match rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) {
        Ok(socket) => socket,
        Err(_) => return ExitCode::from(EXIT_USAGE),
    };
    // Somebody who types `corten worker` in a terminal has no socket for us.
    let Ok((request, mut descriptors)) = protocol::receive_request(socket.as_fd()) else {
        return ExitCode::from(EXIT_USAGE);
    };
    if arguments.first().map(String::as_str) != Some(request.task.name()) || descriptors.len() < 2 {
        return ExitCode::from(EXIT_USAGE);
    }
    let lowers = descriptors.split_off(2);
    let (directory, input) = (descriptors.pop(), descriptors.pop());
    let outcome = match input.zip(directory) {
        Some((input, upper)) => perform(request, input, Target { upper, lowers }, socket.as_fd()),
        None => return ExitCode::from(EXIT_USAGE),
    };
    let message = match outcome {
        Ok(outcome) => Message::Done(outcome),
        Err(refusal) => Message::Refused(refusal),
    };
    match protocol::send_message(socket.as_fd(), &message) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn perform(
    request: Request,
    input: OwnedFd,
    target: Target,
    socket: rustix::fd::BorrowedFd<'_>,
) -> Result<Outcome, Refusal> {
    if let Some(files) = request.files {
        let Target { upper: root, lowers: mounts } = target;
        let mut found = |stat| {
            let _ = protocol::send_message(socket, &Message::Found(stat));
        };
        return files::perform(files, input, root, mounts, &mut found);
    }
    confine::confine(&confine::Rights::of(request.task, &target)).map_err(Refusal::confinement)?;
    let mut progress = |progress: Progress| {
        // A daemon that went away is noticed by the signal of its death.
        let _ = protocol::send_message(socket, &Message::Progress(progress));
    };
    match request.task {
        Task::Compare => {
            compare::compare(input, &target.lowers, &request.comparison.unwrap_or_default(), request.packing)
        }
        Task::Diff => diff::diff(input, &target, request.packing),
        Task::Unpack => unpack::unpack(input, target, &request, &mut progress),
        Task::Extract => extract::extract(input, &target.upper, &request.limits, &mut progress),
        // Without a request for them there is nothing to do.
        Task::Files => Ok(Outcome::default()),
    }
}
