//! The states of a container, and which steps between them are legal. Pure.
//!
//! ```text
//!            start                    pause
//!  Created ────────▶ Running ◀──────────────────▶ Paused
//!     │                │  ▲        unpause          │
//!     │           exit │  │ start                   │ exit
//!     │                ▼  │                         │
//!     │   policy:  Restarting ◀─────────────────────┤
//!     │                │  stop                      │
//!     │                ▼                            │
//!     │              Exited ◀───────────────────────┘   (no restart; or start again ─▶ Running)
//!     │                │
//!     └────remove──────┴──▶ Removing ──▶ gone           (a removal that failed: Dead)
//! ```
//!
//! The state lives in a watch channel that belongs to the container's record: whoever may change it holds the
//! container's `turn` (see [`super::record`]); everybody else reads or waits.

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running(Run),
    Paused(Run),
    /// Waits for its next start by the restart policy.
    Restarting,
    Exited,
    Removing,
    /// Its removal failed half way; only another removal helps.
    Dead,
}

/// A run of the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) pid: u32,
    pub(crate) started_ns: i64,
}

/// How the last run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LastExit {
    /// Zero before the first.
    pub(crate) code: i32,
    pub(crate) oom_killed: bool,
    /// Why the last start failed.
    pub(crate) error: String,
    pub(crate) started_ns: Option<i64>,
    pub(crate) finished_ns: Option<i64>,
}

impl State {
    /// The run, while its process lives.
    pub(crate) fn run(&self) -> Option<Run> {
        match self {
            State::Running(run) | State::Paused(run) => Some(*run),
            State::Created | State::Restarting | State::Exited | State::Removing | State::Dead => None,
        }
    }

    /// Docker's `running`: a container that is about to be restarted counts.
    pub(crate) fn is_active(&self) -> bool {
        self.run().is_some() || *self == State::Restarting
    }
}

/// What to do about a request to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartVerdict {
    Start,
    AlreadyRunning,
    Refuse(&'static str),
}

/// May it be started?
pub(crate) fn may_start(state: &State) -> StartVerdict {
    match state {
        State::Created | State::Exited | State::Restarting => StartVerdict::Start,
        State::Running(_) => StartVerdict::AlreadyRunning,
        State::Paused(_) => StartVerdict::Refuse("cannot start a paused container, try unpause instead"),
        State::Removing => StartVerdict::Refuse("container is marked for removal and cannot be started"),
        State::Dead => StartVerdict::Refuse("container is dead and cannot be started, try to remove it"),
    }
}

/// What to do about a request to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoveVerdict {
    Remove,
    KillFirst,
    AlreadyInProgress,
    Refuse(&'static str),
}

/// May it be removed?
pub(crate) fn may_remove(state: &State, force: bool) -> RemoveVerdict {
    match state {
        State::Created | State::Exited | State::Dead => RemoveVerdict::Remove,
        State::Removing => RemoveVerdict::AlreadyInProgress,
        State::Running(_) | State::Paused(_) | State::Restarting if force => RemoveVerdict::KillFirst,
        State::Running(_) => {
            RemoveVerdict::Refuse("container is running: stop the container before removing or force remove")
        }
        State::Paused(_) => RemoveVerdict::Refuse("container is paused and must be unpaused first"),
        State::Restarting => RemoveVerdict::Refuse(
            "container is restarting: stop the container before removing or force remove",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_verdicts() {
        let run = Run { pid: 1, started_ns: 1 };
        let refused = |verdict| matches!(verdict, StartVerdict::Refuse(_));
        let stays = |verdict| matches!(verdict, RemoveVerdict::Refuse(_));
        let starts = [State::Created, State::Exited, State::Restarting];
        for state in starts {
            assert_eq!(may_start(&state), StartVerdict::Start, "{state:?}");
        }
        assert_eq!(may_start(&State::Running(run)), StartVerdict::AlreadyRunning);
        for state in [State::Paused(run), State::Removing, State::Dead] {
            assert!(refused(may_start(&state)), "{state:?}");
        }
        for state in [State::Created, State::Exited, State::Dead] {
            assert_eq!(may_remove(&state, false), RemoveVerdict::Remove, "{state:?}");
        }
        for state in [State::Running(run), State::Paused(run), State::Restarting] {
            assert!(stays(may_remove(&state, false)), "{state:?}");
            assert_eq!(may_remove(&state, true), RemoveVerdict::KillFirst, "{state:?}");
            assert!(state.is_active());
        }
        assert_eq!(may_remove(&State::Removing, true), RemoveVerdict::AlreadyInProgress);
    }
}
