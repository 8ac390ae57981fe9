//! How far a transfer is: a tree of what is moved, in the layout of `ctr` 2.x. A terminal is redrawn; elsewhere the last state is
//! shown when it is over.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use api::types::transfer::Progress;

use crate::error::Error;
use crate::{output, text};

/// Between two pictures on a terminal.
const INTERVAL: Duration = Duration::from_millis(100);
const NAME_WIDTH: usize = 40;
const BAR_WIDTH: usize = 38;
/// Digits of a digest that tell it from others on a screen.
const SHORT: usize = 12;
/// An index in an index; deeper ones are drawn no deeper.
const DEPTH_MAX: usize = 8;
/// Things with a name of one transfer: images have some hundred blobs.
const NODES_MAX: usize = 10_000;

/// What is shown.
pub(crate) struct Shown {
    /// None: nothing is shown.
    title: Option<String>,
    nodes: Vec<Progress>,
    began: Instant,
    drawn: Option<(Instant, usize)>,
    is_terminal: bool,
}

impl Shown {
    pub(crate) fn new(title: impl Into<String>) -> Shown {
        Shown {
            title: Some(title.into()),
            nodes: Vec::new(),
            began: Instant::now(),
            drawn: None,
            is_terminal: io::stdout().is_terminal(),
        }
    }

    /// For a command whose output is data.
    pub(crate) fn nothing() -> Shown {
        Shown { title: None, ..Shown::new("") }
    }

    /// Takes in what the daemon says.
    pub(crate) fn tell(&mut self, message: &Progress) {
        if self.title.is_none() {
            return;
        }
        if message.name.is_empty() {
            self.title = Some(message.event.clone());
        } else {
            let has_room = self.nodes.len() < NODES_MAX;
            match self.nodes.iter_mut().find(|node| node.name == message.name) {
                Some(node) => {
                    let parents = if message.parents.is_empty() { &node.parents } else { &message.parents };
                    *node = Progress { parents: parents.clone(), ..message.clone() };
                }
                None if has_room => self.nodes.push(message.clone()),
                None => {}
            }
        }
        let is_due = self.drawn.is_none_or(|(last, _)| last.elapsed() >= INTERVAL);
        if self.is_terminal && is_due {
            self.draw();
        }
    }

    /// Shows the last state.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        match (&self.title, self.is_terminal) {
            (None, _) => Ok(()),
            (Some(_), true) => {
                self.draw();
                Ok(())
            }
            (Some(_), false) => output::text(&self.picture()),
        }
    }

    fn draw(&mut self) {
        let picture = self.picture();
        let back = match self.drawn {
            Some((_, lines)) if lines > 0 => format!("\x1b[{lines}A\x1b[J"),
            _ => String::new(),
        };
        // A terminal that is gone needs no picture.
        let _ = output::text(&format!("{back}{picture}"));
        self.drawn = Some((Instant::now(), picture.lines().count()));
    }

    fn picture(&self) -> String {
        let mut out = String::new();
        let is_root = |node: &&Progress| {
            !node.parents.iter().any(|parent| self.nodes.iter().any(|other| other.name == *parent))
        };
        let roots: Vec<&Progress> = self.nodes.iter().filter(is_root).collect();
        for root in &roots {
            self.line("", root, &mut out);
            self.below(root, "", 1, &mut out);
        }
        for described in roots.iter().filter_map(|root| root.desc.as_ref()) {
            let _ = writeln!(out, "{} {}", described.media_type, described.digest);
        }
        let total: i64 = self.nodes.iter().map(|node| node.progress.max(0)).sum();
        let elapsed = self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is shown")]
        let rate = (total as f64 / elapsed.max(0.001)) as i64;
        let (total, rate) = (text::size_binary(total), text::size_binary(rate));
        let title = self.title.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{title}\telapsed: {elapsed:.1} s\ttotal: {total}\t({rate}/s)\t");
        out
    }

    fn below(&self, parent: &Progress, prefix: &str, depth: usize, out: &mut String) {
        if depth == DEPTH_MAX {
            return;
        }
        let is_child = |node: &&Progress| node.parents.contains(&parent.name) && node.name != parent.name;
        let children: Vec<&Progress> = self.nodes.iter().filter(is_child).collect();
        for (index, child) in children.iter().enumerate() {
            let is_last = index + 1 == children.len();
            self.line(&format!("{prefix}{}", if is_last { "└──" } else { "├──" }), child, out);
            self.below(child, &format!("{prefix}{}", if is_last { "   " } else { "│  " }), depth + 1, out);
        }
    }

    fn line(&self, prefix: &str, node: &Progress, out: &mut String) {
        let name: String = format!("{prefix}{}", short(&node.name)).chars().take(NAME_WIDTH).collect();
        let _ = write!(out, "{name:NAME_WIDTH$}\t{:11}\t", node.event);
        let is_under_way = node.total > 0
            && matches!(node.event.as_str(), "downloading" | "uploading" | "complete" | "extracting");
        if is_under_way {
            let done = usize::try_from(node.progress.clamp(0, node.total)).unwrap_or_default();
            let filled = done.saturating_mul(BAR_WIDTH) / usize::try_from(node.total).unwrap_or(1).max(1);
            let bar = format!("{}{}", "+".repeat(filled), "-".repeat(BAR_WIDTH - filled));
            let (green, plain) = if self.is_terminal { ("\x1b[32m", "\x1b[0m") } else { ("", "") };
            let _ = write!(out, "|{green}{bar}{plain}|\t");
        }
        out.push('\n');
    }
}

