//! How an image is stored, as nerdctl tells it: a line for each platform that is here, with what its content and its files take.

use std::sync::Arc;

use api::docker::image::{ImageSummary, ManifestSummary};
use oci::reference::Reference;

use super::ls;
use crate::size;
use crate::template::{Row, text};

/// What stands for what the daemon does not tell.
const UNKNOWN: &str = "N/A";

/// The fields of each name of an image, for each of its platforms. `is_binary`: sizes are in powers of 1024.
pub(super) fn rows(image: &ImageSummary, is_short: bool, is_binary: bool) -> Vec<Row> {
    let manifests = image.manifests.as_deref().unwrap_or_default();
    let here: Vec<&ManifestSummary> =
        manifests.iter().filter(|manifest| manifest.available && manifest.kind == "image").collect();
    // A daemon that keeps no manifests has one platform.
    let platforms = if here.is_empty() { vec![None] } else { here.into_iter().map(Some).collect() };
    let names = ls::names(image).into_iter();
    names
        .flat_map(|name| platforms.iter().map(move |manifest| (name, *manifest)))
        .map(|(name, manifest)| {
            let mut row = ls::row(image, name, is_short);
            row.extend(
                fields(image, name, manifest, is_binary).map(|(key, field)| (Arc::from(key), text(field))),
            );
            row
        })
        .collect()
}

fn fields(
    image: &ImageSummary,
    (repository, tag, digest): (&str, &str, &str),
    manifest: Option<&ManifestSummary>,
    is_binary: bool,
) -> [(&'static str, String); 4] {
    let known = |bytes: i64| if is_binary { size::spaced(bytes) } else { size::decimal(bytes) };
    let data = manifest.and_then(|manifest| manifest.image_data.as_ref());
    let name = match (repository, tag) {
        (ls::NONE, _) => ls::NONE.to_owned(),
        (_, ls::NONE) => whole(&format!("{repository}@{digest}")),
        _ => whole(&format!("{repository}:{tag}")),
    };
    [
        ("BlobSize", manifest.map_or_else(|| UNKNOWN.into(), |manifest| known(manifest.size.content))),
        ("Name", name),
        ("Platform", data.map_or_else(|| UNKNOWN.into(), |data| platform(&data.platform))),
        ("Size", known(data.map_or(image.size, |data| data.size.unpacked))),
    ]
}

/// A name with its registry, as containerd keeps it.
pub(crate) fn whole(name: &str) -> String {
    Reference::parse_normalized(name).map_or_else(|_| name.to_owned(), |reference| reference.to_string())
}

fn platform(platform: &api::docker::image::DistributionPlatform) -> String {
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let known: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    known.join("/")
}

#[cfg(test)]
mod tests {
    use super::rows;
    use crate::template::{Format, Listing};
    use api::docker::image::ImageSummary;
    use serde_json::json;

    fn list(is_binary: bool) -> String {
        let images: Vec<ImageSummary> = serde_json::from_value(json!([
            {"Id": "sha256:01", "Size": 9, "RepoTags": ["host:5000/a:1", "c:latest"], "Manifests": [
                {"Kind": "image", "Available": true, "Size": {"Content": 1_048_576},
                 "ImageData": {"Platform": {"os": "linux", "architecture": "arm", "variant": "v7"}, "Size": {"Unpacked": 2_097_152}}},
                {"Kind": "image", "Available": true, "Size": {"Content": 5},
                 "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Size": {"Unpacked": 6}}},
                {"Kind": "image", "Available": false}, {"Kind": "attestation", "Available": true}]},
            {"Id": "sha256:02", "Size": 9, "RepoDigests": ["d@sha256:8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b"]},
        ]))
        .unwrap();
        let rows = images.iter().flat_map(|image| rows(image, true, is_binary)).collect();
        let format = Format::parse("{{.Name}} {{.Platform}} {{.Size}} {{.BlobSize}}");
        Listing { columns: "", titles: &[], rows }.render(&format).unwrap()
    }

    #[test]
    fn each_platform_that_is_here_has_a_line() {
        assert_eq!(
            list(true),
            "host:5000/a:1 linux/arm/v7 2.0 MiB 1.0 MiB\n\
             host:5000/a:1 linux/amd64 6.0 B 5.0 B\n\
             docker.io/library/c:latest linux/arm/v7 2.0 MiB 1.0 MiB\n\
             docker.io/library/c:latest linux/amd64 6.0 B 5.0 B\n\
             docker.io/library/d@sha256:8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b5b0b3d7a8a4b N/A 9.0 B N/A\n"
        );
        assert!(list(false).starts_with("host:5000/a:1 linux/arm/v7 2.1MB 1.05MB\n"));
    }
}
