//! What the Hugging Face hub says of a data set: the commit behind a revision and the files there, with the digests
//! that the hub knows them by. The files themselves are fetched like any others.

use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use harness_core::digest::Digest;
use harness_core::names::is_inside;
use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use crate::recipe::Hub;

/// Where the hub is, unless another one is given. Addresses in manifests begin with it, wherever the bytes came from.
const HUB: &str = "https://huggingface.co";

/// A listing above this is refused: half a million files.
const LARGEST_LISTING_BYTES: u64 = 256 << 20;

/// The hub that is asked, and as whom.
#[derive(Clone, Debug)]
pub struct HubAccess {
    endpoint: String,
    token: Option<String>,
}

impl Default for HubAccess {
    fn default() -> Self {
        HubAccess { endpoint: HUB.to_owned(), token: None }
    }
}

/// An address as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub url: String,
    pub token: Option<String>,
}

/// Files of a data set at one commit.
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<HubFile>,
}

/// A file as the hub lists it.
pub(crate) struct HubFile {
    /// Its path in the data set.
    pub path: String,
    pub bytes: u64,
    /// How it is kept, and so by which digest it is known.
    pub known_by: KnownBy,
}

/// By what the hub knows a file.
#[derive(Clone, Debug)]
pub(crate) enum KnownBy {
    /// Large files: the SHA-256 of their bytes (Git LFS).
    Sha256(Digest),
    /// Small ones: their name in git, a SHA-1 in hexadecimal digits.
    GitBlob(String),
}

/// Why there is no listing.
pub(crate) enum ListingError {
    /// The hub refused.
    Status(u16),
    /// It could not be reached; another try may help.
    Transport(String),
    /// What it says is no listing.
    Unreadable(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Digest,
    size: u64,
}

impl HubAccess {
    /// A hub at another address than the public one, and a token for data sets that ask for a login.
    pub fn new(endpoint: Option<String>, token: Option<String>) -> Self {
        let endpoint = endpoint.map_or_else(|| HUB.to_owned(), |url| url.trim_end_matches('/').to_owned());
        HubAccess { endpoint, token }
    }

    /// Where the hub is.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An address of the hub leads to this hub, with its token; any other stays as it is.
    pub(crate) fn asked(&self, url: &str) -> Asked {
        match url.strip_prefix(HUB).filter(|rest| rest.starts_with('/')) {
            Some(rest) => Asked { url: format!("{}{rest}", self.endpoint), token: self.token.clone() },
            None => Asked { url: url.to_owned(), token: None },
        }
    }

    /// Every file of a data set at a revision.
    pub(crate) fn list(&self, hub: &Hub, with_proxies: bool) -> Result<Listing, ListingError> {
        // Nothing is kept in this cache: files are fetched into the store.
        let api = ApiBuilder::from_cache(Cache::new(PathBuf::new()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(|e| ListingError::Transport(e.to_string()))?;
        let repo = Repo::with_revision(hub.dataset.clone(), RepoType::Dataset, hub.revision.clone());
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
        let mut request = api.repo(repo).info_request().query("blobs", "true").config();
        request = request.http_status_as_error(false).tls_config(tls);
        request =
            request.timeout_connect(Some(Duration::from_secs(30))).timeout_per_read(Some(Duration::from_secs(60)));
        if !with_proxies {
            request = request.proxy(None);
        }
        let mut response = request.build().call().map_err(|e| ListingError::Transport(e.to_string()))?;
        if response.status() != 200 {
            return Err(ListingError::Status(response.status().as_u16()));
        }
        let body = response.body_mut().with_config().limit(LARGEST_LISTING_BYTES).reader();
        let info: Info = serde_json::from_reader(BufReader::new(body)).map_err(|e| {
            let problem = format!("its answer is not a listing: {e}");
            if e.is_io() { ListingError::Transport(problem) } else { ListingError::Unreadable(problem) }
        })?;
        if info.sha.is_empty() || !info.sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ListingError::Unreadable(format!("`{}` is no commit", info.sha)));
        }
        let files = info.siblings.into_iter().map(HubFile::of).collect::<Result<_, _>>()?;
        Ok(Listing { commit: info.sha, files })
    }
}

impl HubFile {
    fn of(sibling: Sibling) -> Result<Self, ListingError> {
        let path = sibling.rfilename;
        if !is_inside(&path) || path.chars().any(char::is_control) {
            return Err(ListingError::Unreadable(format!("`{path}` is no path of a file")));
        }
        match (sibling.lfs, sibling.size, sibling.blob_id) {
            (Some(Lfs { sha256, size }), ..) => Ok(HubFile { path, bytes: size, known_by: KnownBy::Sha256(sha256) }),
            (None, Some(bytes), Some(blob)) => Ok(HubFile { path, bytes, known_by: KnownBy::GitBlob(blob) }),
            _ => Err(ListingError::Unreadable(format!("it states no size and digest of `{path}`"))),
        }
    }
}

impl Hub {
    /// The address of a file at a commit.
    pub(crate) fn address(&self, commit: &str, path: &str) -> String {
        let repo = Repo::with_revision(self.dataset.clone(), RepoType::Dataset, commit.to_owned());
        format!("{HUB}/{}/resolve/{}/{}", repo.url(), repo.url_revision(), percent_encoded(path))
    }
}

/// A path as it stands in an address (RFC 3986, section 2): what is neither unreserved nor `/` as `%` and two digits.
fn percent_encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}
