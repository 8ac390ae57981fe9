//! Capabilities of the calling thread as bit masks: capabilities(7). Bit `n` is the kernel's capability number `n`.

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::syscall::Result;

/// Room for the kernel's capability numbers: the interface has 64 bits.
const MAX_CAPABILITIES: u32 = 64;

/// The sets that a process is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// What this thread may grant to others: permitted, and still in its bounding set.
pub fn grantable() -> Result<u64> {
    let permitted = rustix::thread::capabilities(None)?.permitted.bits();
    let is_bounded = |bit: &u64| {
        rustix::thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(*bit)).unwrap_or(false)
    };
    Ok(bits(permitted).filter(is_bounded).fold(0, |mask, bit| mask | bit))
}

/// Takes everything but `keep` out of the bounding set. Allocates nothing.
pub fn bound(keep: u64) -> Result<()> {
    for bit in bits(!keep) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            // Beyond the last capability that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Sets all four sets of this thread. Allocates nothing.
pub fn set(sets: Sets) -> Result<()> {
    let kernel_sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, kernel_sets)?;
    rustix::thread::clear_ambient_capability_set()?;
    for bit in bits(sets.ambient) {
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(bit), true)?;
    }
    Ok(())
}

/// The single bits of a mask, lowest first.
fn bits(mask: u64) -> impl Iterator<Item = u64> {
    (0..MAX_CAPABILITIES).map(|number| 1u64 << number).filter(move |bit| mask & bit != 0)
}
