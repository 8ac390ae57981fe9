//! Documents of image archives that lie, lead nowhere or are too much: each is refused, and leaves nothing.

use std::net::TcpListener;

use oci::digest::Digest;

use crate::sandbox::{NAMESPACE, Sandbox};
use crate::tarball::{Header, PLAIN, Tarball, config, zstd};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A descriptor of some bytes.
pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, Digest::of(bytes), bytes.len())
}

pub(crate) fn index_of(entry: &str) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#)
}

/// A layout's archive: this index, and these blobs under the names that they should have.
fn archive(index: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let blobs = blobs.iter().map(|bytes| (Digest::of(bytes), *bytes));
    blobs
        .fold(Tarball::new().file("index.json", index), |tar, (digest, bytes)| {
            tar.add(&Header::new(b'0', format!("blobs/sha256/{}", digest.hex())), bytes)
        })
        .finish()
}

/// An image of one layer: its documents and its layer, for somebody to change before they are put together.
pub(crate) struct Parts {
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: String,
}

impl Parts {
    pub(crate) fn new() -> Parts {
        let layer = Tarball::new().file("f", "x").finish();
        let config = config(&[Digest::of(&layer)], "");
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, &config),
            descriptor(PLAIN, &layer)
        );
        Parts { layer, config, manifest }
    }

    fn archive(&self) -> Vec<u8> {
        let manifest = self.manifest.as_bytes();
        archive(&index_of(&descriptor(MANIFEST, manifest)), &[manifest, &self.config, &self.layer])
    }

    /// With another text in the manifest.
    fn changed(&self, from: &str, to: &str) -> Vec<u8> {
        assert!(self.manifest.contains(from), "{}", self.manifest);
        Parts { manifest: self.manifest.replacen(from, to, 1), ..Parts::new() }.archive()
    }
}

/// An index in an index in an index; the innermost has the image.
fn nested(levels: usize) -> Vec<u8> {
    let parts = Parts::new();
    let mut documents = vec![parts.manifest.clone()];
    for level in 0..levels {
        let kind = if level == 0 { MANIFEST } else { INDEX };
        documents.push(index_of(&descriptor(kind, documents[level].as_bytes())));
    }
    let mut blobs: Vec<&[u8]> = documents[..levels].iter().map(String::as_bytes).collect();
    blobs.extend([parts.config.as_slice(), &parts.layer]);
    archive(&documents[levels], &blobs)
}

fn refused(sandbox: &Sandbox, case: &str, archive: &[u8], texts: &[&str]) {
    let error = sandbox.load(archive).expect_err(case);
    let text = error.chain();
    for expected in texts {
        assert!(text.contains(expected), "{case}: {text:?} lacks {expected:?}");
    }
    assert!(!text.contains(['\n', '\x1b']) && text.len() < 1000, "{case}: {text:?}");
    assert_eq!(error.code(), api::code::Code::InvalidArgument, "{case}: {text}");
    sandbox.check_nothing_is_left(case);
    sandbox.check_canary(case);
}

