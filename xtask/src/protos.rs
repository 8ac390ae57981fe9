//! Turns `crates/api/proto/**.proto` into `crates/api/src/generated/*.rs`, one file per package, which is committed.
//!
//! No `protoc` and no build script: a build never depends on this chore, and `--check` proves that what is
//! committed is what the definitions say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use prost_build::Module;

/// Where the definitions are, and where the Rust goes.
const DEFINITIONS: &str = "crates/api/proto";
const GENERATED: &str = "crates/api/src/generated";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read or write `{path}`")]
    File { path: PathBuf, source: io::Error },
    #[error("the definitions do not compile")]
    Compile(#[from] protox::Error),
    #[error("no Rust can be made of the definitions")]
    Generate(#[source] io::Error),
}

/// Writes the generated files, or with `check` compares them with what is there.
pub(crate) fn run(check: bool) -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    match generate(root).and_then(|files| if check { stale(root, &files) } else { write(root, &files) }) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                eprintln!("{}: not what the definitions say; hint: run `cargo xtask protos`", path.display());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!(
                "protos: {error}: {}",
                std::error::Error::source(&error).map_or(String::new(), |e| e.to_string())
            );
            ExitCode::FAILURE
        }
    }
}

/// File name to content.
type Files = BTreeMap<String, String>;

fn generate(root: &Path) -> Result<Files, Error> {
    let definitions = root.join(DEFINITIONS);
    let mut protos = Vec::new();
    find(&definitions, &mut protos)?;
    protos.sort();
    let descriptors = protox::compile(&protos, [&definitions])?;
    let requests = descriptors
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let modules =
        prost_build::Config::new().enable_type_names().generate(requests).map_err(Error::Generate)?;
    // The well-known types are `prost-types`' own: nothing is made for their package.
    Ok(modules
        .into_iter()
        .filter(|(_, content)| !content.is_empty())
        .map(|(module, content)| (module.to_file_name_or("_"), content))
        .collect())
}

fn find(directory: &Path, protos: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::File { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find(&path, protos)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path);
        }
    }
    Ok(())
}

/// The files that differ, are missing, or that no definition makes any more.
fn stale(root: &Path, files: &Files) -> Result<Vec<PathBuf>, Error> {
    let directory = root.join(GENERATED);
    let mut stale: Vec<PathBuf> = present(&directory)?
        .into_iter()
        .filter(|name| !files.contains_key(name))
        .map(|name| directory.join(name))
        .collect();
    for (name, content) in files {
        let path = directory.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(content) {
            stale.push(path);
        }
    }
    Ok(stale)
}

/// Replaces everything; nothing is stale afterwards.
fn write(root: &Path, files: &Files) -> Result<Vec<PathBuf>, Error> {
    let directory = root.join(GENERATED);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    for name in present(&directory)? {
        let path = directory.join(name);
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(Vec::new())
}

fn present(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File { path: directory.to_owned(), source };
    fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
        .collect()
}
