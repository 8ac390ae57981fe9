//! The processes of a container, as ps(1) shows them.
//!
//! The host's `ps` is asked, with the words that the client gives it, and what is not the container's is left out. Where there is none,
//! the usual table is made from `/proc`.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::blocking::blocking;
use crate::error::{Error, Result};

/// What `docker top` shows when nothing is asked for.
const DEFAULT_ARGUMENTS: &str = "-ef";
/// A table of some ten thousand processes.
const OUTPUT_MAX_BYTES: u64 = 8 << 20;
/// Processes that are shown.
const PROCESSES_MAX: usize = 20_000;
/// Ticks in a second of user space.
const TICKS: u64 = 100;

/// A table of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl super::Containers {
    /// What ps(1) with these arguments says of the container's processes. Empty: `-ef`.
    pub async fn top(&self, container: &str, arguments: &str) -> Result<Processes> {
        let record = self.find(container)?;
        check(arguments)?;
        of(arguments, record.task()?.processes().await?).await
    }
}

/// What ps(1) with these arguments says of these processes. Empty: `-ef`.
pub(crate) async fn of(arguments: &str, mut pids: Vec<u32>) -> Result<Processes> {
    let arguments = check(arguments)?;
    pids.truncate(PROCESSES_MAX);
    blocking(move || list(&arguments, &pids)).await
}

/// The words of the arguments. ps takes titles of columns from whoever asks; the column that is looked for must keep its own.
fn check(arguments: &str) -> Result<Vec<String>> {
    let arguments = if arguments.trim().is_empty() { DEFAULT_ARGUMENTS } else { arguments };
    let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let renames_pid = words.iter().flat_map(|word| word.split(',')).any(|part| {
        let part = part.trim_start_matches('-').trim_start_matches('o');
        part.strip_prefix("pid=").is_some_and(|title| title != "PID")
    });
    if renames_pid || arguments.contains('\0') {
        return Err(Error::InvalidArgument(format!(
            "specifying a title of the column pid ({arguments:?}) is not allowed"
        )));
    }
    Ok(words)
}

fn list(arguments: &[String], pids: &[u32]) -> Result<Processes> {
    let only = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let with_pids: Vec<String> = arguments.iter().cloned().chain([format!("-q{only}")]).collect();
    match ps(&with_pids) {
        Ok(text) => parse(&text, pids),
        // Another ps, or other words, that do not go together with a list of processes.
        Err(Error::InvalidArgument(_)) => parse(&ps(arguments)?, pids),
        Err(Error::System { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => match arguments
        {
            [only] if only == DEFAULT_ARGUMENTS => Ok(from_proc(pids)),
            _ => Err(Error::Unsupported(
                "`ps` with these arguments: there is no ps on this machine; hint: install procps".into(),
            )),
        },
        Err(error) => Err(error),
    }
}

fn ps(arguments: &[String]) -> Result<String> {
    let failed = |source| Error::System { what: "run ps", source };
    let mut child = Command::new("ps")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().expect("it was asked for");
    let mut text = Vec::new();
    let read = stdout.take(OUTPUT_MAX_BYTES).read_to_end(&mut text);
    // Its complaint is short: it fits the pipe and waits there.
    let output = child.wait_with_output().map_err(failed)?;
    read.map_err(failed)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let first = complaint.lines().next().unwrap_or_default();
        return Err(Error::InvalidArgument(format!("ps: {first}")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The rows of a table that are about the processes. The last column may have spaces in it.
fn parse(text: &str, pids: &[u32]) -> Result<Processes> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let Some(place) = titles.iter().position(|title| title == "PID") else {
        return Err(Error::InvalidArgument("Couldn't find PID field in ps output".into()));
    };
    let mut rows = Vec::new();
    for line in lines {
        let row = columns(line, titles.len());
        let Some(pid) = row.get(place).and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if pids.contains(&pid) {
            rows.push(row);
        }
    }
    Ok(Processes { titles, rows })
}

/// So many columns of a line; the last one is all that is left.
fn columns(line: &str, count: usize) -> Vec<String> {
    let mut row = Vec::with_capacity(count);
    let mut rest = line.trim_start();
    while row.len() + 1 < count && !rest.is_empty() {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        row.push(word.to_owned());
        rest = after.trim_start();
    }
    row.push(rest.trim_end().to_owned());
    row
}

/// What `ps -ef` shows.
fn from_proc(pids: &[u32]) -> Processes {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let rows = pids.iter().filter_map(|pid| {
        let read = |file: &str| {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(format!("/proc/{pid}/{file}")).ok()?;
            file.take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        process(*pid, &read("stat")?, &read("status")?, &read("cmdline")?)
    });
    Processes { titles: titles.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// One process, from its files of proc_pid(5).
fn process(pid: u32, stat: &str, status: &str, command_line: &str) -> Option<Vec<String>> {
    // The name in parentheses may contain anything.
    let (name, numbers) = stat.split_once('(')?.1.rsplit_once(')')?;
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    let number = |at: usize| numbers.get(at).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
    let seconds = (number(11) + number(12)) / TICKS;
    let command = command_line.trim_end_matches('\0').replace('\0', " ");
    let row = [
        user.to_owned(),
        pid.to_string(),
        number(1).to_string(),
        "0".to_owned(),
        "?".to_owned(),
        "?".to_owned(),
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        if command.is_empty() { format!("[{name}]") } else { command },
    ];
    Some(row.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_processes_are_left_out() {
        let text = "UID  PID CMD\nroot   7 sleep 1  2 \nroot  77 other\nroot 8 x\n";
        let table = parse(text, &[7, 8]).unwrap();
        assert_eq!(table.titles, ["UID", "PID", "CMD"]);
        assert_eq!(table.rows, [["root", "7", "sleep 1  2"], ["root", "8", "x"]]);
        assert!(parse("A B\n1 2\n", &[1]).unwrap_err().to_string().contains("PID"));
    }

    #[test]
    fn the_pid_keeps_its_title() {
        for refused in ["-o pid=x", "-opid=", "-eo user,pid=7"] {
            assert!(check(refused).is_err(), "{refused}");
        }
        assert_eq!(check(" aux  -w ").unwrap(), ["aux", "-w"]);
        assert!(check("-o pid,cmd=x").is_ok() && check("-o pid=PID").is_ok());
    }

    #[test]
    fn without_ps_proc_tells() {
        let row = process(
            7,
            "7 (a ) b) S 1 7 7 0 -1 0 0 0 0 0 360050 50 0 0",
            "Name:\tx\nUid:\t33\t33\t33\t33\n",
            "sh\0-c\0x\0",
        );
        assert_eq!(row.unwrap(), ["33", "7", "1", "0", "?", "?", "01:00:01", "sh -c x"]);
        assert_eq!(process(7, "7 (kthread) S 2", "Uid:\t0", "").unwrap()[7], "[kthread]");
        assert_eq!(process(7, "", "", ""), None);
        let own = from_proc(&[std::process::id()]);
        assert_eq!(own.rows[0][1], std::process::id().to_string());
    }
}