#[test]
fn documents_mean_one_thing_or_are_refused() {
    let sandbox = Sandbox::new();
    let parts = Parts::new();
    let (layer, manifest) = (descriptor(PLAIN, &parts.layer), parts.manifest.as_bytes());
    let entry = descriptor(MANIFEST, manifest);
    let hex = Digest::of(manifest).hex().to_owned();
    let with_digest =
        |digest: &str| archive(&index_of(&entry.replace(&format!("sha256:{hex}"), digest)), &[]);
    let spaces = " ".repeat(5 << 20);
    let large = format!("{}{spaces}", parts.manifest);
    // An index whose blob is an index that lists itself: that can only be with a wrong name.
    let itself = index_of(&format!(r#"{{"mediaType":"{INDEX}","digest":"sha256:{hex}","size":{}}}"#, 183));
    let cycle =
        Tarball::new().file("index.json", &itself).file(format!("blobs/sha256/{hex}"), &itself).finish();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("no JSON", archive("manifests", &[]), &["index.json", "JSON"]),
        ("binary", archive("\0\0\0", &[]), &["index.json", "JSON"]),
        (
            "repeated keys",
            archive(&index_of(&entry).replacen('{', r#"{"manifests":[],"#, 1), &[]),
            &["duplicate"],
        ),
        (
            "an index of five megabytes",
            archive(&format!("{}{spaces}", index_of(&entry)), &[]),
            &["index.json", "larger than a document"],
        ),
        (
            "a manifest of five megabytes",
            archive(&index_of(&descriptor(MANIFEST, large.as_bytes())), &[large.as_bytes()]),
            &["too many for a document"],
        ),
        (
            "an index of 4097",
            archive(&index_of(&vec![entry.as_str(); 4097].join(",")), &[]),
            &["4097 entries"],
        ),
        (
            "a manifest of 4097 layers",
            parts.changed(&layer, &vec![layer.as_str(); 4097].join(",")),
            &["4097 entries"],
        ),
        ("schema 1", parts.changed("\"schemaVersion\":2", "\"schemaVersion\":1"), &["schema version 1"]),
        (
            "an index that is called a manifest",
            archive(&index_of(&descriptor(MANIFEST, itself.as_bytes())), &[itself.as_bytes()]),
            &["announced"],
        ),
        (
            "a manifest that is called an index",
            archive(&index_of(&descriptor(INDEX, manifest)), &[manifest]),
            &["announced"],
        ),
        (
            "a manifest that calls itself an index",
            parts.changed("{", &format!(r#"{{"mediaType":"{INDEX}","#)),
            &["announced"],
        ),
        ("both", parts.changed("{", r#"{"manifests":[],"#), &["both"]),
        ("no layers", parts.changed(&layer, ""), &["0 layers", "lists 1"]),
        ("a layer too many", parts.changed(&layer, &format!("{layer},{layer}")), &["2 layers", "lists 1"]),
        (
            "a layer of negative size",
            parts.changed(&layer, &layer.replace("\"size\":", "\"size\":-")),
            &["JSON"],
        ),
        ("digest with upper case", with_digest(&format!("sha256:{}", hex.to_uppercase())), &["lower-case"]),
        ("short digest", with_digest("sha256:00"), &["64 lower-case"]),
        ("unknown algorithm", with_digest(&format!("md5:{hex}")), &["unknown algorithm"]),
        ("no algorithm", with_digest(&hex), &["no algorithm"]),
        ("digest that climbs", with_digest(&format!("sha256:{hex}/../x")), &["64 lower-case"]),
        ("digest that is a path", with_digest("sha256:../../../../../etc/passwd"), &["64 lower-case"]),
        ("algorithm that is a path", with_digest(&format!("../../sha256:{hex}")), &["unknown algorithm"]),
        ("an index that lists itself", cycle, &["is not what its name says"]),
        ("five levels", nested(5), &["nested too deeply"]),
        ("thousands of levels", nested(3000), &["nested too deeply"]),
        (
            "configuration that is none",
            Parts { config: b"[]".to_vec(), ..Parts::new() }.archive(),
            &["is missing"],
        ),
    ];
    // It is not unpacked here, which would find that out, too.
    let empty = String::from_utf8(config(&[], "")).unwrap();
    let empty = empty.replace(&oci::platform::Platform::host().architecture, "z80").into_bytes();
    let manifest = format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, descriptor(CONFIG, &empty));
    let foreign = Parts { config: empty, manifest, ..Parts::new() }.archive();
    refused(&sandbox, "nothing, for another machine", &foreign, &["the image has no layers"]);
    for (case, archive, texts) in cases {
        refused(&sandbox, case, &archive, texts);
    }
    for (case, archive) in [("as it should be", parts.archive()), ("four levels", nested(4))] {
        sandbox.load(&archive).unwrap_or_else(|error| panic!("{case}: {}", error.chain()));
    }
    // Also if what it contains is here already.
    let encrypted = parts.changed(PLAIN, &format!("{PLAIN}+encrypted"));
    refused(&sandbox, "a layer that is encrypted", &encrypted, &["layer 1/1", "+encrypted"]);
}

#[test]
fn an_index_that_names_the_same_a_million_times_is_read_once() {
    const TIMES: usize = 200;
    let sandbox = Sandbox::new();
    let parts = Parts::new();
    let mut documents = vec![parts.manifest.clone()];
    for level in 0..3 {
        let kind = if level == 0 { MANIFEST } else { INDEX };
        let entry = descriptor(kind, documents[level].as_bytes());
        documents.push(index_of(&vec![entry.as_str(); TIMES].join(",")));
    }
    let top = index_of(&descriptor(INDEX, documents[3].as_bytes()));
    let mut blobs: Vec<&[u8]> = documents.iter().map(String::as_bytes).collect();
    blobs.extend([parts.config.as_slice(), &parts.layer]);
    let loaded = sandbox.load(&archive(&top, &blobs)).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(loaded[0].id, Digest::of(&parts.config));
    let id = loaded[0].id.to_string();
    let saving = sandbox.images.save(&[NAMESPACE.to_owned()], &[id], None).unwrap();
    assert_eq!(saving.ids(), [Digest::of(&parts.config)]);
}

#[test]
fn a_document_of_gigabytes_is_refused_before_it_is_written() {
    const SIZE: usize = 2 << 30;
    const FRAME: usize = 64 << 20;
    let sandbox = Sandbox::new();
    for name in ["index.json", "manifest.json"] {
        let header = Header { size: Some(SIZE as u64), ..Header::new(b'0', name) }.block(0);
        let archive = [zstd(&header), zstd(&vec![b' '; FRAME]).repeat(SIZE / FRAME)].concat();
        refused(&sandbox, name, &archive, &[name, "larger than a document may be"]);
    }
}

#[test]
fn places_that_a_manifest_names_are_not_asked() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let parts = Parts::new();
    let layer = descriptor(PLAIN, &parts.layer);
    let place = format!(r#"{{"urls":["http://{}/layer"],"#, listener.local_addr().unwrap());
    let manifest = parts.manifest.replace(&layer, &layer.replacen('{', &place, 1));
    let manifest = manifest.as_bytes();
    let missing = archive(&index_of(&descriptor(MANIFEST, manifest)), &[manifest, &parts.config]);
    refused(&sandbox, "a layer elsewhere", &missing, &["is missing in the archive"]);
    assert!(listener.accept().is_err(), "somebody asked the manifest's place");
}
