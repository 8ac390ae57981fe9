//! `cargo xtask tidy`: the rules of `STYLE.md` and `ARCHITECTURE.md` that no lint knows.
//!
//! Each rule looks at the tree and returns complaints; nothing is changed. The rules: layer order, file budgets,
//! module docs, no `unsafe` outside `linux`, no unfinished work, no `mod.rs`, doc comments on public functions. And each
//! weakening that [`crate::weaken`] tries still has its text and its test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Lines before the tests of a file.
const FILE_BUDGET: usize = 800;

/// Files that are one table of parallel items: splitting them would only hide the table.
const TABLES: [&str; 1] = ["crates/runtime/src/seccomp/syscalls.rs"];

/// Prints every complaint; fails if there is one.
pub(crate) fn run() -> ExitCode {
    let root = workspace_root();
    let files = rust_files(&root);
    let mut complaints = layer_order(&root);
    complaints.extend(crate::weaken::complaints(&root));
    for file in &files {
        complaints.extend(check_file(&root, file));
    }
    if complaints.is_empty() {
        println!("tidy: {} files, nothing to complain about", files.len());
        return ExitCode::SUCCESS;
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    ExitCode::FAILURE
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_path_buf()
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "tests", "xtask", "fuzz", "bench"].iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("corpus") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A crate depends only on crates of lower layers.
fn layer_order(root: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs, because it runs us");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let layers: BTreeMap<&str, u64> = packages
        .iter()
        .filter_map(|package| {
            Some((package["name"].as_str()?, package["metadata"]["corten"]["layer"].as_u64()?))
        })
        .collect();
    let mut complaints = Vec::new();
    for package in packages {
        let Some((name, layer)) = package["name"].as_str().and_then(|name| layers.get_key_value(name)) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // A test may reach for anything: it is not part of the product.
            let is_test_only = dependency["kind"].as_str() == Some("dev");
            let target = dependency["name"].as_str().unwrap_or_default();
            if let Some(below) = layers.get(target)
                && below >= layer
                && !is_test_only
            {
                complaints.push(format!("{name} (layer {layer}) depends on {target} (layer {below})"));
            }
        }
    }
    complaints
}

fn check_file(root: &Path, path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    check_text(&name, &text)
}

/// The rules for one file, by its name relative to the workspace.
fn check_text(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: String| complaints.push(format!("{name}: {what}"));
    let is_generated = name.contains("/generated/");
    let is_product = name.starts_with("crates/") && name.contains("/src/") && !is_generated;
    if name.ends_with("/mod.rs") {
        complain("is a mod.rs; use foo.rs beside foo/".into());
    }
    if !is_generated && !text.starts_with("//!") {
        complain("does not begin with a module doc".into());
    }
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = product.lines().count();
    if is_product && lines > FILE_BUDGET && !TABLES.contains(&name) {
        complain(format!("has {lines} lines before its tests, more than {FILE_BUDGET}"));
    }
    for (number, line) in text.lines().enumerate() {
        for problem in check_line(name, line) {
            complain(format!("line {}: {problem}", number + 1));
        }
    }
    if is_product {
        for (number, function) in undocumented(product) {
            complain(format!("line {number}: public `{function}` has no doc comment"));
        }
    }
    complaints
}

fn check_line(name: &str, line: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let code = line.trim_start();
    if code.starts_with("//") {
        if code.contains(concat!("TO", "DO")) || code.contains(concat!("FIX", "ME")) {
            problems.push("unfinished work; finish it or refuse it");
        }
        return problems;
    }
    if name.starts_with("crates/linux/") || name.starts_with("xtask/") {
        return problems;
    }
    if code.contains("unsafe ")
        && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl"))
    {
        problems.push("unsafe code outside crates/linux");
    }
    if code.contains("RawFd") && name.contains("/src/") {
        problems.push("raw descriptor outside crates/linux");
    }
    problems
}

/// Public functions without a doc comment, with their line numbers.
fn undocumented(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_documented = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("///") {
            is_documented = true;
        } else if let Some(function) = public_function(code) {
            if !is_documented {
                found.push((number + 1, function.to_owned()));
            }
            is_documented = false;
        } else if !code.starts_with("#[") && !code.starts_with("//") {
            is_documented = false;
        }
    }
    found
}

fn public_function(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::check_text;

    #[test]
    fn each_rule_complains_about_its_breach() {
        let long = format!("//! Doc.\n{}", "fn a() {}\n".repeat(801));
        let cases: [(&str, &str, &str); 7] = [
            ("crates/store/src/mod.rs", "//! Doc.\n", "mod.rs"),
            ("crates/store/src/db.rs", "fn a() {}\n", "module doc"),
            ("crates/store/src/db.rs", &long, "more than 800"),
            ("crates/store/src/db.rs", "//! Doc.\nlet x = unsafe { y() };\n", "unsafe"),
            ("crates/store/src/db.rs", "//! Doc.\nfn a(fd: RawFd) {}\n", "raw descriptor"),
            ("crates/store/src/db.rs", concat!("//! Doc.\n// TO", "DO: later\n"), "unfinished"),
            ("crates/store/src/db.rs", "//! Doc.\npub fn open() {}\n", "no doc comment"),
        ];
        for (name, text, expected) in cases {
            let complaints = check_text(name, text);
            assert!(
                complaints.iter().any(|complaint| complaint.contains(expected)),
                "{expected}: {complaints:?}"
            );
        }
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! Doc.\n\n/// Opens it.\n#[must_use]\npub fn open() {}\n";
        assert_eq!(check_text("crates/store/src/db.rs", text), Vec::<String>::new());
        assert_eq!(
            check_text("crates/linux/src/a.rs", "//! Doc.\nlet x = unsafe { y() };\n"),
            Vec::<String>::new()
        );
    }
}
