//! Values as bytes: varints of seven bits a byte, low bits first, little-endian words, lists and texts with their length
//! before them, and the fields of a value one after the other. The layout is postcard's, without its generics, of which
//! every type compiles a copy into the browser's download.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

/// Writes to the end of its bytes.
#[derive(Debug)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A signed number with its sign in the lowest bit (zigzag), so that small ones stay short.
    pub(crate) fn signed(&mut self, number: i64) {
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }
}

/// Reads from the front of its bytes; none when these are not what is asked for.
#[derive(Debug)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl Reader<'_> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    pub(crate) fn word(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
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

    pub(crate) fn signed(&mut self) -> Option<i64> {
        self.varint().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The length of a list whose elements have at least `each` bytes, all of them still to come.
    pub(crate) fn length(&mut self, each: usize) -> Option<usize> {
        let length = usize::try_from(self.varint()?).ok()?;
        (length <= self.0.len() / each).then_some(length)
    }
}

/// A value that can be written and read back.
pub(crate) trait Wire: Sized {
    fn write(&self, writer: &mut Writer);
    /// None when the bytes are not such a value.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Implements [`Wire`] for a struct: its fields in this order.
macro_rules! fields {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn write(&self, writer: &mut $crate::wire::Writer) {
                $($crate::wire::Wire::write(&self.$field, writer);)*
            }

            fn read(reader: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::wire::Wire::read(reader)?),* })
            }
        }
    };
}

/// Implements [`Wire`] for an enum: the number of the variant in this list as one byte, then what it holds.
macro_rules! variants {
    ($name:ident { $($(#[$set:meta])* $variant:ident $(($item:ident))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn write(&self, writer: &mut $crate::wire::Writer) {
                let mut number = 0_u8;
                $(
                    $(#[$set])*
                    if let Self::$variant $(($item))? $({ $($field),* })? = self {
                        writer.bytes(&[number]);
                        $($crate::wire::Wire::write($item, writer);)?
                        $($($crate::wire::Wire::write($field, writer);)*)?
                    }
                    number += 1;
                )*
                let _ = number;
            }

            fn read(reader: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                let number = reader.byte()?;
                let mut at = 0_u8;
                $(
                    $(#[$set])*
                    if number == at {
                        return Some(Self::$variant
                            $(({ let $item = $crate::wire::Wire::read(reader)?; $item }))?
                            $({ $($field: $crate::wire::Wire::read(reader)?),* })?);
                    }
                    at += 1;
                )*
                let _ = at;
                None
            }
        }
    };
}

pub(crate) use fields;
pub(crate) use variants;

/// The bytes of a value.
pub(crate) fn to_bytes<T: Wire>(value: &T) -> Vec<u8> {
    let mut writer = Writer(Vec::new());
    value.write(&mut writer);
    writer.0
}

/// The value of all these bytes; none when they are not one, or more than one.
pub(crate) fn from_bytes<T: Wire>(bytes: &[u8]) -> Option<T> {
    let mut reader = Reader(bytes);
    T::read(&mut reader).filter(|_| reader.0.is_empty())
}

impl Wire for u64 {
    fn write(&self, writer: &mut Writer) {
        writer.varint(*self);
    }

    // One copy of the loop, called from everywhere.
    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.varint()
    }
}

impl Wire for u32 {
    fn write(&self, writer: &mut Writer) {
        writer.varint(u64::from(*self));
    }

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(u64::read(reader)?).ok()
    }
}

impl Wire for u16 {
    fn write(&self, writer: &mut Writer) {
        writer.varint(u64::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(u64::read(reader)?).ok()
    }
}

impl Wire for i64 {
    fn write(&self, writer: &mut Writer) {
        writer.signed(*self);
    }

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.signed()
    }
}

impl Wire for i32 {
    fn write(&self, writer: &mut Writer) {
        writer.signed(i64::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(i64::read(reader)?).ok()
    }
}

impl Wire for u8 {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&[*self]);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.byte()
    }
}

impl Wire for bool {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&[u8::from(*self)]);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.byte().filter(|byte| *byte < 2).map(|byte| byte == 1)
    }
}

impl Wire for f32 {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.word().map(Self::from_bits)
    }
}

impl Wire for f64 {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.bytes().map(Self::from_le_bytes)
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.bytes()
    }
}

impl Wire for [u32; 2] {
    fn write(&self, writer: &mut Writer) {
        self.iter().for_each(|number| number.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some([u32::read(reader)?, u32::read(reader)?])
    }
}

impl Wire for String {
    fn write(&self, writer: &mut Writer) {
        writer.varint(self.len() as u64);
        writer.bytes(self.as_bytes());
    }

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let length = reader.length(1)?;
        let (text, rest) = reader.0.split_at_checked(length)?;
        reader.0 = rest;
        core::str::from_utf8(text).ok().map(Self::from)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.varint(self.len() as u64);
        self.iter().for_each(|item| item.write(writer));
    }

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let length = reader.length(1)?;
        // An item may take more room than the one byte it has at least: what is reserved is bounded by what was sent.
        let mut items = Self::with_capacity(length.min(reader.0.len() / size_of::<T>().max(1)));
        for _ in 0..length {
            items.push(T::read(reader)?);
        }
        Some(items)
    }
}

impl<T: Wire, const N: usize> Wire for [Vec<T>; N] {
    fn write(&self, writer: &mut Writer) {
        self.iter().for_each(|item| item.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut items = [const { Vec::new() }; N];
        for item in &mut items {
            *item = Vec::read(reader)?;
        }
        Some(items)
    }
}

/// Puts a number under a name; none when there is one already. One copy of it, called from everywhere.
#[inline(never)]
pub(crate) fn put(map: &mut BTreeMap<String, f32>, name: String, number: f32) -> Option<()> {
    map.insert(name, number).is_none().then_some(())
}

impl Wire for BTreeMap<String, f32> {
    fn write(&self, writer: &mut Writer) {
        writer.varint(self.len() as u64);
        for (name, number) in self {
            name.write(writer);
            number.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let length = reader.length(5)?;
        let mut map = Self::new();
        for _ in 0..length {
            put(&mut map, String::read(reader)?, f32::read(reader)?)?;
        }
        Some(map)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, writer: &mut Writer) {
        self.is_some().write(writer);
        if let Some(item) = self {
            item.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::read(reader)? { Some(T::read(reader)?) } else { None })
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
    fn values_come_back_and_are_laid_out_as_postcard_does() {
        let value = (String::from("über"), alloc::vec![Some(1.5_f32), None], [7_u32, 1 << 20]);
        let mut out = Writer(Vec::new());
        value.0.write(&mut out);
        value.1.write(&mut out);
        value.2.write(&mut out);
        assert_eq!(out.0, postcard::to_allocvec(&value).unwrap());
        let mut from = Reader(&out.0);
        assert_eq!(Wire::read(&mut from), Some(value.0));
        assert_eq!(Wire::read(&mut from), Some(value.1));
        assert_eq!(Wire::read(&mut from), Some(value.2));
        assert_eq!(from_bytes::<bool>(&[2]), None);
        assert_eq!(from_bytes::<bool>(&[1, 0]), None);
        assert_eq!(from_bytes::<String>(&[1, 0xff]), None);
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
