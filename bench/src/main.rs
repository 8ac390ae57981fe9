//! `measure`: times commands side by side.
//!
//! `measure --count 30 --gap 20 NAME COMMAND [NAME COMMAND …]` runs the commands in turn, one of each per round, with a
//! pause in between, and prints the median, the quartiles and the ratio to the first one. Rounds keep a machine's noise
//! from hitting one command only; the pause is there because back-to-back loops hide the kernel's grace periods.
#![forbid(unsafe_code)]
// A command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::quantile;

/// One command under test.
struct Subject {
    name: String,
    words: Vec<String>,
    times_ms: Vec<f64>,
}

fn main() -> ExitCode {
    let Some((count, gap, mut subjects)) = parse(std::env::args().skip(1).collect()) else {
        eprintln!("usage: measure --count N --gap MS NAME COMMAND [NAME COMMAND ...]");
        return ExitCode::from(2);
    };
    // The first two rounds warm caches and pools and are not counted.
    for round in 0..count + 2 {
        for subject in &mut subjects {
            thread::sleep(gap);
            match time(&subject.words) {
                Ok(elapsed) if round >= 2 => subject.times_ms.push(elapsed.as_secs_f64() * 1000.0),
                Ok(_) => {}
                Err(why) => {
                    eprintln!("measure: {}: {why}", subject.name);
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    print(&mut subjects);
    ExitCode::SUCCESS
}

fn parse(arguments: Vec<String>) -> Option<(usize, Duration, Vec<Subject>)> {
    let mut words = arguments.into_iter();
    let (mut count, mut gap, mut subjects) = (20, 20, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--count" => count = words.next()?.parse().ok()?,
            "--gap" => gap = words.next()?.parse().ok()?,
            _ => subjects.push(Subject {
                name: word,
                words: shlex::split(&words.next()?)?,
                times_ms: Vec::new(),
            }),
        }
    }
    let is_complete = !subjects.is_empty() && subjects.iter().all(|subject| !subject.words.is_empty());
    is_complete.then_some((count, Duration::from_millis(gap), subjects))
}

fn time(words: &[String]) -> Result<Duration, String> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let output = command.output().map_err(|error| error.to_string())?;
    let elapsed = begin.elapsed();
    if output.status.success() {
        return Ok(elapsed);
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn print(subjects: &mut [Subject]) {
    for subject in subjects.iter_mut() {
        subject.times_ms.sort_by(f64::total_cmp);
    }
    let first = quantile(&subjects[0].times_ms, 2);
    println!("{:<28}{:>10}{:>10}{:>10}{:>10}{:>8}", "", "median ms", "25 %", "75 %", "min", "ratio");
    for subject in subjects {
        let median = quantile(&subject.times_ms, 2);
        println!(
            "{:<28}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>8.2}",
            subject.name,
            median,
            quantile(&subject.times_ms, 1),
            quantile(&subject.times_ms, 3),
            subject.times_ms.first().copied().unwrap_or_default(),
            median / first
        );
    }
}
