//! What is behind an image's name: an index, its manifests, their configurations and layers, as far as they are here.

use std::fmt::Write;

use api::types::Descriptor as Target;
use oci::platform::Platform;
use serde_json::Value;

use crate::client::Client;
use crate::content;
use crate::documents::branch;
use crate::error::Error;

/// An index refers to indexes; deeper ones are no image.
const DEPTH_LIMIT: usize = 8;

/// Most documents and layers that are read: indexes in indexes may name more than anybody could follow.
const NODES_MAX: usize = 65_536;

/// One document or layer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Node {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: i64,
    /// What an index or a configuration says.
    platform: Option<Platform>,
    pub(crate) children: Vec<Node>,
    chain: Vec<String>,
    diff_ids: Vec<String>,
    text: Option<String>,
    config: Option<Value>,
}

impl Node {
    /// The names of the snapshots that the layers unpack to, lowest first.
    pub(crate) fn chain(&self) -> &[String] {
        &self.chain
    }

    /// What the layers are when they are not compressed, lowest first.
    pub(crate) fn diff_ids(&self) -> &[String] {
        &self.diff_ids
    }

    pub(crate) fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// The configuration that a manifest names.
    pub(crate) fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    fn is_manifest(&self) -> bool {
        oci::manifest::media_type::is_manifest(&self.media_type)
    }
}

/// All that is behind a name.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    root: Node,
}

impl Stock {
    /// Reads the documents behind `target`. What an index names and is not here has no children.
    pub(crate) async fn of(client: &Client, target: &Target) -> Result<Stock, Error> {
        let mut root = Node {
            media_type: target.media_type.clone(),
            digest: target.digest.clone(),
            size: target.size,
            ..Node::default()
        };
        expand(client, &mut root).await?;
        let mut nodes = root.children.len();
        // Level by level, so that there is no recursion of futures.
        for depth in 1..DEPTH_LIMIT {
            for node in at_depth(&mut root, depth) {
                match expand(client, node).await {
                    Err(error) if !error.is(tonic::Code::NotFound) => return Err(error),
                    _ => {}
                }
                nodes += node.children.len();
                if nodes > NODES_MAX {
                    let reason = format!("it leads to more than {NODES_MAX} documents and layers");
                    return Err(Error::Document { what: format!("content {}", target.digest), reason });
                }
            }
        }
        Ok(Stock { root })
    }

    /// The manifests that are here.
    pub(crate) fn manifests(&self) -> Vec<&Node> {
        let mut found = Vec::new();
        let mut stack = vec![&self.root];
        while let Some(node) = stack.pop() {
            if node.is_manifest() && !node.children.is_empty() {
                found.push(node);
            }
            stack.extend(node.children.iter().rev());
        }
        found
    }

    pub(crate) fn platforms(&self) -> Vec<Platform> {
        self.manifests().into_iter().filter_map(|node| node.platform.clone()).collect()
    }

    /// The manifest for `platform`.
    pub(crate) fn image(&self, platform: &Platform) -> Option<&Node> {
        let matches = |node: &&Node| node.platform.as_ref().is_none_or(|own| platform.matches(own));
        self.manifests().into_iter().find(matches)
    }

    /// The bytes of the index, and of the manifest for `platform` with all that it names.
    pub(crate) fn size(&self, platform: &Platform) -> i64 {
        let image = self.image(platform);
        let below: i64 =
            image.map_or(0, |image| image.size + image.children.iter().map(|child| child.size).sum::<i64>());
        if self.root.is_manifest() { below } else { self.root.size + below }
    }

    /// Draws the tree.
    pub(crate) fn draw(&self, with_content: bool, out: &mut String) {
        let mut stack = vec![(&self.root, String::new(), true)];
        while let Some((node, prefix, is_last)) = stack.pop() {
            let text = format!("{} @{} ({} bytes)", node.media_type, node.digest, node.size);
            branch(out, &prefix, is_last, &text);
            let below = format!("{prefix}{}", if is_last { "    " } else { "│   " });
            if let (true, Some(text)) = (with_content, &node.text) {
                let bar = if node.children.is_empty() { " " } else { "│" };
                for line in text.lines() {
                    let _ = writeln!(out, "{below}{bar}     {line}");
                }
            }
            let count = node.children.len();
            let children = node.children.iter().enumerate().rev();
            stack.extend(children.map(|(index, child)| (child, below.clone(), index + 1 == count)));
        }
    }
}

fn at_depth(root: &mut Node, depth: usize) -> Vec<&mut Node> {
    let mut level = vec![root];
    for _ in 0..depth {
        level = level.into_iter().flat_map(|node| node.children.iter_mut()).collect();
    }
    level
}

/// Reads a document and notes what it names.
async fn expand(client: &Client, node: &mut Node) -> Result<(), Error> {
    let is_index = oci::manifest::media_type::is_index(&node.media_type);
    if !is_index && !node.is_manifest() {
        return Ok(());
    }
    let document = parse(node, &content::document(client, &node.digest).await?)?;
    node.text = serde_json::to_string_pretty(&document).ok();
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let named = if is_index {
        list("manifests")
    } else {
        [vec![document["config"].clone()], list("layers")].concat()
    };
    node.children = named.iter().map(child).collect();
    if is_index {
        return Ok(());
    }
    let Some(config) = node.children.first_mut() else { return Ok(()) };
    let bytes = match content::document(client, &config.digest).await {
        Ok(bytes) => bytes,
        // An image of which only the manifest is here.
        Err(error) if error.is(tonic::Code::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    let document = parse(config, &bytes)?;
    config.text = serde_json::to_string_pretty(&document).ok();
    node.platform = platform(&document).or(node.platform.take());
    let diff_ids = document["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    let diff_ids: Option<Vec<_>> =
        diff_ids.iter().map(|id| oci::digest::Digest::parse(id.as_str()?).ok()).collect();
    node.config = Some(document);
    let diff_ids = diff_ids.unwrap_or_default();
    node.chain = oci::chain_ids(&diff_ids).iter().map(ToString::to_string).collect();
    node.diff_ids = diff_ids.iter().map(ToString::to_string).collect();
    Ok(())
}

fn parse(node: &Node, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Document {
        what: format!("content {}", node.digest),
        reason: error.to_string(),
    })
}

fn child(document: &Value) -> Node {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    Node {
        media_type: text("mediaType"),
        digest: text("digest"),
        size: document["size"].as_i64().unwrap_or_default(),
        platform: platform(&document["platform"]),
        ..Node::default()
    }
}

fn platform(document: &Value) -> Option<Platform> {
    let part = |name: &str| document[name].as_str().filter(|part| !part.is_empty());
    let parts = [part("os")?, part("architecture")?].into_iter().chain(part("variant"));
    Platform::parse(&parts.collect::<Vec<_>>().join("/")).ok()
}
