//! A tar writer that writes whatever it is told, lies included; and small image archives made with it.

use oci::digest::Digest;

/// An archive in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tarball(pub(crate) Vec<u8>);

/// The fields of one header.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// The length of the content, unless the header lies.
    pub(crate) size: Option<u64>,
    pub(crate) mtime: u64,
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) is_gnu: bool,
}

impl Header {
    pub(crate) fn new(kind: u8, name: impl AsRef<[u8]>) -> Header {
        Header {
            name: name.as_ref().to_vec(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: None,
            mtime: 1_500_000_000,
            link: Vec::new(),
            device: (0, 0),
            is_gnu: false,
        }
    }

    /// The block, with its checksum.
    pub(crate) fn block(&self, length: u64) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &number(self.uid));
        put(116, &number(self.gid));
        put(124, format!("{:011o}\0", self.size.unwrap_or(length)).as_bytes());
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, if self.is_gnu { b"ustar  \0" } else { b"ustar\x0000" });
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        seal(&mut block);
        block
    }
}

/// Octal, or base 256 where that is too short.
fn number(value: u64) -> [u8; 8] {
    let mut field = [0; 8];
    if value < 0o10_000_000 {
        field.copy_from_slice(format!("{value:07o}\0").as_bytes());
    } else {
        field.copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    }
    field
}

/// Sets a header's checksum.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tarball {
    pub(crate) fn new() -> Tarball {
        Tarball::default()
    }

    pub(crate) fn add(mut self, header: &Header, content: &[u8]) -> Tarball {
        self.0.extend(header.block(content.len() as u64));
        self.content(content)
    }

    /// Raw content, filled up to a block.
    pub(crate) fn content(mut self, content: &[u8]) -> Tarball {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: &str) -> Tarball {
        self.add(&Header::new(b'0', name), content.as_bytes())
    }

    pub(crate) fn directory(self, name: impl AsRef<[u8]>) -> Tarball {
        self.add(&Header::new(b'5', name), b"")
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tarball {
        self.add(&Header { link: target.as_ref().to_vec(), ..Header::new(b'2', name) }, b"")
    }

    pub(crate) fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tarball {
        self.add(&Header { link: target.as_ref().to_vec(), ..Header::new(b'1', name) }, b"")
    }

    pub(crate) fn device(self, kind: u8, name: impl AsRef<[u8]>, device: (u32, u32)) -> Tarball {
        self.add(&Header { device, ..Header::new(kind, name) }, b"")
    }

    /// A pax header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tarball {
        self.extended(b'x', records)
    }

    pub(crate) fn extended(self, kind: u8, records: &[(&str, &[u8])]) -> Tarball {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend(format!("{length} {key}=").as_bytes());
            body.extend(*value);
            body.push(b'\n');
        }
        self.add(&Header::new(kind, "pax"), &body)
    }

    /// A GNU long name (`L`) or link (`K`) for the next entry.
    pub(crate) fn long(self, kind: u8, name: impl AsRef<[u8]>) -> Tarball {
        let mut bytes = name.as_ref().to_vec();
        bytes.push(0);
        self.add(&Header { is_gnu: true, ..Header::new(kind, "././@LongLink") }, &bytes)
    }

    /// The archive with its end mark.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// An image configuration for these layers.
pub(crate) fn config(diff_ids: &[Digest], extra: &str) -> Vec<u8> {
    let platform = oci::platform::Platform::host();
    let diff_ids: Vec<String> = diff_ids.iter().map(|digest| format!("\"{digest}\"")).collect();
    format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Cmd":["x"]}},{extra}"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        platform.architecture,
        diff_ids.join(",")
    )
    .into_bytes()
}

/// A docker archive of one image with these layers, each a plain tar.
pub(crate) fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = config(&diff_ids, "");
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let mut archive = Tarball::new().add(&Header::new(b'0', &config_name), &config);
    let mut names = Vec::new();
    for (layer, digest) in layers.iter().zip(&diff_ids) {
        let member = format!("{}/layer.tar", digest.hex());
        if !names.contains(&format!("\"{member}\"")) {
            archive = archive.add(&Header::new(b'0', &member), layer);
        }
        names.push(format!("\"{member}\""));
    }
    let manifest =
        format!(r#"[{{"Config":"{config_name}","RepoTags":["{name}"],"Layers":[{}]}}]"#, names.join(","));
    archive.file("manifest.json", &manifest).finish()
}

/// What may be changed in an OCI archive before it is written.
pub(crate) struct Layout {
    /// Member name and bytes.
    pub(crate) members: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// An OCI layout of one image; each layer is a blob with its media type and the digest of its plain tar.
    pub(crate) fn new(name: &str, layers: &[(Vec<u8>, &str, Digest)]) -> Layout {
        Layout::with_manifest(name, layers, &|manifest| manifest)
    }

    /// As [`Layout::new`], with another manifest than the right one.
    pub(crate) fn with_manifest(
        name: &str,
        layers: &[(Vec<u8>, &str, Digest)],
        change: &dyn Fn(String) -> String,
    ) -> Layout {
        let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.to_vec());
        let descriptor = |kind: &str, bytes: &[u8]| {
            format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, Digest::of(bytes), bytes.len())
        };
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, _, diff_id)| diff_id.clone()).collect();
        let config = config(&diff_ids, "");
        let layer_list: Vec<String> = layers.iter().map(|(bytes, kind, _)| descriptor(kind, bytes)).collect();
        let manifest = change(format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &config),
            layer_list.join(",")
        ));
        let entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        let annotations = format!(r#"{{"annotations":{{"io.containerd.image.name":"{name}"}},"#);
        let index =
            format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry.replacen('{', &annotations, 1));
        let mut members = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.into_bytes()),
            blob(manifest.as_bytes()),
            blob(&config),
        ];
        members.extend(layers.iter().map(|(bytes, _, _)| blob(bytes)));
        Layout { members }
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut archive = Tarball::new();
        for (name, bytes) in &self.members {
            archive = archive.add(&Header::new(b'0', name), bytes);
        }
        archive.finish()
    }

    pub(crate) fn write(&self, folder: &std::path::Path) {
        for (name, bytes) in &self.members {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at(bytes, flate2::Compression::fast())
}

pub(crate) fn smallest_gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at(bytes, flate2::Compression::best())
}

fn gzip_at(bytes: &[u8], level: flate2::Compression) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