/// `layer-sha256:94e7…` as `layer (94e7b90fcac0)`.
fn short(name: &str) -> String {
    match name.split_once("-sha256:") {
        Some((kind, digits)) if !kind.contains(['/', '@']) => {
            format!("{kind} ({})", digits.chars().take(SHORT).collect::<String>())
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str, name: &str, parent: &str, progress: i64) -> Progress {
        Progress {
            event: event.into(),
            name: name.into(),
            parents: Some(parent.to_owned()).filter(|parent| !parent.is_empty()).into_iter().collect(),
            progress,
            total: 10,
            desc: None,
        }
    }

    #[test]
    fn what_is_moved_is_a_tree_in_its_last_state() {
        let mut shown = Shown { is_terminal: false, ..Shown::new("Begin") };
        let manifest = format!("manifest-sha256:{}", "a".repeat(64));
        shown.tell(&told("fetching", "host/image:1", "", 0));
        shown.tell(&told("complete", &manifest, "host/image:1", 10));
        shown.tell(&told("waiting", "layer-sha256:bbbbbbbbbbbbbbbb", &manifest, 0));
        shown.tell(&told("downloading", "layer-sha256:bbbbbbbbbbbbbbbb", &manifest, 5));
        shown.tell(&Progress { event: "Done".into(), ..Progress::default() });
        let picture = shown.picture();
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines.len(), 4, "{picture}");
        assert!(lines[0].starts_with("host/image:1 ") && lines[0].contains("\tfetching "), "{picture}");
        assert!(lines[1].starts_with("└──manifest (aaaaaaaaaaaa) "), "{picture}");
        assert!(lines[2].starts_with("   └──layer (bbbbbbbbbbbb) "), "{picture}");
        let half = format!("|{}{}|\t", "+".repeat(19), "-".repeat(19));
        assert!(lines[2].ends_with(&half), "{picture}");
        assert!(lines[3].starts_with("Done\telapsed: "), "{picture}");
    }

    #[test]
    fn what_names_itself_as_its_parent_is_drawn_and_ends() {
        let mut shown = Shown { is_terminal: false, ..Shown::new("") };
        shown.tell(&told("waiting", "a", "b", 0));
        shown.tell(&told("waiting", "b", "a", 0));
        assert_eq!(shown.picture().lines().count(), 1);
    }
}
