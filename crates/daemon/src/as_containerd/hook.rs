//! `containerd oci-hook`: a program with its container's state in its arguments and variables, for hooks of the OCI runtime.
//!
//! `{{id}}`, `{{bundle}}`, `{{rootfs}}`, `{{pid}}`, `{{status}}` and `{{annotation "name"}}` are filled in; containerd takes any
//! template of Go's there, and nothing else is in use.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use oci::runtime_spec::Spec;
use serde_json::Value;

/// A state is a few hundred bytes, a specification a few kilobytes.
const DOCUMENT_MAX: u64 = 16 << 20;

/// What is filled in.
struct Words {
    state: Value,
    rootfs: String,
}

/// Becomes the program of `arguments`, filled in with the state on standard input.
///
/// # Errors
/// What is wrong with the state, the container's specification or the arguments, or why the program cannot be executed.
pub(super) fn run(arguments: &[String]) -> io::Result<()> {
    let words = Words::read()?;
    let filled: Vec<String> = arguments.iter().map(|text| words.fill(text)).collect::<io::Result<_>>()?;
    let (program, rest) = filled.split_first().ok_or_else(|| wrong("`oci-hook` needs a program"))?;
    let mut command = Command::new(program);
    command.args(rest);
    for (name, value) in std::env::vars_os() {
        // What is no text has nothing to fill in.
        let filled = value.to_str().map(|value| words.fill(value)).transpose()?;
        command.env(name, filled.map_or(value, OsString::from));
    }
    Err(command.exec())
}

impl Words {
    fn read() -> io::Result<Words> {
        let mut text = Vec::new();
        io::stdin().lock().take(DOCUMENT_MAX).read_to_end(&mut text)?;
        let state: Value = serde_json::from_slice(&text)
            .map_err(|error| wrong(&format!("standard input is no state of a container: {error}")))?;
        let bundle = Path::new(state["bundle"].as_str().unwrap_or_default());
        let mut text = Vec::new();
        std::fs::File::open(bundle.join("config.json"))?.take(DOCUMENT_MAX).read_to_end(&mut text)?;
        let spec: Spec = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let rootfs = bundle.join(spec.root.unwrap_or_default().path).display().to_string();
        Ok(Words { state, rootfs })
    }

    /// The text with what stands for something filled in.
    fn fill(&self, text: &str) -> io::Result<String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) =
                after.split_once("}}").ok_or_else(|| wrong(&format!("`{text}`: `{{{{` without `}}}}`")))?;
            filled.push_str(before);
            filled.push_str(
                &self
                    .word(action.trim())
                    .ok_or_else(|| wrong(&format!("`{{{{{action}}}}}` is not built")))?,
            );
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn word(&self, action: &str) -> Option<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(match action {
            "id" | "bundle" | "status" => text(&self.state[action]),
            "pid" => self.state["pid"].as_u64().unwrap_or_default().to_string(),
            "rootfs" => self.rootfs.clone(),
            _ => {
                let name = action.strip_prefix("annotation ")?.trim();
                let name = name.strip_prefix('"')?.strip_suffix('"')?;
                text(&self.state["annotations"][name])
            }
        })
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_filled_in_and_others_refused() {
        let state = serde_json::json!({ "id": "one", "bundle": "/b", "status": "creating", "pid": 7,
            "annotations": { "a b": "c" } });
        let words = Words { state, rootfs: "/b/rootfs".into() };
        for (text, expected) in [
            ("plain", "plain"),
            ("{{id}}-{{ pid }}", "one-7"),
            ("x={{bundle}},{{rootfs}};{{status}}", "x=/b,/b/rootfs;creating"),
            ("{{annotation \"a b\"}}{{annotation \"none\"}}", "c"),
            ("}} {", "}} {"),
        ] {
            assert_eq!(words.fill(text).unwrap(), expected);
        }
        for text in ["{{id", "{{if id}}", "{{annotation a}}", "{{}}"] {
            assert!(words.fill(text).is_err(), "{text}");
        }
    }
}
