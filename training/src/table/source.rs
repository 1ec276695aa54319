//! Where a table's rows are: a file, a folder of files, a pattern, or the same in an object store.
//!
//! A folder's parts named `column=value` are columns too, as Hive, Spark and DuckDB write them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use datafusion::{
    arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef},
    datasource::{
        file_format::{
            FileFormat, csv::CsvFormat, file_compression_type::FileCompressionType, parquet::ParquetFormat,
        },
        listing::{ListingOptions, ListingTableUrl},
    },
    prelude::SessionContext,
};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use sha2::{Digest, Sha256};
use url::Url;

use super::plain;
use crate::file_hash::FileHash;

/// A place by its path or address, as the project file or the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// A place that is named in a folder's file.
    pub fn beside(folder: &Path, name: &str) -> Self {
        match is_address(name) {
            true => Self(name.to_owned()),
            // Paths that came in as text are text.
            false => Self(folder.join(name).to_string_lossy().into_owned()),
        }
    }

    /// A place that was named on the command line.
    ///
    /// # Errors
    /// When the path is not readable text.
    pub fn named(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(
            path.to_str().with_context(|| format!("{} is not a readable path", path.display()))?.to_owned(),
        ))
    }

    /// The same place from any folder.
    ///
    /// # Errors
    /// When there is no current folder.
    pub fn absolute(&self) -> anyhow::Result<Self> {
        match is_address(&self.0) {
            true => Ok(self.clone()),
            false => Self::named(&std::path::absolute(&self.0)?),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_address(name: &str) -> bool {
    name.contains("://")
}

/// The files of a table.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
    url: ListingTableUrl,
    format: Format,
    /// The columns that the files hold.
    schema: SchemaRef,
    /// The columns that their folders' names hold.
    folders: Vec<String>,
    /// In the order of their names.
    pub files: Vec<SourceFile>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path below the table's folder; of a single file its name.
    pub name: String,
    /// Where it is, if on this machine.
    pub path: Option<PathBuf>,
    url: Url,
    meta: ObjectMeta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv(FileCompressionType),
}

const FORMATS: [(&str, Format); 4] = [
    (".parquet", Format::Parquet),
    (".csv", Format::Csv(FileCompressionType::UNCOMPRESSED)),
    (".csv.gz", Format::Csv(FileCompressionType::GZIP)),
    (".csv.zst", Format::Csv(FileCompressionType::ZSTD)),
];

/// CSV files up to this size are read whole to tell their columns' types; of larger ones, the first rows.
const WHOLE_CSV: u64 = 256 << 20;
const FIRST_ROWS: usize = 500_000;

impl Source {
    /// Looks which files there are, and which columns they have.
    ///
    /// # Errors
    /// As [`Source::list`], and when a file cannot be read.
    pub async fn find(context: &SessionContext, place: &Place) -> anyhow::Result<Self> {
        let source = Self::list(context, place).await?;
        source.look(context).await.map_err(|error| plain(&error).context(format!("cannot read {place}")))
    }

    /// Looks which files there are.
    ///
    /// # Errors
    /// When there is none, or they are of different kinds, or of one that is not read; when a store cannot be reached.
    pub async fn list(context: &SessionContext, place: &Place) -> anyhow::Result<Self> {
        let url = listing(place)?;
        let store = context.runtime_env().object_store(&url).map_err(|error| plain(&error))?;
        let found: Vec<ObjectMeta> = url
            .list_all_files(&context.state(), store.as_ref(), "")
            .await
            .map_err(|error| plain(&error))?
            .try_collect()
            .await
            .map_err(|error| plain(&error).context(format!("cannot read {place}")))?;
        let root = url.prefix().clone();
        let mut files = Vec::new();
        for meta in found {
            let name = match url.is_collection() {
                true => meta.location.as_ref().strip_prefix(root.as_ref()).unwrap_or(meta.location.as_ref()),
                false => meta.location.filename().unwrap_or_default(),
            };
            let name = name.trim_start_matches('/').to_owned();
            let is_hidden = name.split('/').any(|part| part.starts_with(['.', '_']));
            // Of one file that was named, its name is no reason to leave it out.
            if url.is_collection() && (is_hidden || format_of(&name).is_none() || meta.size == 0) {
                continue;
            }
            let mut address = Url::parse(url.object_store().as_str())?;
            address.set_path(meta.location.as_ref());
            let path = (address.scheme() == "file").then(|| PathBuf::from(format!("/{}", meta.location)));
            files.push(SourceFile { name, path, url: address, meta });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let format = format(&files, place)?;
        let (schema, folders) = (Arc::new(Schema::empty()), Vec::new());
        Ok(Self { place: place.clone(), url, format, schema, folders, files })
    }

    /// Looks which columns there are.
    async fn look(mut self, context: &SessionContext) -> datafusion::error::Result<Self> {
        let (state, options) = (context.state(), self.options());
        if self.url.is_collection() {
            self.folders = options.infer_partitions(&state, &self.url).await?;
        }
        let schema = options.infer_schema(&state, &self.url).await?;
        self.schema = if self.format == Format::Parquet { schema } else { Arc::new(undated(&schema)) };
        Ok(self)
    }

    /// One of the files alone, without the columns of the folders' names.
    ///
    /// # Errors
    /// When its address cannot be read.
    pub fn only(&self, file: &SourceFile) -> anyhow::Result<Self> {
        let url = ListingTableUrl::try_new(file.url.clone(), None)?;
        let files = vec![file.clone()];
        Ok(Self { place: Place(file.url.to_string()), url, folders: Vec::new(), files, ..self.clone() })
    }

    /// Makes the table known to a session.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn register(&self, context: &SessionContext, name: &str) -> anyhow::Result<()> {
        self.try_register(context, name)
            .await
            .map_err(|error| plain(&error).context(format!("cannot read {}", self.place)))?;
        if context.table(name).await?.schema().fields().is_empty() {
            bail!("{} has no columns", self.place);
        }
        Ok(())
    }

    async fn try_register(&self, context: &SessionContext, name: &str) -> datafusion::error::Result<()> {
        let folders = self.folders.iter().map(|name| (name.clone(), DataType::Utf8)).collect();
        let options = self.options().with_table_partition_cols(folders);
        let schema = Some(Arc::clone(&self.schema));
        context.register_listing_table(name, self.url.clone(), options, schema, None).await
    }

    fn options(&self) -> ListingOptions {
        let ending =
            FORMATS.iter().find(|(_, format)| *format == self.format).map_or("", |(ending, _)| ending);
        // A single file is what it was said to be, whatever its name ends in.
        let ending = if self.url.is_collection() { ending } else { "" };
        ListingOptions::new(self.file_format()).with_file_extension(ending)
    }

    fn file_format(&self) -> Arc<dyn FileFormat> {
        match self.format {
            Format::Parquet => Arc::new(ParquetFormat::default().with_force_view_types(false)),
            Format::Csv(compression) => {
                let size: u64 = self.files.iter().map(|file| file.meta.size).sum();
                let rows = if size <= WHOLE_CSV { usize::MAX } else { FIRST_ROWS };
                let format = CsvFormat::default().with_has_header(true).with_schema_infer_max_rec(rows);
                Arc::new(format.with_file_compression_type(compression))
            }
        }
    }

    /// The columns that a file's folders' names hold, with their values.
    pub fn folders(&self, file: &SourceFile) -> Vec<(String, String)> {
        let parts = file.name.split('/').filter_map(|part| part.split_once('='));
        let parts = parts.filter(|(name, _)| self.folders.iter().any(|known| known == name));
        parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether it is one file, named as such.
    pub fn is_single(&self) -> bool {
        !self.url.is_collection()
    }

    /// The files of this machine.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter_map(|file| file.path.as_ref())
    }

    /// Names and content of the files: of several, one hash of all.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn hash(&self) -> anyhow::Result<FileHash> {
        let hashes = self.files.iter().map(SourceFile::hash).collect::<anyhow::Result<Vec<_>>>()?;
        if let ([hash], true) = (&hashes[..], self.is_single()) {
            return Ok(hash.clone());
        }
        let mut all = Sha256::new();
        for FileHash { name, bytes, sha256 } in &hashes {
            all.update(format!("{name}\0{bytes}\0{sha256}\n"));
        }
        let name = self.place.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        Ok(FileHash {
            name: format!("{name}/"),
            bytes: hashes.iter().map(|hash| hash.bytes).sum(),
            sha256: format!("{:x}", all.finalize()),
        })
    }
}

