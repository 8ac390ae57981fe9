//! Clones the child of a plan and turns what it reports into results.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::child::{Report, Step};
use linux::clone::{self, Child, Launch};
use linux::pidfd;
use rustix::io::Errno;

use crate::cgroup::Join;
use crate::error::{Error, Result, Warning};
use crate::open::cannot;
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
    let child = clone::spawn(&launch).map_err(cannot("clone the new process"))?;
    let mut warnings = plan.warnings.clone();
    match follow(child.report.as_fd(), plan, &mut warnings) {
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

/// Reads reports until the child waits, runs or has failed.
pub(crate) fn follow(report: BorrowedFd<'_>, plan: &Plan, warnings: &mut Vec<Warning>) -> Result<Outcome> {
    loop {
        let mut bytes = [0; Report::SIZE];
        let length = read(report, &mut bytes)?;
        if length == 0 {
            return Ok(Outcome::Runs);
        }
        match Report::decode(bytes) {
            Some(Report::Ready) => return Ok(Outcome::Waits),
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
