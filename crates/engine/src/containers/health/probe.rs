//! Who asks a container whether it is well: one task for each run that has a health check, and never two probes at once.

use std::sync::Arc;
use std::time::Duration;

use super::{Health, Probe, Rules};
use crate::blocking::blocking;
use crate::clock;
use crate::containers::record::Record;
use crate::containers::state::{Run, State};
use crate::engine::Engine;
use crate::execs::CheckEnd;

impl Engine {
    /// Probes a run until it ends, if the container has a health check.
    pub(crate) fn watch_health(self: &Arc<Self>, record: &Arc<Record>, run: Run) {
        let Some(rules) = Rules::of(&record.spec) else { return };
        tokio::spawn(self.clone().probe_again_and_again(record.clone(), run, rules));
    }

    async fn probe_again_and_again(self: Arc<Self>, record: Arc<Record>, run: Run, rules: Rules) {
        let mut live = record.live.subscribe();
        loop {
            let status = live.borrow_and_update().health.as_ref().map(|health| health.status);
            let pause = rules.pause(status.unwrap_or_default(), age(run, clock::now_ns()));
            let stopped = live.wait_for(|live| live.state != State::Running(run));
            if tokio::time::timeout(pause, stopped).await.is_err() {
                let probe = self.probe(&record, &rules).await;
                self.note_probe(&record, run, probe, &rules).await;
                continue;
            }
            // Who is paused is not asked; the interval begins anew afterwards.
            match live.wait_for(|live| live.state != State::Paused(run)).await {
                Ok(live) if live.state == State::Running(run) => {}
                _ => return,
            }
        }
    }

    async fn probe(self: &Arc<Self>, record: &Arc<Record>, rules: &Rules) -> Probe {
        let start_ns = clock::now_ns();
        let (exit_code, output) = match self.execute_check(record, &rules.args, rules.timeout).await {
            Ok((CheckEnd::Exited(code), output)) => (code, output),
            Ok((CheckEnd::TimedOut, output)) => {
                let text = format!("Health check exceeded timeout ({})", in_go(rules.timeout));
                (-1, if output.is_empty() { text } else { format!("{text}: {output}") })
            }
            Err(error) => (-1, error.chain()),
        };
        Probe { start_ns, end_ns: clock::now_ns(), exit_code, output }
    }

    /// Counts a probe, unless the run has ended or was paused meanwhile: then it shows nothing.
    async fn note_probe(self: &Arc<Self>, record: &Arc<Record>, run: Run, probe: Probe, rules: &Rules) {
        let _turn = record.turn().await;
        let age = age(run, probe.start_ns);
        let mut change = None;
        record.live.send_if_modified(|live| {
            if live.state != State::Running(run) {
                return false;
            }
            let before = live.health.take().map(Arc::unwrap_or_clone).unwrap_or_default();
            let old = before.status;
            let after = before.probed(probe, rules, age);
            change = Some(after.status).filter(|status| *status != old);
            live.health = Some(Arc::new(after));
            true
        });
        let Some(status) = change else { return };
        let action = format!("health_status: {}", status.as_str());
        self.publish_container(record, &action);
        let (engine, own) = (self.clone(), record.clone());
        blocking(move || engine.store_state(&own, store::Commit::Ordered)).await;
    }
}

/// What is known of the health of a container whose run begins.
pub(crate) fn at_start(record: &Record) -> Option<Arc<Health>> {
    Rules::of(&record.spec)?;
    let before = record.live.borrow().health.as_deref().cloned();
    Some(Arc::new(before.unwrap_or_default().restarted()))
}

fn age(run: Run, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(run.started_ns)).unwrap_or(0))
}

/// A duration as Go writes it: `1m30s`, `500ms`.
fn in_go(duration: Duration) -> String {
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let rest = duration - Duration::from_secs(hours * 3600 + minutes * 60);
    match (hours, minutes) {
        (0, 0) => format!("{duration:?}"),
        (0, minutes) => format!("{minutes}m{}s", rest.as_secs_f64()),
        (hours, minutes) => format!("{hours}h{minutes}m{}s", rest.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let cases =
            [(500, "500ms"), (1500, "1.5s"), (90_000, "1m30s"), (60_500, "1m0.5s"), (3_600_000, "1h0m0s")];
        for (milliseconds, expected) in cases {
            assert_eq!(in_go(Duration::from_millis(milliseconds)), expected);
        }
    }
}
