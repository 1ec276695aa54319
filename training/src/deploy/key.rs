//! `tiercast deploy key`: the key pair by which workers tell whose release it is.
//!
//! Ed25519 (RFC 8032). The private key is a PKCS#8 file in PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes it,
//! and such a file is read as well. The public key is its 32 bytes in base64.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

/// The setting of a worker that holds the public key.
pub const SETTING: &str = "TIERCAST_RELEASE_KEY";

/// What stands before the 32 secret bytes in PKCS#8: version 0, the algorithm 1.3.101.112, an octet string in an octet string.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Make the key pair that releases are signed with.
///
/// The private key goes into a new file that only you can read: who has it decides what workers load, so keep it where releases
/// are made and nowhere else. The public key is printed; it is no secret, and goes into the worker's settings.
/// Make a pair for each store: a release that was signed for one is good in every other with the same key.
///
/// Example: tiercast deploy key -o release.key
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Where to write the private key; a file that is there is never overwritten.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the file is there already or cannot be written, or the system gives no random bytes.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| anyhow!("the system gives no random bytes"))?;
    let key = PrivateKey::from_seed(&seed)?;
    write_new(&args.output, &pem(&seed))?;
    say!("{}: the private key; who has it decides what workers load", args.output.display());
    say!("the public key, for the worker's settings ([vars] in wrangler.toml):");
    say!("{SETTING} = \"{}\"", key.public());
    Ok(ExitCode::SUCCESS)
}

fn pem(seed: &[u8; 32]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", BASE64.encode([&PKCS8[..], seed].concat()))
}

/// Writes a file that was not there before, for its owner alone.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{} is there already; a key is never overwritten, as what was signed with it could not be followed by another \
             release: name another file",
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| File::sync_all(&file));
    if written.is_err() {
        // Half a key is none, and would stand in the way of the next try.
        let _ = fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The half that signs.
#[derive(Debug)]
pub struct PrivateKey(Ed25519KeyPair);

impl PrivateKey {
    /// Reads a file that `tiercast deploy key` or openssl wrote.
    ///
    /// # Errors
    /// When it cannot be read, or holds no Ed25519 key.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            format!("{} holds no key that signs releases; `tiercast deploy key` makes one", path.display())
        })
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let (_, rest) = text.split_once(BEGIN).with_context(|| format!("there is no line {BEGIN}"))?;
        let (body, _) = rest.split_once(END).with_context(|| format!("there is no line {END}"))?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64.decode(body).context("what it holds is not base64")?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Self)
            .map_err(|refused| anyhow!("not an Ed25519 key in PKCS#8 ({refused})"))
    }

    /// A key from its 32 secret bytes.
    fn from_seed(seed: &[u8; 32]) -> anyhow::Result<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|refused| anyhow!("no key ({refused})"))
    }

    /// The half that verifies.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature of a message, 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// The half that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether a message was signed with the private half.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).context(
            "not a public key: it is 32 bytes in base64, 44 characters, as `tiercast deploy key` prints it",
        )
    }
}

/// Base64, as settings hold it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SIGNATURE: &str = concat!(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The key of the standard's first test, by which fixtures are signed.
    pub(in crate::deploy) fn known() -> PrivateKey {
        PrivateKey::from_seed(&bytes(SECRET).try_into().unwrap()).unwrap()
    }

    /// Somebody else's.
    pub(in crate::deploy) fn stranger() -> PrivateKey {
        PrivateKey::from_seed(&[7; 32]).unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        let key = known();
        assert_eq!(key.public().0, *bytes(PUBLIC));
        let signature = key.sign(b"");
        assert_eq!(signature, bytes(SIGNATURE));
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"x", &signature));
        assert!(!key.public().verifies(b"", &signature[..63]));
        let mut other = signature.clone();
        other[40] ^= 1;
        assert!(!key.public().verifies(b"", &other));
        assert!(!stranger().public().verifies(b"", &signature));
    }

    #[test]
    fn a_file_gives_the_key_back() {
        let seed: [u8; 32] = bytes(SECRET).try_into().unwrap();
        let key = PrivateKey::parse(&pem(&seed)).unwrap();
        assert_eq!(key.public(), known().public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        // RFC 8410, section 10.3: the same key in both versions of the format.
        let first = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
        let second = "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                      oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
                      Z9w7lshQhqowtrbLDFw4rXAxZuE=";
        for body in [first, second] {
            let key = PrivateKey::parse(&format!("{BEGIN}\r\n{body}\r\n{END}\r\n")).unwrap();
            assert_eq!(key.public().to_string(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let seed: [u8; 32] = bytes(SECRET).try_into().unwrap();
        let good = pem(&seed);
        let cases = [
            (String::new(), "no line -----BEGIN"),
            (good.replace("PRIVATE", "ENCRYPTED PRIVATE"), "no line -----BEGIN"),
            (good.replace("END", "end"), "no line -----END"),
            (good.replace("MC4", "M*4"), "not base64"),
            // X25519 in Ed25519's place.
            (good.replace("K2Vw", "K2Vu"), "not an Ed25519 key"),
        ];
        for (text, words) in cases {
            let error = format!("{:#}", PrivateKey::parse(&text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in
            ["", "AAAA", &BASE64.encode([0; 31]), &BASE64.encode([0; 33]), &format!("{} ", known().public())]
        {
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_its_owners_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.key");
        run(Args { output: path.clone() }).unwrap();
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        let before = fs::read(&path).unwrap();
        let key = PrivateKey::read(&path).unwrap();
        assert!(key.public().verifies(b"m", &key.sign(b"m")));
        let error = run(Args { output: path.clone() }).unwrap_err();
        assert!(error.to_string().contains("never overwritten"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let other = folder.path().join("other.key");
        run(Args { output: other.clone() }).unwrap();
        assert_ne!(fs::read(&other).unwrap(), before);
    }
}
