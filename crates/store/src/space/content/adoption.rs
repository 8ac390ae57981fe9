//! What the engine stored for images of a namespace becomes content of the namespace.
//!
//! The engine holds its blobs by edges, and has no rows of its own here; they are made when a client first asks for what is not
//! there, with the labels that containerd's clients would have written when they pulled the image. A client may delete what the
//! engine needs: then it is *hidden* from the namespace, until somebody writes it again.

use std::collections::BTreeMap;

use oci::digest::Digest;
use oci::image_config::ImageConfig;
use oci::manifest::{Document, MAX_DOCUMENT_SIZE, Manifest};

use super::{Info, fresh, insert};
use crate::db::{Commit, Tx};
use crate::error::Result;
use crate::records::Labels;
use crate::space::Space;
use crate::{Content, Store};

/// What images and containers of a namespace hold.
const HELD: &str = "WITH RECURSIVE held (digest) AS (
        SELECT digest FROM images WHERE namespace = ?1
        UNION SELECT image FROM containers WHERE namespace = ?1
        UNION SELECT child FROM edges JOIN held ON edges.parent = held.digest WHERE kind = 'blob'
    )";

/// Labels of the garbage collection: what the blob holds.
const REFERENCE: &str = "containerd.io/gc.ref.content";
const SNAPSHOT_REFERENCE: &str = "containerd.io/gc.ref.snapshot.overlayfs";
/// Label of a compressed layer: the digest of the archive in it.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Makes the rows that are missing.
pub(super) fn adopt(space: Space<'_>) -> Result<()> {
    let candidates = space.store.db.read(|tx| unknown(tx, space.namespace))?;
    let mut blobs = Vec::new();
    for digest in candidates {
        blobs.extend(space.store.content().info(&digest)?);
    }
    if blobs.is_empty() {
        return Ok(());
    }
    let mut labels = BTreeMap::new();
    for blob in &blobs {
        describe(space.store, &blob.digest, &mut labels)?;
    }
    let rows = blobs.into_iter().map(|blob| {
        let labels = labels.remove(&blob.digest).unwrap_or_default();
        fresh(blob.digest, blob.size, labels)
    });
    let rows = rows.collect::<Result<Vec<Info>>>()?;
    space.write(Commit::Ordered, move |tx, namespace| {
        // Meanwhile somebody may have removed the image, or come first.
        let still = unknown(tx, namespace)?;
        rows.iter()
            .filter(|info| still.contains(&info.digest))
            .try_for_each(|info| insert(tx, namespace, info))
    })
}

/// Notes that a client deleted it, if it would be adopted again.
pub(super) fn hide(tx: &Tx<'_>, namespace: &str, digest: &Digest) -> Result<()> {
    let sql = format!(
        "{HELD} INSERT OR IGNORE INTO space_hidden (namespace, digest) SELECT ?1, digest FROM held WHERE digest = ?2"
    );
    tx.connection.prepare_cached(&sql)?.execute([namespace, digest.as_str()])?;
    Ok(())
}

/// It has a row again.
pub(super) fn show(tx: &Tx<'_>, namespace: &str, digest: &Digest) -> Result<()> {
    let sql = "DELETE FROM space_hidden WHERE namespace = ?1 AND digest = ?2";
    tx.connection.prepare_cached(sql)?.execute([namespace, digest.as_str()])?;
    Ok(())
}

/// What is held and has no row.
fn unknown(tx: &Tx<'_>, namespace: &str) -> Result<Vec<Digest>> {
    let mut statement = tx.connection.prepare_cached(&format!(
        "{HELD} SELECT digest FROM held
         WHERE NOT EXISTS (SELECT 1 FROM space_content WHERE namespace = ?1 AND digest = held.digest)
         AND NOT EXISTS (SELECT 1 FROM space_hidden WHERE namespace = ?1 AND digest = held.digest)"
    ))?;
    let rows = statement.query_map([namespace], |row| row.get::<_, String>(0))?;
    let texts = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(texts.iter().filter_map(|text| Digest::parse(text).ok()).collect())
}

/// Adds the labels that follow from a document: its own, and those of what it names.
fn describe(store: &Store, digest: &Digest, labels: &mut BTreeMap<Digest, Labels>) -> Result<()> {
    let (is_parent, snapshot) = store.db.read(|tx| edges_of(tx, digest))?;
    // Only what holds others is a document.
    let Some(document) = is_parent.then(|| document(store.content(), digest)).flatten() else {
        return Ok(());
    };
    let own = labels.entry(digest.clone()).or_default();
    match document {
        Document::Index(index) => {
            own.extend(numbered("m", index.manifests.iter().map(|entry| &entry.digest)))
        }
        Document::Manifest(manifest) => {
            own.insert(format!("{REFERENCE}.config"), manifest.config.digest.to_string());
            own.extend(numbered("l", manifest.layers.iter().map(|layer| &layer.digest)));
            if let Some(chain_id) = snapshot {
                let config = labels.entry(manifest.config.digest.clone()).or_default();
                config.insert(SNAPSHOT_REFERENCE.into(), chain_id);
            }
            for (layer, diff_id) in diff_ids(store.content(), &manifest) {
                labels.entry(layer).or_default().insert(UNCOMPRESSED.into(), diff_id);
            }
        }
    }
    Ok(())
}

/// Whether it holds other blobs, and the snapshot that it holds.
fn edges_of(tx: &Tx<'_>, digest: &Digest) -> Result<(bool, Option<String>)> {
    let mut statement = tx.connection.prepare_cached("SELECT kind, child FROM edges WHERE parent = ?1")?;
    let rows = statement
        .query_map([digest.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let edges = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let is_parent = edges.iter().any(|(kind, _)| kind == "blob");
    Ok((is_parent, edges.into_iter().find(|(kind, _)| kind == "snapshot").map(|(_, child)| child)))
}

fn numbered<'a>(letter: &str, children: impl Iterator<Item = &'a Digest>) -> Labels {
    children
        .enumerate()
        .map(|(at, child)| (format!("{REFERENCE}.{letter}.{at}"), child.to_string()))
        .collect()
}

/// A manifest or an index; what cannot be read as one has no labels.
fn document(content: &Content, digest: &Digest) -> Option<Document> {
    let bytes = content.read_small(digest, MAX_DOCUMENT_SIZE as u64).ok()?;
    Document::parse(&bytes, "").ok()
}

/// The layers with the digests of their archives.
fn diff_ids(content: &Content, manifest: &Manifest) -> Vec<(Digest, String)> {
    let config = content.read_small(&manifest.config.digest, MAX_DOCUMENT_SIZE as u64).ok();
    let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
    let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
    let layers = manifest.layers.iter().map(|layer| layer.digest.clone());
    layers.zip(diff_ids.iter().map(Digest::to_string)).collect()
}
