//! Pure formats of the Open Container Initiative: no I/O, no policy.
//!
//! Each module is one document or one name of the specifications, parsed once into a type whose existence
//! proves that it is valid. Nothing here opens a file. Every error of this crate means that the input is
//! wrong: callers in higher layers map all of them to `InvalidArgument`.
#![forbid(unsafe_code)]

pub mod cdi;
pub mod descriptor;
pub mod digest;
pub mod docker_archive;
pub mod image_config;
pub mod manifest;
pub mod mount;
pub mod platform;
pub mod reference;
pub mod runtime_spec;

use digest::Digest;

/// The identity of a stack of layers: what a snapshot of those layers, applied in order, is named by.
///
/// The image specification defines it recursively over the digests of the uncompressed layers:
/// `ChainID(L0) = DiffID(L0)`, `ChainID(L0|…|Ln) = sha256(ChainID(L0|…|Ln-1) + " " + DiffID(Ln))`.
/// `None` for no layers.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(first.clone(), |parent, layer| Digest::of(format!("{parent} {layer}").as_bytes())))
}

/// The chain ids of every prefix of a stack, lowest first: the names of its snapshots.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for layer in diff_ids {
        let next = match chain.last() {
            None => layer.clone(),
            Some(parent) => Digest::of(format!("{parent} {layer}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::{chain_id, chain_ids, digest::Digest};

    #[test]
    fn a_chain_is_the_hash_of_its_parent_and_its_layer() {
        let layers: Vec<Digest> = (0..3u8).map(|n| Digest::of(&[n])).collect();
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(&layers[..1]).as_ref(), Some(&layers[0]));
        let two = Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes());
        assert_eq!(chain_id(&layers[..2]), Some(two.clone()));
        assert_eq!(chain_id(&layers), Some(Digest::of(format!("{two} {}", layers[2]).as_bytes())));
        assert_eq!(chain_ids(&layers).last(), chain_id(&layers).as_ref());
        assert_eq!(chain_ids(&layers).len(), 3);
    }
}
