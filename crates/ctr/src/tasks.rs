//! `ctr tasks`: what runs in containers.

use std::fmt::Write;

use grpc::tasks::{
    DeleteProcessRequest, DeleteTaskRequest, GetRequest, KillRequest, ListPidsRequest, ListTasksRequest,
    PauseTaskRequest, ResumeTaskRequest, WaitRequest,
};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::process::Process;
use crate::stdio::Stdio;
use crate::{cni, containers, metrics, output, table};

/// What a process that was killed by a signal exits with, above the signal's number.
const SIGTERM: u32 = 15;

fn status(status: i32) -> String {
    use api::task::Status;
    let name = Status::try_from(status).unwrap_or(Status::Unknown).as_str_name();
    name.to_owned()
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let tasks = client.tasks().list(ListTasksRequest::default()).await?.into_inner().tasks;
    if call.is("quiet") {
        let ids: String = tasks.iter().map(|task| format!("{}\n", task.id)).collect();
        return output::text(&ids).map(|()| 0);
    }
    let mut lines = "TASK\tPID\tSTATUS\t\n".to_owned();
    for task in &tasks {
        let _ = writeln!(lines, "{}\t{}\t{}", task.id, task.pid, status(task.status));
    }
    output::text(&table::layout(table::WIDE, &lines)).map(|()| 0)
}

/// The container that a command is about, as a check that it is there.
async fn container(client: &Client, call: &Call) -> Result<String, Error> {
    let id = call.operand(0);
    if id.is_empty() {
        return Err(Error::Usage("container id must be provided".into()));
    }
    containers::get(client, id).await?;
    Ok(id.to_owned())
}

pub(crate) async fn processes(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let container_id = container(&client, call).await?;
    let processes = client.tasks().list_pids(ListPidsRequest { container_id }).await?.into_inner().processes;
    let mut lines = "PID\tINFO\n".to_owned();
    for process in &processes {
        let info = match &process.info {
            None => "-".to_owned(),
            Some(info) => exec_of(info).unwrap_or_else(|| "-".to_owned()),
        };
        let _ = writeln!(lines, "{}\t{info}", process.pid);
    }
    output::text(&table::layout(table::WIDE, &lines)).map(|()| 0)
}

/// The exec that a process belongs to.
fn exec_of(info: &prost_types::Any) -> Option<String> {
    let details: api::runc::ProcessDetails = api::any::unpack(info)?.ok()?;
    Some(format!("exec_id:{:?}", details.exec_id))
}

pub(crate) async fn kill(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let container_id = container(&client, call).await?;
    let stop = match call.text("signal") {
        "" => None,
        given => Some(signal(given)?),
    };
    let signal = match stop {
        Some(signal) => signal,
        // The image may say by which signal its program stops.
        None => {
            const STOP_LABEL: &str = "io.containerd.image.config.stop-signal";
            let labels = containers::get(&client, &container_id).await?.labels;
            labels.get(STOP_LABEL).map_or(Ok(SIGTERM), |name| signal(name))?
        }
    };
    let request =
        KillRequest { container_id, exec_id: call.text("exec-id").into(), signal, all: call.is("all") };
    client.tasks().kill(request).await?;
    Ok(0)
}

/// A signal by its number, or its name with or without `SIG`.
fn signal(text: &str) -> Result<u32, Error> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = || NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number);
    let number = text.parse::<u32>().ok().filter(|number| (1..=64).contains(number));
    number.or_else(by_name).ok_or_else(|| Error::Usage(format!("unknown signal {text:?}")))
}

pub(crate) async fn pause(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let container_id = container(&client, call).await?;
    client.tasks().pause(PauseTaskRequest { container_id }).await?;
    Ok(0)
}

pub(crate) async fn resume(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let container_id = container(&client, call).await?;
    client.tasks().resume(ResumeTaskRequest { container_id }).await?;
    Ok(0)
}

