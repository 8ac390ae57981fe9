//! Shows how images come and go: a line for each layer that is written over on a terminal, a line for each step elsewhere.

use std::io::{self, IsTerminal, Write};

use api::docker::Progress;
use hyper::Method;

use crate::client::{Body, Client, Path};
use crate::error::Error;
use crate::lines::Lines;
use crate::registry::Headers;

/// Where the steps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Stdout,
    /// Beside the output of a container that is about to run.
    Stderr,
    Nowhere,
}

/// What is on the screen.
struct Screen {
    shown: Shown,
    is_terminal: bool,
    /// Ids of the lines that are there, topmost first.
    lines: Vec<String>,
    /// The last step of each, so that a step is printed once where nothing can be written over.
    last: Vec<(String, String)>,
}

/// Has something transferred and shows the steps; the texts without an id, in order.
pub(crate) async fn transfer(
    client: &Client,
    path: Path,
    headers: Headers,
    shown: Shown,
) -> Result<Vec<String>, Error> {
    let answer = client.stream_with(Method::POST, path, headers, Body::empty()).await?;
    let mut answer = Lines::new(answer);
    let mut screen = Screen::new(shown);
    let mut said = Vec::new();
    while let Some(line) = answer.next().await? {
        let step: Progress = serde_json::from_slice(&line).map_err(Error::Answer)?;
        let error = step.error_detail.as_ref().map(|detail| &detail.message).filter(|text| !text.is_empty());
        if let Some(error) = error.or(Some(&step.error).filter(|text| !text.is_empty())) {
            return Err(Error::Daemon { status: 500, message: error.clone() });
        }
        if step.id.is_empty() && !step.status.is_empty() {
            said.push(step.status.clone());
        }
        screen.show(&step).map_err(Error::Output)?;
    }
    Ok(said)
}

impl Screen {
    fn new(shown: Shown) -> Screen {
        let is_terminal = match shown {
            Shown::Stdout => io::stdout().is_terminal(),
            Shown::Stderr => io::stderr().is_terminal(),
            Shown::Nowhere => false,
        };
        Screen { shown, is_terminal, lines: Vec::new(), last: Vec::new() }
    }

    fn show(&mut self, step: &Progress) -> io::Result<()> {
        if step.status.is_empty() || self.shown == Shown::Nowhere {
            return Ok(());
        }
        let is_layer = !step.id.is_empty() && step.progress_detail.is_some();
        let text = match (step.id.as_str(), step.progress.as_str()) {
            ("", _) => step.status.clone(),
            (id, "") => format!("{id}: {}", step.status),
            (id, progress) => format!("{id}: {} {progress}", step.status),
        };
        if !is_layer {
            // What follows stands below all lines of layers.
            self.lines.clear();
            return self.write(&format!("{text}\n"));
        }
        if self.is_terminal { self.write_over(&step.id, &text) } else { self.write_once(step) }
    }

    fn write_over(&mut self, id: &str, text: &str) -> io::Result<()> {
        match self.lines.iter().position(|line| line == id) {
            Some(position) => {
                let up = self.lines.len() - position;
                self.write(&format!("\x1b[{up}A\r\x1b[2K{text}\r\x1b[{up}B"))
            }
            None => {
                self.lines.push(id.to_owned());
                self.write(&format!("{text}\n"))
            }
        }
    }

    /// Steps on the way, and bytes of them, would only fill a file.
    fn write_once(&mut self, step: &Progress) -> io::Result<()> {
        let known = self.last.iter_mut().find(|(id, _)| *id == step.id);
        match known {
            Some((_, last)) if *last == step.status => return Ok(()),
            Some((_, last)) => last.clone_from(&step.status),
            None => self.last.push((step.id.clone(), step.status.clone())),
        }
        match step.progress.is_empty() {
            true => self.write(&format!("{}: {}\n", step.id, step.status)),
            false => Ok(()),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match self.shown {
            Shown::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
            }
            Shown::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Shown::Nowhere => Ok(()),
        }
    }
}
