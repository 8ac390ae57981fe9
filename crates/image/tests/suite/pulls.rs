//! Pulls from a registry that lies about what it has.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use image::{Images, PullOptions};
use oci::digest::Digest;
use oci::reference::Reference;

use crate::documents::{CONFIG, INDEX, MANIFEST, Parts, descriptor, index_of};
use crate::sandbox::{NAMESPACE, Sandbox, worker_command};
use crate::tarball::PLAIN;

/// Types and texts; the first one is what the tag leads to.
type Documents<'a> = Vec<(&'a str, &'a str)>;
/// What is at a path: its type and its bytes.
type Content = HashMap<String, (String, Vec<u8>)>;

/// A registry on loopback that gives what it is told to give; it ends with the test's process.
struct Registry {
    authority: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(content: Content) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let paths = Arc::<Mutex<Vec<String>>>::default();
        let asked = paths.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Some(path) = answer(client, &content) {
                    asked.lock().unwrap().push(path);
                }
            }
        });
        Registry { authority, paths }
    }

    fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }
}

/// None: it is the beginning of TLS, which is not spoken here.
fn answer(mut client: TcpStream, content: &Content) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            return None;
        }
    }
    let path = String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned();
    let (status, (kind, bytes)) = match content.get(&path) {
        Some(found) => ("200 OK", found.clone()),
        None => ("404 Not Found", Default::default()),
    };
    let length = bytes.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // Whoever has had enough goes away.
    drop(client.write_all(&[head.as_bytes(), &bytes].concat()));
    Some(path)
}

/// What a registry has: documents by their digests, the first one as the tag, and an image's blobs.
fn content(documents: &[(&str, &str)], parts: &Parts) -> Content {
    let mut content = Content::new();
    for (position, (kind, text)) in documents.iter().enumerate() {
        let found = ((*kind).to_owned(), text.as_bytes().to_vec());
        content.insert(format!("/v2/a/manifests/{}", Digest::of(text.as_bytes())), found.clone());
        if position == 0 {
            content.insert("/v2/a/manifests/1".into(), found);
        }
    }
    for blob in [&parts.config, &parts.layer] {
        let found = ("application/octet-stream".to_owned(), blob.clone());
        content.insert(format!("/v2/a/blobs/{}", Digest::of(blob)), found);
    }
    content
}

/// Pulls `a:1`; what went wrong, and what the registry was asked for.
fn pulled(sandbox: &Sandbox, content: Content) -> (Result<(), String>, Vec<String>) {
    let registry = Registry::start(content);
    let name = Reference::parse_normalized(&format!("{}/a:1", registry.authority)).unwrap();
    let images = Arc::new(Images::new(sandbox.store.clone(), worker_command(), Default::default()).unwrap());
    let (progress, _events) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = PullOptions::default();
    let result = runtime.block_on(images.pull(NAMESPACE, &name, &options, progress));
    (result.map(drop).map_err(|error| error.chain()), registry.paths())
}

#[test]
fn a_registry_that_lies_is_found_out() {
    let parts = Parts::new();
    let (manifest, config) = (parts.manifest.as_str(), &parts.config);
    let entry = descriptor(MANIFEST, manifest.as_bytes());
    let index = index_of(&entry);
    let foreign = index_of(&entry.replacen('{', r#"{"platform":{"os":"linux","architecture":"z80"},"#, 1));
    let lying_entry = index_of(&entry.replace("\"size\":", "\"size\":1"));
    let lying_config = manifest
        .replace(&descriptor(CONFIG, config), &descriptor(CONFIG, config).replace("\"size\":", "\"size\":1"));
    let lying_layer = manifest.replace(&format!("\"size\":{}}}]", parts.layer.len()), "\"size\":512}]");
    let huge = format!("{manifest}{}", " ".repeat(5 << 20));
    let mut levels = vec![manifest.to_owned()];
    for level in 0..5 {
        let kind = if level == 0 { MANIFEST } else { INDEX };
        levels.push(index_of(&descriptor(kind, levels[level].as_bytes())));
    }
    levels.reverse();
    let kinds = [INDEX, INDEX, INDEX, INDEX, INDEX, MANIFEST];
    let nested: Documents<'_> = kinds.into_iter().zip(levels.iter().map(String::as_str)).collect();
    let both = manifest.replacen('{', r#"{"manifests":[],"#, 1);
    let web = "text/html";
    let cases: Vec<(&str, Documents<'_>, &str)> = vec![
        ("a manifest as an index", vec![(INDEX, manifest)], "announced"),
        ("an index as a manifest", vec![(MANIFEST, &index), (MANIFEST, manifest)], "announced"),
        ("a web page", vec![(web, "<html>")], "JSON"),
        ("a manifest as a web page", vec![(web, manifest)], "announced"),
        ("both", vec![(MANIFEST, &both)], "both"),
        ("five megabytes", vec![(MANIFEST, &huge)], "more than 4194304 bytes"),
        ("schema 1", vec![("", r#"{"schemaVersion":1,"fsLayers":[]}"#)], "schema version 1"),
        ("nothing for this machine", vec![(INDEX, &foreign), (MANIFEST, manifest)], "linux/z80"),
        ("five levels", nested, "nested too deeply"),
        ("a manifest's size", vec![(INDEX, &lying_entry), (MANIFEST, manifest)], "its descriptor says 1"),
        ("a configuration's size", vec![(MANIFEST, &lying_config)], "its descriptor says 1"),
        ("a layer's size", vec![(MANIFEST, &lying_layer)], "not what was asked for"),
    ];
    let sandbox = Sandbox::new();
    for (case, documents, expected) in cases {
        let error = pulled(&sandbox, content(&documents, &parts)).0.expect_err(case);
        assert!(error.contains(expected) && !error.contains('\n'), "{case}: {error:?} lacks {expected:?}");
        sandbox.store.gc().unwrap();
        sandbox.check_nothing_is_left(case);
    }
    let honest = content(&[(INDEX, &index), (MANIFEST, manifest)], &parts);
    assert_eq!(pulled(&sandbox, honest).0, Ok(()));
    sandbox.check_canary("pulls");
}

#[test]
fn a_blob_under_another_name_is_refused_and_no_place_but_the_registry_is_asked() {
    let sandbox = Sandbox::new();
    let elsewhere = Registry::start(Content::new());
    let parts = Parts::new();
    let layer = descriptor(PLAIN, &parts.layer);
    let place = format!(r#"{{"urls":["http://{}/layer"],"#, elsewhere.authority);
    let manifest = parts.manifest.replace(&layer, &layer.replacen('{', &place, 1));
    let mut content = content(&[(MANIFEST, &manifest)], &parts);
    let path = format!("/v2/a/blobs/{}", Digest::of(&parts.layer));
    let mut wrong = parts.layer.clone();
    wrong[0] ^= 1;
    content.insert(path.clone(), (String::new(), wrong));
    let (result, _) = pulled(&sandbox, content.clone());
    let error = result.unwrap_err();
    assert!(error.contains("what it sent is not what was asked for"), "{error}");
    content.remove(&path);
    let (result, asked) = pulled(&sandbox, content);
    assert!(result.is_err() && asked.contains(&path), "{asked:?}");
    assert_eq!(elsewhere.paths(), Vec::<String>::new(), "the manifest's place was asked");
    sandbox.store.gc().unwrap();
    sandbox.check_nothing_is_left("pulls");
}
