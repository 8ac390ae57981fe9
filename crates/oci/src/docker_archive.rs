//! `manifest.json` of the archives that `docker save` writes since 1.10: which members make which image.
//!
//! ```json
//! [{"Config": "<hex>.json", "RepoTags": ["busybox:latest"], "Layers": ["<hex>/layer.tar"]}]
//! ```

use serde::{Deserialize, Serialize};

use crate::manifest::{MAX_DOCUMENT_SIZE, MAX_ENTRIES, null_as_default};

/// One image of an archive. Members are named relative to the archive; the names are not checked here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedImage {
    pub config: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub repo_tags: Vec<String>,
    /// Lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<String>,
}

/// Why a document is not such a list.
#[derive(Debug, thiserror::Error)]
pub enum DockerArchiveError {
    #[error("it is not valid JSON of its type")]
    Json(#[source] serde_json::Error),
    #[error("it lists no images")]
    NoImages,
    #[error("it has {0} bytes, more than {MAX_DOCUMENT_SIZE}")]
    TooLarge(usize),
    #[error("it lists more than {MAX_ENTRIES} images or layers")]
    TooManyEntries,
}

/// Parses the document; there is at least one image.
pub fn parse(bytes: &[u8]) -> Result<Vec<SavedImage>, DockerArchiveError> {
    if bytes.len() > MAX_DOCUMENT_SIZE {
        return Err(DockerArchiveError::TooLarge(bytes.len()));
    }
    let images: Vec<SavedImage> = serde_json::from_slice(bytes).map_err(DockerArchiveError::Json)?;
    if images.is_empty() {
        return Err(DockerArchiveError::NoImages);
    }
    let is_long =
        |image: &SavedImage| image.layers.len() > MAX_ENTRIES || image.repo_tags.len() > MAX_ENTRIES;
    if images.len() > MAX_ENTRIES || images.iter().any(is_long) {
        return Err(DockerArchiveError::TooManyEntries);
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn images_are_listed() {
        let images = parse(
            br#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]},{"Config":"d","Parent":"x"}]"#,
        )
        .unwrap();
        assert_eq!((images[0].layers.len(), images[0].repo_tags.len()), (1, 0));
        assert_eq!(images[1].config, "d");
    }

    #[test]
    fn wrong_documents_are_refused() {
        let many = format!("[{}]", vec![r#"{"Config":"c"}"#; 5000].join(","));
        for json in
            ["", "{}", "[]", "[{}]", r#"[{"Config":1}]"#, r#"[{"Config":"a","Config":"b"}]"#, many.as_str()]
        {
            assert!(parse(json.as_bytes()).is_err(), "{}", &json[..json.len().min(50)]);
        }
    }
}
