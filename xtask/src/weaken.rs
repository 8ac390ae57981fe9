//! `cargo xtask weaken`: does a test fail when what it guards is gone?
//!
//! `xtask/weakenings.toml` lists changes that take one hardening away each, with the test that must notice. The workspace is
//! copied, one weakening is applied to the copy, its test is run and has to *fail* (what does not compile proves
//! nothing), and the copy is restored.
//!
//! ```text
//! target/weaken/source   the copy; a file is written only where it differs, so that little is compiled anew
//! target/weaken/build    what cargo makes of it, kept for the next weakening and the next run
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use serde::Deserialize;

const LIST: &str = include_str!("../weakenings.toml");

/// Folders that no build reads.
const NOT_COPIED: [&str; 2] = ["target", ".git"];

/// nextest's codes of exit (`nextest-metadata`, `NextestExitCode`).
const NO_TESTS: i32 = 4;
const TEST_FAILED: i32 = 100;
const BUILD_FAILED: i32 = 101;

/// One hardening, and how it is taken away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Weakening {
    name: String,
    /// The advisory or the kind of attack that the hardening is for.
    against: String,
    file: String,
    /// Stands in the file exactly once.
    text: String,
    weakened: String,
    package: String,
    /// The last part of a test's name.
    test: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    weakening: Vec<Weakening>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("xtask/weakenings.toml: {0}")]
    List(#[from] toml::de::Error),
    #[error("there is no weakening `{0}`; hint: `cargo xtask weaken --list` lists them")]
    Unknown(String),
    #[error("{0}")]
    Stale(String),
    #[error("`{path}`: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("cargo nextest cannot be run: {0}")]
    Nextest(io::Error),
    #[error("the tests fail without any weakening; hint: run them, and mend what they find\n{0}")]
    Unsound(String),
}

/// What became of a weakening.
enum Verdict {
    Caught,
    /// It compiles, and its test passes.
    Missed,
    /// Neither: what cargo said.
    Void(String),
}

/// Which weakenings are tried.
pub(crate) enum Choice<'a> {
    All,
    Named(&'a str),
    /// So many, by the seed in `CORTEN_TEST_SEED`.
    Sample(usize),
}

/// Prints the list.
pub(crate) fn list() -> ExitCode {
    finish(weakenings().map(|all| {
        for Weakening { name, against, test, .. } in &all {
            println!("{name}: {against} ({test})");
        }
        true
    }))
}

/// Tries weakenings; fails unless each is caught.
pub(crate) fn run(root: &Path, choice: &Choice<'_>) -> ExitCode {
    finish(try_all(root, choice))
}

