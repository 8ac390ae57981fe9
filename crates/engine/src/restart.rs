//! Restart policies: whether, and when, a container that ended is started again. Pure.
//!
//! The pause before a restart begins at 100 ms and doubles up to a minute; a run of ten seconds or more begins the
//! pauses anew. `on-failure:N` counts all restarts since a client started the container. The same rules hold when the daemon comes back and finds that a container ended meanwhile.

use std::time::Duration;

use crate::containers::spec::RestartPolicy;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run that lasted this long was a good one.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// How often it was restarted in a row, and what the next pause is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) attempts: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) ran: Duration,
    /// How often the policy has started it since a client did.
    pub(crate) restarts: u32,
    /// By stop, kill or remove: then only a client starts it again.
    pub(crate) was_asked_to: bool,
}

impl Backoff {
    /// How long to wait before the next start; None: it stays down.
    pub(crate) fn next(&mut self, policy: RestartPolicy, ended: Ended) -> Option<Duration> {
        if ended.ran >= GOOD_RUN {
            self.attempts = 0;
        }
        let again = !ended.was_asked_to
            && match policy {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    ended.code != 0 && (max_retries == 0 || ended.restarts < max_retries)
                }
            };
        if !again {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX));
        self.attempts = self.attempts.saturating_add(1);
        Some(pause.min(LONGEST_PAUSE))
    }
}

/// Whether a container that is at rest when the engine opens is started, other than by what its last run decided.
pub(crate) fn starts_with_engine(policy: RestartPolicy, was_stopped: bool) -> bool {
    match policy {
        RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !was_stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, seconds: u64) -> Ended {
        Ended { code, ran: Duration::from_secs(seconds), restarts: 0, was_asked_to: false }
    }

    #[test]
    fn pauses_double_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> =
            (0..12).map(|_| backoff.next(RestartPolicy::Always, ended(0, 0)).unwrap().as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[9..], [51_200, 60_000, 60_000]);
        assert_eq!(backoff.next(RestartPolicy::Always, ended(0, 10)), Some(FIRST_PAUSE));
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.next(RestartPolicy::Always, ended(0, 0)), Some(LONGEST_PAUSE));
    }

    #[test]
    fn each_policy_knows_when() {
        let three = RestartPolicy::OnFailure { max_retries: 3 };
        let cases = [
            (RestartPolicy::No, 1, 0, false),
            (RestartPolicy::Always, 0, 0, true),
            (RestartPolicy::UnlessStopped, 0, 0, true),
            (RestartPolicy::OnFailure { max_retries: 0 }, 0, 0, false),
            (RestartPolicy::OnFailure { max_retries: 0 }, 1, 1000, true),
            (three, 1, 2, true),
            (three, 1, 3, false),
        ];
        for (policy, code, restarts, expected) in cases {
            // A good run makes the pause short again, but the restarts are not forgotten.
            let ended = Ended { restarts, ..ended(code, 10) };
            let again = Backoff::default().next(policy, ended);
            assert_eq!(again.is_some(), expected, "{policy:?} {code} {restarts}");
        }
        let stopped = Ended { was_asked_to: true, ..ended(1, 0) };
        assert_eq!(Backoff::default().next(RestartPolicy::Always, stopped), None);
    }

    #[test]
    fn only_always_ignores_a_stop_when_the_engine_opens() {
        let cases = [
            (RestartPolicy::No, false, false),
            (RestartPolicy::Always, true, true),
            (RestartPolicy::Always, false, true),
            (RestartPolicy::UnlessStopped, true, false),
            (RestartPolicy::UnlessStopped, false, true),
            (RestartPolicy::OnFailure { max_retries: 0 }, false, false),
        ];
        for (policy, was_stopped, expected) in cases {
            assert_eq!(starts_with_engine(policy, was_stopped), expected, "{policy:?}");
        }
    }
}
