//! What a run that is not finished has done: each fit is kept when it is done, so that a run that was stopped goes on where
//! it was.
//!
//! A fit is known again by a hash of all that it depends on: the rows as the models see them and those beyond memory, its kind, fold, settings and
//! seed, the device, and the versions of what trains. Whatever is not known again is simply trained.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{folds::Prepared, search::ledger::Head};
use crate::{
    features::store::Store,
    models::{Fitted, Kind, Params},
    whole,
};

/// The folder within that of the run; it is gone when the run is finished.
pub(super) const FOLDER: &str = "unfinished";

/// The fits of a run that is not finished.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
    head: Vec<u8>,
}

impl Unfinished {
    /// Those in the folder of a run.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn open(output: &Path, head: &Head, store: Option<&Store>) -> anyhow::Result<Self> {
        let folder = output.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let rows = store.map(Store::digest).unwrap_or_default();
        Ok(Self { folder, head: [serde_json::to_vec(head)?, rows.into_bytes()].concat() })
    }

    /// A fit that was done before; none where it was not, or its file was damaged.
    pub(super) fn find(&self, kind: Kind, split: &Prepared, params: &Params) -> Option<Fitted> {
        let bytes = fs::read(self.path(kind, split, params)).ok()?;
        postcard::from_bytes(&bytes).ok()
    }

    /// Keeps a fit.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub(super) fn keep(
        &self,
        kind: Kind,
        split: &Prepared,
        params: &Params,
        fitted: &Fitted,
    ) -> anyhow::Result<()> {
        whole::write(&self.path(kind, split, params), &postcard::to_allocvec(fitted)?)
    }

    /// Forgets all fits, once the run is whole.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    fn path(&self, kind: Kind, split: &Prepared, params: &Params) -> PathBuf {
        let hash = Sha256::new()
            .chain_update(&self.head)
            .chain_update(kind.name())
            .chain_update(split.split.fold.unwrap_or(0).to_le_bytes())
            .chain_update(params.of(kind).to_string())
            .finalize();
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let fold = split.split.fold.map_or("all".to_owned(), |fold| fold.to_string());
        self.folder.join(format!("{}-{fold}-{name}.fit", kind.name()))
    }
}
