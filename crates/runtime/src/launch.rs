//! Clones the child of a plan and turns what it reports into results.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::child::{Report, Step};
use linux::clone::{self, Child, Launch};
use linux::pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cgroup::Join;
use crate::error::{Error, Result, Warning};
use crate::open::{cannot, errno};
use crate::plan::Plan;
use crate::seccomp::Program;

/// What the child said last.
pub(crate) enum Outcome {
    /// It waits for the start.
    Waits,
    /// Its program runs, or it died without a word.
    Runs,
}

/// Clones the child and follows its reports until it waits or runs. When it fails it has been reaped.
pub(crate) fn launch(
    plan: &Plan,
    descriptors: &[OwnedFd],
    join: &Join,
    filter: Option<&Program>,
) -> Result<(Child, Outcome, Vec<Warning>)> {
    let launch = Launch {
        namespaces: plan.namespaces,
        pid_namespace: plan.pid_namespace.and_then(|slot| descriptors.get(slot.0)).map(AsFd::as_fd),
        cgroup: join.v2_dir.as_ref().map(AsFd::as_fd),
        steps: &plan.steps,
        descriptors,
        tasks: &join.v1_tasks,
        filter: filter.map_or(&[], |filter| &filter.instructions),
        filter_flags: filter.map_or(0, |filter| filter.flags),
        program: &plan.program,
    };
    let mut child = clone::spawn(&launch).map_err(cannot("clone the new process"))?;
    let mut warnings = plan.warnings.clone();
    match guide(&mut child, plan, &mut warnings) {
        Ok(outcome) => Ok((child, outcome, warnings)),
        Err(error) => {
            // It exits by itself; the signal is for one that cannot, such as a process that became frozen.
            let _ = pidfd::send_signal(child.pidfd.as_fd(), SIGKILL);
            let _ = pidfd::wait(child.pidfd.as_fd());
            Err(error)
        }
    }
}

/// signal(7).
pub(crate) const SIGKILL: i32 = 9;

/// Does what the child asks for, until it waits, runs or has failed.
fn guide(child: &mut Child, plan: &Plan, warnings: &mut Vec<Warning>) -> Result<Outcome> {
    loop {
        until_told(child)?;
        match next(child.report.as_fd(), plan, warnings)? {
            Said::Waits => return Ok(Outcome::Waits),
            Said::Runs => return Ok(Outcome::Runs),
            Said::Asks { step } => grant(child.pid, plan.steps.get(step), warnings)?,
            Said::Forked { pid } => replace(child, pid)?,
        }
        rustix::io::write(&child.start, &[0]).map_err(cannot("let the new process go on"))?;
    }
}

