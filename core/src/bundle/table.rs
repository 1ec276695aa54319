//! The file as a table of sections: what is where, and whether it arrived whole.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::Section;
use crate::{
    checksum::checksum,
    error::{Error, ErrorKind, Quoted, Result, bail},
    wire::{self, Wire},
};

const MAGIC: &[u8; 8] = b"TIERCAST";
/// The version of the layout that this build writes and reads.
pub const FORMAT: u32 = 4;
const HEAD: usize = 16;
const ENTRY: usize = 40;
const NAME: usize = 16;
const ALIGN: usize = 16;
const MAX_SECTIONS: usize = 64;

/// The sections of a file whose check sums fit.
pub(crate) struct Table<'b> {
    entries: Vec<(&'b str, &'b [u8])>,
}

impl<'b> Table<'b> {
    pub(crate) fn parse(bytes: &'b [u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            if MAGIC.starts_with(bytes) {
                bail!(BundleTruncated, "the bundle ends after {} bytes; fetch it again", bytes.len());
            }
            bail!(
                NotABundle,
                "the bytes do not begin like a bundle; give a .tcb file written by `tiercast train`"
            );
        }
        let (Some(version), Some(count)) = (u32_at(bytes, 8), u32_at(bytes, 12)) else {
            bail!(BundleTruncated, "the bundle ends after {} bytes; fetch it again", bytes.len());
        };
        if version != FORMAT {
            bail!(
                BundleVersion,
                "the bundle has format {version}; this build reads {FORMAT}; update tiercast or train again"
            );
        }
        let count = count as usize;
        if count > MAX_SECTIONS {
            bail!(NotABundle, "the bundle claims {count} sections; at most {MAX_SECTIONS}");
        }
        let entries = (0..count).map(|i| entry(bytes, HEAD + i * ENTRY)).collect::<Result<_>>()?;
        Ok(Self { entries })
    }

    pub(crate) fn find(&self, name: &str) -> Result<&'b [u8]> {
        match self.entries.iter().find(|(known, _)| *known == name) {
            Some((_, content)) => Ok(content),
            None => bail!(BundleSection, "the bundle has no section {name}; train again"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<String> {
        core::str::from_utf8(self.find(name)?).map(String::from).map_err(|e| unreadable(name, &e))
    }

    pub(crate) fn value<T: Wire>(&self, name: &str) -> Result<T> {
        wire::from_bytes(self.find(name)?).ok_or_else(|| unreadable(name, &"it is not what its name says"))
    }

    pub(crate) fn sections(&self) -> Vec<Section> {
        let section = |(name, content): &(&str, &[u8])| Section {
            name: (*name).to_string(),
            length: content.len(),
            checksum: alloc::format!("{:016x}", checksum(content)),
        };
        self.entries.iter().map(section).collect()
    }
}

/// Reads one line of the table and checks the section it names.
fn entry(bytes: &[u8], at: usize) -> Result<(&str, &[u8])> {
    let truncated = || Error::new(ErrorKind::BundleTruncated, "the bundle ends early; fetch it again");
    let line = bytes.get(at..at + ENTRY).ok_or_else(truncated)?;
    let (name, rest) = line.split_at(NAME);
    let (place, sum) = rest.split_at(16);
    let padding = name.iter().position(|b| *b == 0).unwrap_or(NAME);
    let Some(name) = name.get(..padding).and_then(|name| core::str::from_utf8(name).ok()) else {
        bail!(NotABundle, "the bundle's table has a section without a readable name");
    };
    let (offset, length) = place.split_at(8);
    let range = usize_of(offset).and_then(|from| Some(from..from.checked_add(usize_of(length)?)?));
    let content = range.and_then(|range| bytes.get(range)).ok_or_else(truncated)?;
    if checksum(content).to_le_bytes() != sum {
        bail!(
            BundleHash,
            "section {} does not have the check sum that the bundle states; fetch it again",
            Quoted(name)
        );
    }
    Ok((name, content))
}

/// Writes sections as one file.
pub(crate) fn assemble(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC.as_slice());
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend((sections.len() as u32).to_le_bytes());
    let mut offset = (HEAD + sections.len() * ENTRY).next_multiple_of(ALIGN);
    for (name, content) in sections {
        let mut padded = [0; NAME];
        padded.iter_mut().zip(name.bytes()).for_each(|(slot, byte)| *slot = byte);
        bytes.extend(padded);
        bytes.extend((offset as u64).to_le_bytes());
        bytes.extend((content.len() as u64).to_le_bytes());
        bytes.extend(checksum(content).to_le_bytes());
        offset = (offset + content.len()).next_multiple_of(ALIGN);
    }
    for (_, content) in sections {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes.extend(content);
    }
    bytes
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::InvalidSpec, alloc::format!("cannot be written as JSON: {e}")))
}

pub(crate) fn unreadable(name: &str, reason: &dyn core::fmt::Display) -> Error {
    Error::new(
        ErrorKind::BundleSection,
        alloc::format!("section {name} cannot be read: {reason}; train again with this version"),
    )
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn usize_of(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}
