//! Turns `crates/api/proto/**.proto` into messages, `crates/api/src/generated/*.rs`, and the stubs of services that are
//! called over gRPC, `crates/grpc/src/generated/*.rs`: one file per package, which is committed.
//!
//! Services that are called over ttrpc have no stubs: the shim matches on a method's name. The messages are apart from
//! the stubs because the shim must not be linked with what gRPC needs.
//!
//! No `protoc` and no build script: a build never depends on this chore, and `--check` proves that what is
//! committed is what the definitions say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use prost_build::{Config, Module};
use prost_types::FileDescriptorProto;

/// Where the definitions are, and where the Rust goes.
const DEFINITIONS: &str = "crates/api/proto";
const MESSAGES: &str = "crates/api/src/generated";
const STUBS: &str = "crates/grpc/src/generated";

/// Packages whose services are called over ttrpc; all others' are called over gRPC.
const TTRPC: [&str; 4] = [
    "containerd.runtime.sandbox.v1",
    "containerd.services.events.ttrpc.v1",
    "containerd.task.v3",
    "corten.shim.v1",
];
/// Messages whose fields of bytes are blobs: they are passed on without a copy.
const BLOBS: [&str; 2] = [".containerd.services.content.v1", ".containerd.types.transfer.Data"];
/// Where a stub finds its messages.
const MODULES: [(&str, &str); 2] =
    [(".containerd", "::api::generated::containerd"), (".grpc", "::api::generated::grpc")];

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

/// Path below the workspace to content.
type Files = BTreeMap<PathBuf, String>;
/// Definitions, with the module that each belongs to.
type Definitions = Vec<(Module, FileDescriptorProto)>;

fn generate(root: &Path) -> Result<Files, Error> {
    let directory = root.join(DEFINITIONS);
    let mut protos = Vec::new();
    find(&directory, &mut protos)?;
    protos.sort();
    let definitions: Definitions = protox::compile(&protos, [&directory])?
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let grpc = definitions
        .iter()
        .filter(|(_, file)| !file.service.is_empty() && !TTRPC.contains(&file.package()))
        .cloned()
        .collect();
    let mut files = into_files(MESSAGES, Config::new().enable_type_names().bytes(BLOBS), definitions)?;
    files.extend(into_files(STUBS, &mut stubs(), grpc)?);
    Ok(files)
}

/// Messages are where they are: what is left to make are the stubs. How to connect is not theirs.
fn stubs() -> Config {
    let mut config = Config::new();
    config.service_generator(tonic_prost_build::configure().build_transport(false).service_generator());
    for (package, module) in MODULES {
        config.extern_path(package, module);
    }
    config
}

fn into_files(directory: &str, config: &mut Config, definitions: Definitions) -> Result<Files, Error> {
    let modules = config.generate(definitions).map_err(Error::Generate)?;
    // The well-known types are `prost-types`' own: nothing is made for their package.
    Ok(modules
        .into_iter()
        .filter(|(_, content)| !content.is_empty())
        .map(|(module, content)| (Path::new(directory).join(module.to_file_name_or("_")), content))
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
    let mut stale: Vec<PathBuf> =
        present(root)?.into_iter().filter(|path| !files.contains_key(path)).collect();
    for (path, content) in files {
        if fs::read_to_string(root.join(path)).ok().as_ref() != Some(content) {
            stale.push(path.clone());
        }
    }
    Ok(stale)
}

/// Replaces everything; nothing is stale afterwards.
fn write(root: &Path, files: &Files) -> Result<Vec<PathBuf>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    for path in present(root)? {
        fs::remove_file(root.join(&path)).map_err(failed(&path))?;
    }
    for (path, content) in files {
        fs::write(root.join(path), content).map_err(failed(path))?;
    }
    Ok(Vec::new())
}

/// What is generated already, by its path below the workspace.
fn present(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for directory in [MESSAGES, STUBS].map(Path::new) {
        let failed = |source| Error::File { path: directory.to_owned(), source };
        for entry in fs::read_dir(root.join(directory)).map_err(failed)? {
            paths.push(directory.join(entry.map_err(failed)?.file_name()));
        }
    }
    Ok(paths)
}
