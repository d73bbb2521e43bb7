//! Brings the files that recipes name into the store: from there already, from a mirror, or from their address.
//!
//! A file is identified by the SHA-256 of its content without packing, and nothing else is ever accepted under that
//! name. Downloads resume where they stopped (RFC 9110, section 14), are retried with growing pauses, and one process
//! waits while another downloads the same file.

mod git_blob;
mod hub;
mod lookup;
mod mirror;

use crate::recipe::Hub;
use crate::remote::Remote;
use git_blob::git_blob;
pub use hub::HubAccess;
use hub::{Asked, Listing, ListingError};
use mirror::Mirror;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness_core::digest::{Digest, Hasher};
use harness_core::files::{self, FileError};

use crate::progress::{Progress, Unit};
use crate::store::Store;
use crate::unpack::{Packing, each_piece};

/// Where a file came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was in the store.
    Store,
    /// It was copied from this file of the project.
    File(PathBuf),
    /// It was copied from this file of the mirror.
    Mirror(PathBuf),
    /// It was downloaded.
    Url(String),
}

/// A file in the store, its digest checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Where it came from.
    pub origin: Origin,
}

/// Whether the proxies that the environment names are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxies {
    /// `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, except for the hosts in `NO_PROXY`.
    #[default]
    FromEnvironment,
    /// None.
    None,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store or the mirror could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mirror is not a folder.
    #[error("the mirror `{}` is not a folder\nhint: set HARNESS_MIRROR to a folder that holds the data files, or unset it", .0.display())]
    NoMirror(PathBuf),
    /// It has no address and is not in the mirror.
    #[error(
        "`{name}` has no url and is not in the mirror\nhint: set HARNESS_MIRROR to a folder that holds a file with sha256 {sha256}"
    )]
    NotInMirror {
        /// What people call it.
        name: String,
        /// Digest of its content.
        sha256: Digest,
    },
    /// The file of the project has other bytes now, and the old ones are nowhere else.
    #[error(
        "`{}` is not the file that the recipe means by `{name}`: {found}\n\
         hint: bring back the file with sha256 {expected}, or take the new one in: its sha256 and bytes into the recipe, or `harness data fetch --update` where a pattern names it",
        path.display()
    )]
    OtherFile {
        /// What people call it.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the recipe or its lock file says.
        expected: Digest,
        /// What is there.
        found: String,
    },
    /// What the hub says of a data set could not be had or used.
    #[error("the data set `{dataset}` at `{revision}` could not be listed by `{endpoint}`: {problem}\nhint: {hint}")]
    Hub {
        /// The data set.
        dataset: String,
        /// The revision asked for.
        revision: String,
        /// The hub.
        endpoint: String,
        /// What went wrong.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// A pattern stands for nothing.
    #[error("no file of {place} matches `{pattern}`, as the source `{name}` wants\nhint: {hint}")]
    NothingMatches {
        /// The source.
        name: String,
        /// The project or the data set.
        place: String,
        /// The pattern.
        pattern: String,
        /// What can be done.
        hint: String,
    },
    /// The server refused for good.
    #[error("could not fetch `{name}`: `{url}` answered {status}{}\nhint: {hint}", reason_of(*.status))]
    Status {
        /// What people call it.
        name: String,
        /// Its address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What can be done.
        hint: &'static str,
    },
    /// The server could not be reached, or broke off every time.
    #[error("could not fetch `{name}` from `{url}`: {problem} (tried {attempts} times)\nhint: {hint}")]
    Network {
        /// What people call it.
        name: String,
        /// Its address.
        url: String,
        /// The last problem.
        problem: String,
        /// How often it was tried.
        attempts: u32,
        /// What can be done.
        hint: &'static str,
    },
    /// What the address gives is not the file.
    #[error(
        "`{url}` does not give `{name}`: its content has sha256 {found}, the recipe says {expected}; it was not kept\n\
         hint: look whether the file was changed at its source; only if the new content is wanted, put its sha256 and bytes in the recipe"
    )]
    WrongDigest {
        /// What people call it.
        name: String,
        /// Its address.
        url: String,
        /// What the recipe says.
        expected: Digest,
        /// What came, or `larger than ...`.
        found: String,
    },
    /// What the address gives cannot be unpacked.
    #[error(
        "`{url}` does not give `{name}`: it could not be unpacked: {problem}\nhint: look whether `packing` in the recipe is right"
    )]
    Unpack {
        /// What people call it.
        name: String,
        /// Its address.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

/// The hub keeps files above 10 MB in LFS, with a SHA-256; the others are held in memory while they are checked.
const LARGEST_SMALL_BYTES: u64 = 64 << 20;

/// Fetches files into a store.
#[derive(Clone, Debug)]
pub struct Fetcher {
    store: Store,
    mirror: Option<PathBuf>,
    hub: HubAccess,
    proxies: Proxies,
    attempts: u32,
    first_pause: Duration,
}

impl Fetcher {
    /// A fetcher without a mirror that uses the proxies of the environment.
    pub fn new(store: &Store) -> Self {
        let first_pause = Duration::from_secs(1);
        Fetcher {
            store: store.clone(),
            mirror: None,
            hub: HubAccess::default(),
            proxies: Proxies::default(),
            attempts: 5,
            first_pause,
        }
    }

    /// Looks in the folder `mirror`, if one is given, before it downloads.
    pub fn with_mirror(mut self, mirror: Option<PathBuf>) -> Self {
        self.mirror = mirror;
        self
    }

    /// Asks this hub for whatever has an address on the Hugging Face hub.
    pub fn with_hub(mut self, hub: HubAccess) -> Self {
        self.hub = hub;
        self
    }

    /// Whether the proxies of the environment are used.
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// How often a download is tried (at least once), and the pause before the second time; each later one is twice as long.
    pub fn with_attempts(mut self, attempts: u32, first_pause: Duration) -> Self {
        self.attempts = attempts.max(1);
        self.first_pause = first_pause;
        self
    }

    /// Brings every file into the store; the answer has one entry for each, in order.
    pub fn fetch(&self, wanted: &[Remote], progress: &mut dyn Progress) -> Result<Vec<Fetched>, FetchError> {
        let mut mirror = None;
        let mut fetched = Vec::with_capacity(wanted.len());
        for remote in wanted {
            let path = self.store.download(&remote.sha256);
            if self.is_there(remote, &path)? {
                fetched.push(Fetched { path, origin: Origin::Store });
                continue;
            }
            if let (Some(folder), None) = (&self.mirror, &mirror) {
                if !files::is_folder(folder) {
                    return Err(FetchError::NoMirror(folder.clone()));
                }
                mirror = Some(Mirror::index(folder, &self.store, progress)?);
            }
            files::create_folder(&self.store.root().join("downloads"))?;
            let _lock = self.store.lock(&format!("download-{}", remote.sha256.short()), progress)?;
            let origin = if self.is_there(remote, &path)? {
                Origin::Store
            } else if let Some((from, packing)) = mirror.as_ref().and_then(|m| m.find(&remote.sha256)) {
                self.take(remote, &from, packing, &from.display().to_string(), &path)?;
                progress.note(&format!("{} from {}", remote.name, from.display()));
                Origin::Mirror(from)
            } else if let Some(from) = &remote.path {
                self.take_file(remote, from, &path)?;
                Origin::File(from.clone())
            } else if let Some(url) = &remote.url {
                self.download(remote, url, &path, progress)?;
                Origin::Url(url.clone())
            } else {
                return Err(FetchError::NotInMirror { name: remote.name.clone(), sha256: remote.sha256 });
            };
            fetched.push(Fetched { path, origin });
        }
        Ok(fetched)
    }

    /// Whether the file is in the store, whole. A damaged one is removed.
    fn is_there(&self, remote: &Remote, path: &Path) -> Result<bool, FetchError> {
        if !files::is_file(path) {
            return Ok(false);
        }
        if Digest::of_file(path)? == remote.sha256 {
            return Ok(true);
        }
        files::remove(path)?;
        Ok(false)
    }

    /// Unpacks `from` to its place in the store, if it is the file.
    fn take(&self, remote: &Remote, from: &Path, packing: Packing, url: &str, to: &Path) -> Result<(), FetchError> {
        let source = files::open(from)?;
        let (mut hasher, mut size_bytes) = (Hasher::new(), 0u64);
        let mut refused = None;
        let written = files::write_with(to, |file| {
            let unpacked = each_piece(packing.reader(io::BufReader::new(source)), |piece| {
                hasher.update(piece);
                size_bytes += piece.len() as u64;
                if size_bytes > remote.bytes {
                    refused = Some(wrong_digest(remote, url, format!("larger than {} bytes", remote.bytes)));
                    return Err(io::Error::other("too large"));
                }
                file.write_all(piece)
            });
            unpacked.inspect_err(|e| {
                let at_fault = matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
                );
                if refused.is_none() && at_fault {
                    let (name, url) = (remote.name.clone(), url.to_owned());
                    refused = Some(FetchError::Unpack { name, url, problem: e.to_string() });
                }
            })?;
            let found = std::mem::take(&mut hasher).finish();
            if found != remote.sha256 {
                refused = Some(wrong_digest(remote, url, found.to_string()));
                return Err(io::Error::other("wrong digest"));
            }
            Ok(())
        });
        match (refused, written) {
            (Some(refused), _) => Err(refused),
            (None, written) => Ok(written?),
        }
    }

    /// Takes the file from its place in the project, if it is still the file.
    fn take_file(&self, remote: &Remote, from: &Path, to: &Path) -> Result<(), FetchError> {
        let other = |found: String| {
            let (name, path, expected) = (remote.name.clone(), from.to_owned(), remote.sha256);
            FetchError::OtherFile { name, path, expected, found }
        };
        if !files::is_file(from) {
            return Err(other("it is not there".to_owned()));
        }
        self.take(remote, from, remote.packing, "", to).map_err(|error| match error {
            FetchError::WrongDigest { found, .. } => other(format!("its content is {found}")),
            FetchError::Unpack { problem, .. } => other(problem),
            error => error,
        })
    }

    fn download(&self, remote: &Remote, url: &str, to: &Path, progress: &mut dyn Progress) -> Result<(), FetchError> {
        let part = to.with_extension("part");
        let agent = self.agent();
        let asked = self.hub.asked(url);
        let total = (remote.packing == Packing::None).then_some(remote.bytes);
        progress.begin(&format!("fetch {}", remote.name), total, Unit::Bytes);
        let mut pause = self.first_pause;
        let mut last = None;
        // A part that an earlier call left behind may be of another file: then one more try, from nothing.
        let mut resumed_foreign = files::is_file(&part);
        let mut attempt = 0;
        let result = loop {
            if attempt == self.attempts {
                let (problem, hint) = last.unwrap_or_else(|| ("no attempt was made".to_owned(), HINT_NETWORK));
                let (name, url) = (remote.name.clone(), asked.url);
                break Err(FetchError::Network { name, url, problem, attempts: attempt, hint });
            }
            attempt += 1;
            match transfer(&agent, remote, &asked, &part, progress) {
                Ok(()) => match self.take(remote, &part, remote.packing, &asked.url, to) {
                    Err(FetchError::WrongDigest { .. } | FetchError::Unpack { .. }) if resumed_foreign => {
                        files::remove(&part)?;
                        resumed_foreign = false;
                        attempt -= 1;
                    }
                    other => {
                        files::remove(&part)?;
                        break other;
                    }
                },
                Err(Broken::ForGood(error)) => break Err(error),
                Err(Broken::ForNow { problem, hint, wait }) => {
                    last = Some((problem, hint));
                    if attempt < self.attempts {
                        std::thread::sleep(wait.unwrap_or(pause).min(Duration::from_secs(60)));
                        pause *= 2;
                    }
                }
            }
        };
        progress.end();
        result
    }

    /// Fetches what is at an address of which nothing is known, and keeps its content in the store. Gives digest and size of that.
    pub(crate) fn unknown(
        &self,
        name: &str,
        url: &str,
        packing: Packing,
        progress: &mut dyn Progress,
    ) -> Result<(Digest, u64), FetchError> {
        let folder = self.store.root().join("downloads");
        files::create_folder(&folder)?;
        let place = Digest::of(url.as_bytes()).short();
        let _lock = self.store.lock(&format!("download-{place}"), progress)?;
        let part = folder.join(format!("unknown-{place}.part"));
        // What an earlier call left may be of a file that was replaced since, and no digest would tell.
        files::remove(&part)?;
        let (agent, asked) = (self.agent(), self.hub.asked(url));
        let (sha256, url_of) = (Digest::of(b""), Some(url.to_owned()));
        let mut remote = Remote { name: name.to_owned(), url: url_of, path: None, sha256, bytes: u64::MAX, packing };
        progress.begin(&format!("fetch {name}"), None, Unit::Bytes);
        let mut for_good = None;
        let received = self.with_patience(|| {
            transfer(&agent, &remote, &asked, &part, progress).map_err(|broken| match broken {
                Broken::ForNow { problem, hint, .. } => (true, problem, hint),
                Broken::ForGood(error) => {
                    for_good = Some(error);
                    (false, String::new(), HINT_NETWORK)
                }
            })
        });
        progress.end();
        if let Err((problem, hint)) = received {
            let (name, url, attempts) = (name.to_owned(), asked.url, self.attempts);
            return Err(for_good.unwrap_or(FetchError::Network { name, url, problem, attempts, hint }));
        }
        let (mut hasher, mut bytes) = (Hasher::new(), 0u64);
        let unpacked = each_piece(packing.reader(io::BufReader::new(files::open(&part)?)), |piece| {
            hasher.update(piece);
            bytes += piece.len() as u64;
            Ok(())
        });
        unpacked.map_err(|error| {
            let (name, url, problem) = (name.to_owned(), asked.url.clone(), error.to_string());
            FetchError::Unpack { name, url, problem }
        })?;
        (remote.sha256, remote.bytes) = (hasher.finish(), bytes);
        self.take(&remote, &part, packing, &asked.url, &self.store.download(&remote.sha256))?;
        files::remove(&part)?;
        Ok((remote.sha256, bytes))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The files of a data set, as the hub lists them.
    pub(crate) fn list(&self, hub: &Hub, progress: &mut dyn Progress) -> Result<Listing, FetchError> {
        progress.begin(&format!("list {}", hub.dataset), None, Unit::Items);
        let listed = self.with_patience(|| match self.hub.list(hub, self.proxies == Proxies::FromEnvironment) {
            Ok(listing) => Ok(listing),
            Err(ListingError::Transport(problem)) => Err((true, problem, HINT_NETWORK)),
            Err(ListingError::Status(status @ (408 | 425 | 429 | 500..=599))) => {
                Err((true, format!("it answered {status}{}", reason_of(status)), "try again later"))
            }
            Err(ListingError::Status(status)) => {
                let hint = match status {
                    401 | 403 => "accept its terms on its page, and set HF_TOKEN to a token of yours that may read",
                    _ => "look whether `dataset` and `revision` in the recipe are right, and HF_ENDPOINT if it is set",
                };
                Err((false, format!("it answered {status}{}", reason_of(status)), hint))
            }
            Err(ListingError::Unreadable(problem)) => Err((false, problem, "look whether HF_ENDPOINT is a hub")),
        });
        progress.end();
        listed.map_err(|(problem, hint)| {
            let (dataset, revision) = (hub.dataset.clone(), hub.revision.clone());
            FetchError::Hub { dataset, revision, endpoint: self.hub.endpoint().to_owned(), problem, hint }
        })
    }

    /// A small file of the hub, which is known there by its size and its name in git.
    pub(crate) fn small(
        &self,
        name: &str,
        url: &str,
        bytes: u64,
        blob: &str,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, FetchError> {
        let asked = self.hub.asked(url);
        let network = |problem: String, hint| {
            let (name, url) = (name.to_owned(), asked.url.clone());
            FetchError::Network { name, url, problem, attempts: self.attempts, hint }
        };
        if bytes > LARGEST_SMALL_BYTES {
            return Err(network(
                format!("it has {bytes} bytes and no SHA-256"),
                "ask the hub's users to keep it in LFS",
            ));
        }
        let agent = self.agent();
        progress.begin(&format!("fetch {name}"), Some(bytes), Unit::Bytes);
        let content = self.with_patience(|| {
            let again = |problem: String| (true, problem, HINT_NETWORK);
            let mut response = request(&agent, &asked).call().map_err(|e| again(e.to_string()))?;
            let status = response.status().as_u16();
            if status != 200 {
                let problem = format!("it answered {status}{}", reason_of(status));
                return Err((matches!(status, 408 | 425 | 429 | 500..=599), problem, hint_of(status)));
            }
            let mut content = Vec::new();
            let body = response.body_mut().as_reader();
            body.take(bytes + 1).read_to_end(&mut content).map_err(|e| again(e.to_string()))?;
            Ok(content)
        });
        progress.end();
        let content = content.map_err(|(problem, hint)| network(problem, hint))?;
        if content.len() as u64 != bytes || git_blob(&content) != blob {
            let problem = format!("what came is not the file of {bytes} bytes that git calls {blob}");
            return Err(network(problem, "try again; if it stays, something between here and the hub changes files"));
        }
        Ok(content)
    }

    /// Tries until it succeeds, it failed for good, or patience ends; an error says first whether to try again.
    fn with_patience<T>(
        &self,
        mut try_once: impl FnMut() -> Result<T, (bool, String, &'static str)>,
    ) -> Result<T, (String, &'static str)> {
        let mut pause = self.first_pause;
        let mut attempt = 1;
        loop {
            match try_once() {
                Ok(value) => return Ok(value),
                Err((true, ..)) if attempt < self.attempts => {
                    std::thread::sleep(pause);
                    pause *= 2;
                    attempt += 1;
                }
                Err((_, problem, hint)) => return Err((problem, hint)),
            }
        }
    }

    /// Sends a few bytes to an address and gives the answer, at most 64 KiB of it; `name` is what people call what answers.
    pub fn ask(&self, name: &str, url: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, FetchError> {
        const LARGEST_ANSWER_BYTES: u64 = 64 << 10;
        let (name, url) = (name.to_owned(), url.to_owned());
        let network = |error: &ureq::Error| match problem_of(error) {
            Broken::ForGood(error) => error,
            Broken::ForNow { problem, hint, .. } => {
                FetchError::Network { name: name.clone(), url: url.clone(), problem, attempts: 1, hint }
            }
        };
        let mut response = self.agent().post(&url).header("Content-Type", kind).send(body).map_err(|e| network(&e))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status { name, url, status, hint: hint_of(status) });
        }
        response.body_mut().with_config().limit(LARGEST_ANSWER_BYTES).read_to_vec().map_err(|e| network(&e))
    }

    fn agent(&self) -> ureq::Agent {
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .user_agent(concat!("harness/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        if self.proxies == Proxies::None {
            config = config.proxy(None);
        }
        config.build().into()
    }
}

const HINT_NETWORK: &str = "look at the network and at HTTPS_PROXY, or set HARNESS_MIRROR to a folder that holds the file; \
                            what was received is kept, and the next call goes on from there";
const HINT_CERTIFICATES: &str = "install the system's certificates (package `ca-certificates`); in a network that checks its \
                                 traffic, also those of its own authority";

/// One attempt that did not bring the whole file.
enum Broken {
    ForGood(FetchError),
    ForNow { problem: String, hint: &'static str, wait: Option<Duration> },
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Self {
        Broken::ForGood(error.into())
    }
}

/// A request as whoever may see it; where it is led on to does not learn the token.
fn request(agent: &ureq::Agent, asked: &Asked) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
    let request = agent.get(&asked.url).header("Accept-Encoding", "identity");
    match &asked.token {
        Some(token) => request.header("Authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// Downloads to `part`, going on from what it holds.
fn transfer(
    agent: &ureq::Agent,
    remote: &Remote,
    asked: &Asked,
    part: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Broken> {
    let have = if files::is_file(part) { files::size_bytes(part)? } else { 0 };
    let (url, mut request) = (asked.url.as_str(), request(agent, asked));
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|e| problem_of(&e))?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    match status {
        200 => files::remove(part)?,
        206 => {
            let start = header("content-range")
                .and_then(|range| range.strip_prefix("bytes "))
                .and_then(|r| r.split('-').next());
            if start.and_then(|s| s.trim().parse::<u64>().ok()) != Some(have) {
                files::remove(part)?;
                return Err(for_now("the server sent another range than was asked for", HINT_NETWORK));
            }
            progress.advance(have);
        }
        416 => {
            // Nothing after what we have: it is whole, or it belongs to another file. Its digest will tell.
            let whole = header("content-range")
                .and_then(|range| range.strip_prefix("bytes */"))
                .and_then(|s| s.parse::<u64>().ok());
            if whole == Some(have) {
                return Ok(());
            }
            files::remove(part)?;
            return Err(for_now("the server does not hold the part asked for", HINT_NETWORK));
        }
        408 | 425 | 429 | 500..=599 => {
            let wait = header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let problem = format!("the server answered {status}{}", reason_of(status));
            return Err(Broken::ForNow { problem, hint: "the server is busy or out of order: try again later", wait });
        }
        _ => {
            let (name, url) = (remote.name.clone(), url.to_owned());
            return Err(Broken::ForGood(FetchError::Status { name, url, status, hint: hint_of(status) }));
        }
    }
    let mut file = files::open_append(part)?;
    let mut received = if status == 206 { have } else { 0 };
    let mut too_large = false;
    let mut body = response.body_mut().as_reader();
    let result = each_piece(&mut body as &mut dyn Read, |piece| {
        received += piece.len() as u64;
        if remote.packing == Packing::None && received > remote.bytes {
            too_large = true;
            return Err(io::Error::other("too large"));
        }
        progress.advance(piece.len() as u64);
        file.write_all(piece)
    });
    if too_large {
        files::remove(part)?;
        return Err(Broken::ForGood(wrong_digest(remote, url, format!("larger than {} bytes", remote.bytes))));
    }
    result.map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Broken::ForGood(FileError::new("write", part, e).into())
        }
        _ => for_now(&format!("the transfer broke off after {received} bytes: {e}"), HINT_NETWORK),
    })
}

fn for_now(problem: &str, hint: &'static str) -> Broken {
    Broken::ForNow { problem: problem.to_owned(), hint, wait: None }
}

fn problem_of(error: &ureq::Error) -> Broken {
    let text = error.to_string();
    let certificates = matches!(error, ureq::Error::Tls(_) | ureq::Error::Rustls(_)) || text.contains("certificate");
    for_now(&text, if certificates { HINT_CERTIFICATES } else { HINT_NETWORK })
}

fn wrong_digest(remote: &Remote, url: &str, found: String) -> FetchError {
    FetchError::WrongDigest { name: remote.name.clone(), url: url.to_owned(), expected: remote.sha256, found }
}

fn reason_of(status: u16) -> &'static str {
    match status {
        401 => " (login required)",
        403 => " (forbidden)",
        404 => " (not found)",
        407 => " (the proxy wants a login)",
        410 => " (gone)",
        429 => " (too many requests)",
        451 => " (unavailable for legal reasons)",
        503 => " (unavailable)",
        _ => "",
    }
}

fn hint_of(status: u16) -> &'static str {
    match status {
        401 | 403 | 451 => {
            "the file asks for rights you may not have: get it by hand and set HARNESS_MIRROR to its folder"
        }
        404 | 410 => {
            "look whether the url in the recipe is right; a file of the same content in HARNESS_MIRROR also does"
        }
        407 => "put name and password in HTTPS_PROXY, as in http://name:password@proxy:3128",
        _ => "get the file by hand and set HARNESS_MIRROR to its folder",
    }
}
