//! `api`: containers through containerd's API, Corten beside containerd.
//!
//! * `api throughput SPEC CGROUP NAME SOCKET [NAME SOCKET …]`: how many containers a second are created, started, waited for and
//!   deleted, one and ten at a time, in rounds that alternate between the daemons.
//! * `api latency …`: how long lists of containers and tasks and a published event take.
//! * `api fleet N …`: starts N containers that sleep; how long the first twenty and the last twenty took.
//! * `api disband …`: kills and deletes them.
//! * `api running N …`: how long it takes until a daemon says that N tasks run.
//!
//! SPEC is a file with the runtime's document; each daemon has one image.
#![forbid(unsafe_code)]
// A command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

#[path = "api/daemon.rs"]
mod daemon;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::median;
use daemon::{Daemon, Failure};

const ROUNDS: usize = 5;
/// Containers of a round.
const BATCH: usize = 30;
/// Starts at each end of a fleet that are compared.
const SAMPLE: usize = 20;
/// The machine's own pauses go by between two measurements.
const GAP: Duration = Duration::from_millis(20);
const USAGE: &str =
    "usage: api throughput|latency|fleet N|disband|running N SPEC CGROUP NAME SOCKET [NAME SOCKET ...]";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(std::env::args().skip(1).collect())),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: Vec<String>) -> Result<(), Failure> {
    let mut words = words.into_iter();
    let mut word = || words.next().ok_or(USAGE);
    let action = word()?;
    let number: usize = if matches!(action.as_str(), "fleet" | "running") { word()?.parse()? } else { 0 };
    let spec: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(word()?)?)?;
    let cgroup = word()?;
    let mut daemons = Vec::new();
    while let Ok(name) = word() {
        daemons.push(Daemon::connect(&name, &word()?, spec.clone(), &cgroup).await?);
    }
    match action.as_str() {
        "throughput" => throughput(&daemons).await,
        "latency" => latency(&daemons).await,
        "fleet" => each(&daemons, |daemon| fleet(daemon, number)).await,
        "disband" => each(&daemons, disband).await,
        "running" => each(&daemons, |daemon| until_running(daemon, number)).await,
        _ => Err(USAGE.into()),
    }
}

async fn each<'a, F: Future<Output = Result<(), Failure>>>(
    daemons: &'a [Daemon],
    work: impl Fn(&'a Daemon) -> F,
) -> Result<(), Failure> {
    for daemon in daemons {
        work(daemon).await.map_err(|error| format!("{}: {error}", daemon.name))?;
    }
    Ok(())
}

async fn throughput(daemons: &[Daemon]) -> Result<(), Failure> {
    for width in [1, 10] {
        let mut rates = vec![Vec::new(); daemons.len()];
        // The first round warms caches and pools and is not counted.
        for round in 0..=ROUNDS {
            for (daemon, rates) in daemons.iter().zip(&mut rates) {
                tokio::time::sleep(GAP).await;
                let begin = Instant::now();
                batch(daemon, width).await?;
                if round > 0 {
                    rates.push(BATCH as f64 / begin.elapsed().as_secs_f64());
                }
            }
        }
        println!("containers a second, create to delete, {width} at a time, {ROUNDS} rounds of {BATCH}");
        print(daemons, &mut rates, "1/s");
    }
    Ok(())
}

/// A batch of containers that end by themselves, `width` at a time.
async fn batch(daemon: &Daemon, width: usize) -> Result<(), Failure> {
    let life = async |lane: usize| {
        for number in (lane..BATCH).step_by(width) {
            let id = format!("one-{number}");
            daemon.start(&id, &["true"]).await?;
            daemon.finish(&id).await?;
        }
        Ok::<(), Failure>(())
    };
    futures_util::future::try_join_all((0..width).map(life)).await.map(drop)
}

async fn latency(daemons: &[Daemon]) -> Result<(), Failure> {
    let mut containers = vec![Vec::new(); daemons.len()];
    let mut tasks = containers.clone();
    let mut events = containers.clone();
    for _ in 0..25 {
        for (at, daemon) in daemons.iter().enumerate() {
            tokio::time::sleep(GAP).await;
            let begin = Instant::now();
            daemon.list().await?;
            containers[at].push(begin.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(GAP).await;
            let begin = Instant::now();
            daemon.running().await?;
            tasks[at].push(begin.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for (daemon, events) in daemons.iter().zip(&mut events) {
        *events = daemon.echo(25).await?;
    }
    for (what, times) in
        [("containers listed", &mut containers), ("tasks listed", &mut tasks), ("an event", &mut events)]
    {
        println!("{what}, 25 times");
        print(daemons, times, "ms");
    }
    Ok(())
}

fn print(daemons: &[Daemon], values: &mut [Vec<f64>], unit: &str) {
    let medians: Vec<f64> = values.iter_mut().map(|values| median(values)).collect();
    for (daemon, value) in daemons.iter().zip(&medians) {
        println!("  {:<14}{value:>10.2} {unit:<4}{:>8.2}", daemon.name, value / medians[0]);
    }
}

async fn fleet(daemon: &Daemon, number: usize) -> Result<(), Failure> {
    let mut times = Vec::with_capacity(number);
    for one in 0..number {
        let begin = Instant::now();
        daemon.start(&format!("fleet-{one}"), &["sleep", "100000"]).await?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(GAP).await;
    }
    let edge = SAMPLE.min(number);
    let first = median(&mut times[..edge]);
    let last = median(&mut times[number - edge..]);
    println!(
        "{}: {number} started; a start took {first:.1} ms first, {last:.1} ms last ({:.2})",
        daemon.name,
        last / first
    );
    Ok(())
}

/// Also what was only half made: then its end is asked for in vain, and so is that of what ended by itself.
async fn disband(daemon: &Daemon) -> Result<(), Failure> {
    for id in daemon.list().await?.iter().filter(|id| id.starts_with("fleet-")) {
        drop(daemon.kill(id).await);
        if let Err(error) = daemon.finish(id).await {
            eprintln!("api: {}: {id}: {error}", daemon.name);
        }
    }
    Ok(())
}

async fn until_running(daemon: &Daemon, number: usize) -> Result<(), Failure> {
    let begin = Instant::now();
    while daemon.running().await? < number {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{}: {number} run, said after {:.2} s", daemon.name, begin.elapsed().as_secs_f64());
    Ok(())
}