fn finish(result: Result<bool, Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weaken: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the list, as far as that can be told without a build.
pub(crate) fn complaints(root: &Path) -> Vec<String> {
    let all = match weakenings() {
        Ok(all) => all,
        Err(error) => return vec![error.to_string()],
    };
    let mut names = BTreeSet::new();
    let mut complaints: Vec<String> = all.iter().filter_map(|one| one.apply(root).err()).collect();
    for one in &all {
        if !names.insert(&one.name) {
            complaints.push(format!("the weakening `{}` is listed twice", one.name));
        }
        let function = format!("fn {}(", one.test);
        let folder = root.join("crates").join(&one.package);
        let is_there = files(&folder)
            .iter()
            .any(|path| read(&folder.join(path)).is_ok_and(|text| text.contains(&function)));
        if !is_there {
            complaints.push(format!("the weakening `{}` names no test of `{}`", one.name, one.package));
        }
    }
    complaints
}

fn weakenings() -> Result<Vec<Weakening>, Error> {
    Ok(toml::from_str::<List>(LIST)?.weakening)
}

fn try_all(root: &Path, choice: &Choice<'_>) -> Result<bool, Error> {
    let chosen = choose(weakenings()?, choice)?;
    let source = root.join("target/weaken/source");
    copy(root, &source)?;
    let (code, said) = nextest(&source, &chosen.iter().collect::<Vec<_>>())?;
    if code != 0 {
        return Err(Error::Unsound(said));
    }
    let mut caught = 0;
    for weakening in &chosen {
        let Weakening { name, against, test, .. } = weakening;
        match weakening.try_in(&source)? {
            Verdict::Caught => {
                caught += 1;
                println!("caught  {name}: {against} ({test})");
            }
            Verdict::Missed => println!("MISSED  {name}: {against}: {test} passes without it"),
            Verdict::Void(said) => println!("VOID    {name}: {against}: nothing was tested\n{said}"),
        }
    }
    println!("{} weakenings, {caught} caught", chosen.len());
    Ok(caught == chosen.len())
}

fn choose(mut all: Vec<Weakening>, choice: &Choice<'_>) -> Result<Vec<Weakening>, Error> {
    match choice {
        Choice::All => {}
        Choice::Named(name) => {
            all.retain(|one| one.name == *name);
            if all.is_empty() {
                return Err(Error::Unknown((*name).to_owned()));
            }
        }
        Choice::Sample(count) => {
            let seed: usize =
                std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
            println!("CORTEN_TEST_SEED={seed}");
            let start = seed % all.len();
            all.rotate_left(start);
            all.truncate(*count);
        }
    }
    Ok(all)
}

impl Weakening {
    /// The file's text without the hardening.
    fn apply(&self, root: &Path) -> Result<String, String> {
        let whole = fs::read_to_string(root.join(&self.file))
            .map_err(|error| format!("the weakening `{}`: `{}`: {error}", self.name, self.file))?;
        self.weaken(&whole)
    }

    fn weaken(&self, whole: &str) -> Result<String, String> {
        let Weakening { name, file, text, weakened, .. } = self;
        match whole.matches(text.as_str()).count() {
            1 => Ok(whole.replacen(text.as_str(), weakened, 1)),
            count => Err(format!("the weakening `{name}`: its text is in `{file}` {count} times, not once")),
        }
    }

    fn try_in(&self, source: &Path) -> Result<Verdict, Error> {
        let path = source.join(&self.file);
        let whole = read(&path)?;
        let weakened = self.apply(source).map_err(Error::Stale)?;
        write(&path, weakened.as_bytes())?;
        let tried = nextest(source, &[self]);
        write(&path, whole.as_bytes())?;
        let (code, said) = tried?;
        Ok(match code {
            0 => Verdict::Missed,
            TEST_FAILED => Verdict::Caught,
            BUILD_FAILED => Verdict::Void(format!("it does not compile\n{said}")),
            NO_TESTS => Verdict::Void("there is no such test".to_owned()),
            _ => Verdict::Void(said),
        })
    }
}

/// Runs the tests of weakenings; nextest's code of exit, and what it said.
fn nextest(source: &Path, weakenings: &[&Weakening]) -> Result<(i32, String), Error> {
    let packages: BTreeSet<&str> = weakenings.iter().map(|one| one.package.as_str()).collect();
    let tests: BTreeSet<String> = weakenings.iter().map(|one| format!("test(/::{}$/)", one.test)).collect();
    let mut command = Command::new(env!("CARGO"));
    command.args(["nextest", "run", "--no-fail-fast", "--profile", "weaken", "-E"]);
    command.arg(tests.into_iter().collect::<Vec<_>>().join(" | "));
    command.args(packages.iter().flat_map(|package| ["-p", package]));
    let output = command
        .current_dir(source)
        .env("CARGO_TARGET_DIR", source.with_file_name("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .output()
        .map_err(Error::Nextest)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code().unwrap_or(-1), said))
}

/// Makes `target` the same as `root`, touching only what differs.
fn copy(root: &Path, target: &Path) -> Result<(), Error> {
    let wanted = files(root);
    for path in files(target).difference(&wanted) {
        let path = target.join(path);
        fs::remove_file(&path).map_err(|source| Error::File { path, source })?;
    }
    for path in &wanted {
        let from = root.join(path);
        let bytes = fs::read(&from).map_err(|source| Error::File { path: from, source })?;
        let to = target.join(path);
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            write(&to, &bytes)?;
        }
    }
    Ok(())
}

/// All files below a folder, by their paths from there; links are not followed.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(|kind| kind.is_file()) {
                found.extend(path.strip_prefix(root).map(Path::to_owned));
            } else if kind.is_ok_and(|kind| kind.is_dir())
                && !NOT_COPIED.iter().any(|name| path.ends_with(name))
            {
                folders.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakening(name: &str) -> Weakening {
        let [against, file, package, test] = ["a", "f", "p", "t"].map(str::to_owned);
        let (text, weakened) = ("if x {".to_owned(), "if false {".to_owned());
        Weakening { name: name.to_owned(), against, file, text, weakened, package, test }
    }

    #[test]
    fn what_stands_there_once_is_weakened() {
        let one = weakening("one");
        assert_eq!(one.weaken("a; if x { b }").as_deref(), Ok("a; if false { b }"));
        for (whole, count) in [("", "0 times"), ("if x { if x {", "2 times")] {
            assert!(one.weaken(whole).unwrap_err().contains(count), "{whole}");
        }
    }

    #[test]
    fn one_can_be_named_and_some_be_drawn() {
        let all = || ["a", "b", "c"].map(weakening).into_iter().collect::<Vec<_>>();
        let names = |choice| {
            choose(all(), &choice).map(|all| all.into_iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(names(Choice::All).unwrap(), ["a", "b", "c"]);
        assert_eq!(names(Choice::Named("b")).unwrap(), ["b"]);
        assert!(names(Choice::Named("d")).unwrap_err().to_string().contains("hint:"));
        assert_eq!(names(Choice::Sample(2)).unwrap().len(), 2);
        assert_eq!(names(Choice::Sample(9)).unwrap().len(), 3);
    }
}