impl SourceFile {
    /// What the file is told from others by: on this machine its content, in a store what the store says of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hash(&self) -> anyhow::Result<FileHash> {
        if let Some(path) = &self.path {
            return Ok(FileHash { name: self.name.clone(), ..FileHash::of(path)? });
        }
        let tag = match &self.meta.e_tag {
            Some(tag) => tag.clone(),
            None => self.meta.last_modified.to_rfc3339(),
        };
        let sha256 = Sha256::new().chain_update(&self.name).chain_update(tag).finalize();
        Ok(FileHash { name: self.name.clone(), bytes: self.meta.size, sha256: format!("{sha256:x}") })
    }
}

/// The address of a place, after a look whether a local one is there.
fn listing(place: &Place) -> anyhow::Result<ListingTableUrl> {
    let text = place.as_str();
    if is_address(text) && !text.starts_with("file://") {
        return remote(text).with_context(|| format!("{text} is no address of a table"));
    }
    let path = match Url::parse(text) {
        Ok(url) if url.scheme() == "file" => {
            url.to_file_path().ok().context("file:// names no path of this machine")?
        }
        _ => PathBuf::from(text),
    };
    let path = std::path::absolute(&path)?;
    let url = match () {
        () if path.is_dir() => Url::from_directory_path(&path),
        () if path.is_file() => Url::from_file_path(&path),
        () if text.contains(PATTERN) => return Ok(ListingTableUrl::parse(path.to_string_lossy())?),
        () => bail!("there is no file {}", path.display()),
    };
    let url = url.ok().with_context(|| format!("{} is not a readable path", path.display()))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

/// What makes a path a pattern.
const PATTERN: [char; 3] = ['*', '?', '['];

/// An address in a store: what does not end like a file is a folder.
fn remote(text: &str) -> anyhow::Result<ListingTableUrl> {
    let (folder, pattern) = match text.find(PATTERN) {
        Some(at) => {
            let folder = text[..at].rfind('/').map_or(at, |slash| slash + 1);
            (&text[..folder], Some(&text[folder..]))
        }
        None => (text, None),
    };
    let is_file = pattern.is_none() && format_of(folder).is_some();
    let slash = if is_file || folder.ends_with('/') { "" } else { "/" };
    let url = ListingTableUrl::parse(format!("{folder}{slash}"))?;
    Ok(match pattern {
        Some(pattern) => url.with_glob(pattern)?,
        None => url,
    })
}

/// The format that an ending stands for.
fn format_of(name: &str) -> Option<Format> {
    FORMATS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| *format)
}

/// The one format of all files.
fn format(files: &[SourceFile], place: &Place) -> anyhow::Result<Format> {
    let Some(first) = files.first() else {
        bail!("{place} has no file that ends in .parquet, .csv, .csv.gz or .csv.zst")
    };
    let Some(format) = format_of(&first.name) else { bail!("{place} is neither .parquet nor .csv") };
    if let Some(other) = files.iter().find(|file| format_of(&file.name) != Some(format)) {
        bail!(
            "{place} has files of two kinds, {} and {}; keep them in two folders, as two tables",
            first.name,
            other.name
        );
    }
    Ok(format)
}

/// Numbers are told from texts by looking. Dates stay text, which core reads: a day that does not exist is then an
/// event with a code and a row, and not a failure of the reader.
fn undated(schema: &Schema) -> Schema {
    let undated = |field: &FieldRef| match field.data_type().is_temporal() {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        false => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().map(undated).collect::<Vec<_>>())
}