pub(crate) async fn attach(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let id = call.operand(0);
    containers::get(&client, id).await?;
    let request = GetRequest { container_id: id.into(), exec_id: String::new() };
    let found = client.tasks().get(request).await.map_err(|status| metrics::no_task(status.into()))?;
    let task = found.into_inner().process.unwrap_or_default();
    let mut stdio = Stdio::existing(&task);
    // The end of our input is known to the task by the pipe.
    stdio.copy();
    let (container, has_terminal) = (id.to_owned(), task.terminal);
    let process = Process { client: client.clone(), container, exec: String::new(), has_terminal };
    let status = process.watch().await?;
    stdio.finish().await;
    let deleted = client.tasks().delete(DeleteTaskRequest { container_id: id.into() }).await;
    match deleted {
        // Who started it waits for it, too, and deletes it.
        Err(status) if status.code() == tonic::Code::NotFound => {}
        deleted => drop(deleted?),
    }
    Ok(code(status))
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let exec = call.text("exec-id");
    if !exec.is_empty() {
        let container_id = container(&client, call).await?;
        let request = DeleteProcessRequest { container_id, exec_id: exec.into() };
        let exit = client.tasks().delete_process(request).await?.into_inner().exit_status;
        return Ok(code(exit));
    }
    let mut failure = None;
    for id in &call.operands {
        if let Err(error) = delete_one(&client, id, call.is("force")).await {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(0), Err)
}

/// An exit status as the exit code of this program.
pub(crate) fn code(status: u32) -> u8 {
    u8::try_from(status & 0xff).unwrap_or(u8::MAX)
}

async fn delete_one(client: &Client, id: &str, by_force: bool) -> Result<(), Error> {
    let container = containers::get(client, id).await.inspect_err(|error| {
        output::warn_of(&format!("failed to load task from {id}"), error);
    })?;
    let told = |error: Error| {
        output::warn_of(&format!("unable to delete {id}"), &error);
        error
    };
    stopped(client, id, by_force).await.map_err(told)?;
    let deleted = client.tasks().delete(DeleteTaskRequest { container_id: id.into() }).await;
    let exit = deleted.map_err(|status| told(status.into()))?.into_inner().exit_status;
    if exit != 0 {
        output::warn("warning", &format!("task {id} exit with non-zero exit code {exit}"));
    }
    match cni::is_attached(&container) {
        true => cni::detach(client, id).await.inspect_err(|error| {
            output::warn_of("failed to remove network", error);
        }),
        false => Ok(()),
    }
}

/// Kills a task and deletes it.
pub(crate) async fn discard(client: &Client, id: &str) -> Result<(), Error> {
    stopped(client, id, true).await?;
    client.tasks().delete(DeleteTaskRequest { container_id: id.into() }).await?;
    Ok(())
}

/// Sees to it that a task does not run any more: it is killed where `by_force` says so.
async fn stopped(client: &Client, id: &str, by_force: bool) -> Result<(), Error> {
    use api::task::Status;
    let request = GetRequest { container_id: id.into(), exec_id: String::new() };
    let process = client.tasks().get(request).await?.into_inner().process.unwrap_or_default();
    let state = process.status();
    if matches!(state, Status::Stopped | Status::Created | Status::Unknown) && !by_force {
        return Ok(());
    }
    if !by_force {
        let state = state.as_str_name().to_lowercase();
        return Err(Error::Usage(format!(
            "task must be stopped before deletion: {state}: failed precondition"
        )));
    }
    let kill = KillRequest { container_id: id.into(), exec_id: String::new(), signal: 9, all: true };
    match client.tasks().kill(kill).await {
        Err(status) if status.code() == tonic::Code::NotFound => return Ok(()),
        // One that never started has nothing to wait for.
        _ if state == Status::Created => return Ok(()),
        Err(status) => return Err(status.into()),
        Ok(_) => {}
    }
    client.tasks().wait(WaitRequest { container_id: id.into(), exec_id: String::new() }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn a_signal_is_a_number_or_a_name() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("sigkill", 9), ("SIGTERM", 15), ("64", 64), ("SYS", 31)]
        {
            assert_eq!(signal(text).ok(), Some(number), "{text}");
        }
        for wrong in ["0", "65", "", "SIGNOTHING", "-1"] {
            assert!(signal(wrong).is_err(), "{wrong}");
        }
    }
}