/// Waits for the child to say something or to end: one that is killed between a fork and its telling would never be heard of,
/// because the other end of the pipe is also the new process's.
fn until_told(child: &Child) -> Result<()> {
    let mut polled = [PollFd::new(&child.report, PollFlags::IN), PollFd::new(&child.pidfd, PollFlags::IN)];
    let told = rustix::io::retry_on_intr(|| poll(&mut polled, None));
    told.map_err(cannot("wait for the new process"))?;
    if polled.first().is_some_and(|report| !report.revents().is_empty()) {
        return Ok(());
    }
    // What it said before it ended is in the pipe by now.
    let mut report = [PollFd::new(&child.report, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut report, Some(&at_once)).map_err(cannot("wait for the new process"))? {
        0 => Err(cannot("hear of the new process: it was killed")(Errno::CHILD)),
        _ => Ok(()),
    }
}

/// What the child cannot do for itself in a user namespace.
fn grant(pid: u32, step: Option<&Step>, warnings: &mut Vec<Warning>) -> Result<()> {
    let failed = |errno| match step {
        Some(step) => Error::Step { step: step.to_string(), source: errno },
        None => cannot("understand the new process")(Errno::PROTO),
    };
    match step {
        Some(Step::NewUserNamespace(maps)) => maps.write(pid).map_err(|error| failed(errno(&error))),
        Some(Step::AskTimeOffsets(offsets)) => std::fs::write(format!("/proc/{pid}/timens_offsets"), offsets)
            .map_err(|error| failed(errno(&error))),
        Some(Step::AskLimits(limits)) => limits.iter().try_for_each(|limit| {
            let lowered = limit.apply(pid).map_err(failed)?;
            let step = Step::Limit(*limit);
            warnings.extend(lowered.map(|errno| Warning(format!("cannot {step}: {errno}"))));
            Ok(())
        }),
        _ => Err(failed(Errno::PROTO)),
    }
}

/// The child goes on in another process of ours.
fn replace(child: &mut Child, pid: u32) -> Result<()> {
    let next = pidfd::open(pid).map_err(cannot("open the new process"))?;
    let before = std::mem::replace(&mut child.pidfd, next);
    child.pid = pid;
    pidfd::wait(before.as_fd()).map(drop).map_err(cannot("wait for the new process"))
}

/// Something that the child says, and that is neither a warning nor a failure.
enum Said {
    Waits,
    Runs,
    Asks { step: usize },
    Forked { pid: u32 },
}

/// Reads what the child that waited says when it is started.
pub(crate) fn follow(report: BorrowedFd<'_>, plan: &Plan) -> Result<()> {
    next(report, plan, &mut Vec::new()).map(drop)
}

/// Reads reports up to one that is no warning.
fn next(report: BorrowedFd<'_>, plan: &Plan, warnings: &mut Vec<Warning>) -> Result<Said> {
    loop {
        let mut bytes = [0; Report::SIZE];
        let length = read(report, &mut bytes)?;
        if length == 0 {
            return Ok(Said::Runs);
        }
        match Report::decode(bytes) {
            Some(Report::Ready) => return Ok(Said::Waits),
            Some(Report::Asks { step }) => return Ok(Said::Asks { step }),
            Some(Report::Forked { pid }) => return Ok(Said::Forked { pid }),
            Some(Report::Warning { step, errno }) => warnings.push(warning(plan, step, errno)),
            Some(Report::Failed { step, errno }) => return Err(failure(plan, step, errno)),
            None => return Err(cannot("understand the new process")(Errno::PROTO)),
        }
    }
}

/// Reports are shorter than `PIPE_BUF`, so one read gives a whole one or nothing.
fn read(report: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize> {
    loop {
        match rustix::io::read(report, &mut *bytes) {
            Err(Errno::INTR) => {}
            other => return other.map_err(cannot("read what the new process reports")),
        }
    }
}

fn warning(plan: &Plan, step: usize, errno: Errno) -> Warning {
    let what = plan.steps.get(step).map_or_else(|| "prepare the process".to_owned(), Step::to_string);
    Warning(format!("cannot {what}: {errno}"))
}

fn failure(plan: &Plan, number: usize, errno: Errno) -> Error {
    let name = plan.program.arguments.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    match plan.steps.get(number) {
        Some(Step::FindProgram) => not_found(&name, errno),
        Some(Step::Execute) => not_executed(&name, errno),
        Some(Step::Mount(mount)) if mount.refuses_links && errno == Errno::LOOP => Error::Invalid {
            what: format!(
                "cannot mount on `{}`: the image has a symbolic link there",
                mount.target.to_string_lossy()
            ),
        },
        Some(Step::Directory(path) | Step::RetryDirectory(path)) if errno == Errno::XDEV => Error::Invalid {
            what: format!("working directory `{}` is outside the container", path.to_string_lossy()),
        },
        Some(Step::Directory(path) | Step::RetryDirectory(path)) => {
            no_directory(&path.to_string_lossy(), errno)
        }
        Some(step) => Error::Step { step: step.to_string(), source: errno },
        None => Error::Step { step: "prepare the process".into(), source: errno },
    }
}

/// Docker's words for a program that was looked for in vain.
fn not_found(name: &str, errno: Errno) -> Error {
    if !name.contains('/') {
        return Error::ProgramNotFound {
            message: format!("exec: {name:?}: executable file not found in $PATH"),
        };
    }
    match errno {
        Errno::NOENT => Error::ProgramNotFound {
            message: format!("exec: {name:?}: stat {name}: no such file or directory"),
        },
        Errno::NOTDIR => {
            Error::ProgramNotExecutable { message: format!("exec: {name:?}: stat {name}: not a directory") }
        }
        // Of a directory, too: Docker's clients know by these words that their exit code is 126.
        Errno::ACCESS | Errno::ISDIR => {
            Error::ProgramNotExecutable { message: format!("exec: {name:?}: permission denied") }
        }
        other => Error::ProgramNotExecutable { message: format!("exec: {name:?}: {}", words(other)) },
    }
}

/// Docker's words for a working directory that cannot be entered.
fn no_directory(path: &str, errno: Errno) -> Error {
    let message = format!("chdir to cwd ({path:?}) set in config.json failed: {}", words(errno));
    match errno {
        Errno::NOENT => Error::ProgramNotFound { message },
        _ => Error::ProgramNotExecutable { message },
    }
}

/// Docker's words for a file that execve(2) refused.
fn not_executed(name: &str, errno: Errno) -> Error {
    match errno {
        // The file is there, as was just seen: its interpreter is not.
        Errno::NOENT => Error::ProgramNotFound { message: format!("exec {name}: no such file or directory") },
        other => Error::ProgramNotExecutable { message: format!("exec {name}: {}", words(other)) },
    }
}

/// An error as strerror(3) says it, in lower case.
fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::code::Code;

    #[test]
    fn programs_that_do_not_start_are_told_in_dockers_words() {
        let cases = [
            (
                not_found("foo", Errno::NOENT),
                r#"exec: "foo": executable file not found in $PATH"#,
                Code::NotFound,
            ),
            (
                not_found("/foo", Errno::NOENT),
                r#"exec: "/foo": stat /foo: no such file or directory"#,
                Code::NotFound,
            ),
            (not_found("/foo", Errno::ACCESS), r#"exec: "/foo": permission denied"#, Code::PermissionDenied),
            (not_found("/etc", Errno::ISDIR), r#"exec: "/etc": permission denied"#, Code::PermissionDenied),
            (not_executed("/foo", Errno::NOENT), "exec /foo: no such file or directory", Code::NotFound),
            (not_executed("/foo", Errno::NOEXEC), "exec /foo: exec format error", Code::PermissionDenied),
        ];
        for (error, message, code) in cases {
            assert_eq!(error.to_string(), message);
            assert_eq!(error.code(), code, "{message}");
        }
    }
}
