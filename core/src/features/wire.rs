//! The numbers of a snapshot as bytes: varints of seven bits a byte, low bits first, and little-endian words.

use alloc::vec::Vec;

/// Writes to the end of its bytes.
#[derive(Debug)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A signed number with its sign in the lowest bit (zigzag), so that small ones stay short.
    pub(super) fn signed(&mut self, number: i64) {
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }
}

/// Reads from the front of its bytes; none when these are not what is asked for.
#[derive(Debug)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl Reader<'_> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    pub(super) fn word(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // Beyond 64 bits, or a last byte that adds nothing: not as it was written.
                let fits = shift < 63 || byte == 1;
                return (fits && (byte != 0 || shift == 0)).then_some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.varint().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The length of a list whose elements have at least `each` bytes, all of them still to come.
    pub(super) fn length(&mut self, each: usize) -> Option<usize> {
        let length = usize::try_from(self.varint()?).ok()?;
        (length <= self.0.len() / each).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) | 1]).chain([u64::MAX]);
        for number in edges {
            let mut out = Writer(Vec::new());
            out.varint(number);
            out.signed(number as i64);
            assert_eq!(out.0, postcard::to_allocvec(&(number, number as i64)).unwrap());
            let mut from = Reader(&out.0);
            assert_eq!((from.varint(), from.signed()), (Some(number), Some(number as i64)));
            assert!(from.0.is_empty());
        }
    }

    #[test]
    fn what_is_not_a_number_is_none() {
        let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        let endless = [0x80; 11];
        for bytes in [&[][..], &[0x80], &[0x80, 0], &long, &endless] {
            assert_eq!(Reader(bytes).varint(), None, "{bytes:?}");
        }
        assert_eq!(Reader(&[3, 0, 0]).length(1), None);
        assert_eq!(Reader(&[3, 0, 0, 0]).length(1), Some(3));
        assert_eq!(Reader(&[1, 0]).length(2), None);
    }
}
