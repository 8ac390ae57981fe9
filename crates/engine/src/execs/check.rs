//! Health checks: execs of the engine's own, which end in their time whatever they do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{Entry, ExecSpec, ExecState, LOST_EXIT_CODE, executable};
use crate::clock;
use crate::containers::record::Record;
use crate::containers::{AttachOptions, AttachStream};
use crate::engine::Engine;
use crate::error::Result;
use crate::tasks::Ended;

/// What is kept of the output, as in Docker.
const OUTPUT_MAX: usize = 4096;
/// The exit code of what was killed.
const KILLED_EXIT_CODE: i32 = 137;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckEnd {
    Exited(i32),
    /// It was killed, with all that it started.
    TimedOut,
}

impl Engine {
    /// Executes a health check to its end; how it ended, and what it printed.
    pub(crate) async fn execute_check(
        self: &Arc<Self>,
        record: &Arc<Record>,
        args: &[String],
        timeout: Duration,
    ) -> Result<(CheckEnd, String)> {
        let attach = AttachOptions { stdin: false, stdout: true, stderr: true };
        let entry = Arc::new(Entry {
            id: crate::random::hex::<32>(),
            container: record.clone(),
            spec: Arc::new(ExecSpec { args: args.to_vec(), attach, ..ExecSpec::default() }),
            created_ns: clock::now_ns(),
            timeout: Some(timeout),
            state: Mutex::new(ExecState::Created),
        });
        self.execs.insert(entry.clone())?;
        self.publish_exec("exec_create", &entry, BTreeMap::new());
        let checked = self.check_to_end(&entry, attach, timeout).await;
        // Nobody asks for it again.
        self.execs.remove(&entry.id);
        checked
    }

    async fn check_to_end(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        attach: AttachOptions,
        timeout: Duration,
    ) -> Result<(CheckEnd, String)> {
        let task = executable(&entry.container)?;
        entry.begin()?;
        let begun_ns = clock::now_ns();
        let started = self.run_exec(entry, &task, None, Some(attach)).await;
        let (stream, pid, exit) = match started {
            Ok(started) => started,
            Err(error) => {
                // It may not exist at all.
                drop(task.delete(&entry.id).await);
                return Err(error);
            }
        };
        entry.set(ExecState::Running { pid, task: task.clone() });
        self.publish_exec("exec_start", entry, BTreeMap::new());
        let output = match stream {
            Some(stream) => beginning(stream).await,
            None => String::new(),
        };
        // Its time is kept by the shim, which also does when there is no daemon.
        let ended = exit.get("wait for a health check").await.map(|exit| Ended::from(&exit));
        let code = ended.as_ref().map_or(LOST_EXIT_CODE, |ended| ended.code);
        self.exec_ended(entry, code);
        drop(task.delete(&entry.id).await);
        let ran_ns = u64::try_from(ended?.finished_ns.saturating_sub(begun_ns)).unwrap_or(0);
        let was_killed = code == KILLED_EXIT_CODE && Duration::from_nanos(ran_ns) >= timeout;
        Ok((if was_killed { CheckEnd::TimedOut } else { CheckEnd::Exited(code) }, output))
    }
}

/// The beginning of the output, read to its end.
async fn beginning(mut stream: AttachStream) -> String {
    let mut kept = Vec::new();
    let mut is_cut = false;
    let mut head = [0; 8];
    // Docker's frames: a byte for the stream, three of nothing, the length.
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let mut payload = (&mut stream).take(length.into());
        let room = OUTPUT_MAX - kept.len();
        let mut wanted = (&mut payload).take(room as u64);
        let read = wanted.read_to_end(&mut kept).await.and(Ok(()));
        is_cut |= payload.limit() > 0;
        if read.is_err() || tokio::io::copy(&mut payload, &mut tokio::io::sink()).await.is_err() {
            break;
        }
    }
    let text = String::from_utf8_lossy(&kept);
    if is_cut { format!("{text}...") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    async fn beginning_of(frames: &[&[u8]]) -> String {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend([1, 0, 0, 0]);
            bytes.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        let write = tokio::spawn(async move { theirs.write_all(&bytes).await.unwrap() });
        let text = beginning(AttachStream::connected(ours)).await;
        write.await.unwrap();
        text
    }

    #[tokio::test]
    async fn output_is_kept_to_four_kibibytes_and_read_to_its_end() {
        assert_eq!(beginning_of(&[b"one\n", b"", b"two"]).await, "one\ntwo");
        assert_eq!(beginning_of(&[]).await, "");
        let full = "x".repeat(OUTPUT_MAX);
        assert_eq!(beginning_of(&[full.as_bytes()]).await, full);
        let more = [b"y".as_slice(), &[b'x'; 1 << 20], b"z"];
        assert_eq!(beginning_of(&more).await, format!("y{}...", &full[1..]));
    }
}
