//! Files that appear once they are whole, and never in the place of what is read.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// The place of a file that is being written beside it, in one that ends in `.part`.
///
/// Dropped before [`Whole::appear`], it leaves nothing, and what was in its place stays.
#[derive(Debug)]
pub struct Whole {
    path: PathBuf,
    part: PathBuf,
}

impl Whole {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<(Self, File)> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
        Ok((Self { path: path.to_owned(), part }, file))
    }

    /// Puts the file in its place, once everything is written and flushed.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn appear(self) -> anyhow::Result<()> {
        fs::rename(&self.part, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // After a rename there is nothing; after an error, what is half written must not be taken for a result.
        let _ = fs::remove_file(&self.part);
    }
}

/// Writes a file at once.
///
/// # Errors
/// When it cannot be written; what was there stays.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let (whole, mut file) = Whole::create(path)?;
    std::io::Write::write_all(&mut file, bytes)
        .with_context(|| format!("cannot write {}", path.display()))?;
    whole.appear()
}

/// Refuses an output that is one of the inputs, by whatever path.
///
/// # Errors
/// When it is.
pub fn refuse_inputs<'p>(output: &Path, inputs: impl IntoIterator<Item = &'p PathBuf>) -> anyhow::Result<()> {
    let Ok(there) = fs::canonicalize(output) else { return Ok(()) };
    if inputs.into_iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == there)) {
        bail!("{} is read, so it cannot be the output; name another file", output.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write(&path, b"before").unwrap();
        let (whole, mut file) = Whole::create(&path).unwrap();
        std::io::Write::write_all(&mut file, b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(whole);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        write(&path, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(format!("{:#}", write(&folder.path().join("no/out"), b"").unwrap_err()).contains("no/out"));
    }

    #[test]
    fn an_input_by_another_path_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        fs::write(&input, "").unwrap();
        let roundabout = folder.path().join("sub/../in");
        fs::create_dir(folder.path().join("sub")).unwrap();
        let refused = refuse_inputs(&roundabout, [&input]).unwrap_err();
        assert!(refused.to_string().contains("cannot be the output"), "{refused}");
        refuse_inputs(&folder.path().join("out"), [&input]).unwrap();
    }
}
