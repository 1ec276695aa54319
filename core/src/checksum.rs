//! Notices damage: a sum over bytes that any change within eight of them changes.
//!
//! Not meant to stop a forger. It takes a fraction of SHA-256's time, which counts where code runs for the first time.

/// The sum of some bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    // Each step is a bijection.
    let mix = |sum: u64, word: [u8; 8]| {
        // The multiplier is MurmurHash3's.
        let sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        sum ^ (sum >> 32)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| mix(sum, *word));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
    mix(mix(sum, last), [0; 8])
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn any_damage_within_eight_bytes_changes_the_sum() {
        let bytes: [u8; 43] = core::array::from_fn(|i| (i * 37) as u8);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes;
                damaged[at] ^= 1 << bit;
                // A snapshot keeps the lower half.
                assert_ne!(checksum(&damaged) as u32, checksum(&bytes) as u32);
            }
        }
        let lengths: alloc::collections::BTreeSet<_> =
            (0..100).map(|n| checksum(&[0; 100][..n]) as u32).collect();
        assert_eq!(lengths.len(), 100);
        let sum = checksum(b"a snapshot's check sum is the same everywhere");
        assert_eq!((sum as u32).to_le_bytes(), [245, 170, 211, 162]);
    }
}
