//! What ties a run to the world outside its folder: that it existed by some time, or that somebody vouches for it. Digests alone do
//! not: whoever holds a repository can write all of it anew, and it verifies clean.
//!
//! An anchor is a file in `anchors/` of the run folder, apart from what is sealed, because it comes after. It is over the digest of
//! `open.json`, from the moment a run was opened, or over its root, from the moment it was sealed:
//!
//! - `<moment>.tsr`: the reply of a time-stamp authority (RFC 3161, Adams et al. 2001). Existed by then.
//! - `<moment>.sig`: a signature by `ssh-keygen -Y sign` of that digest and a line end. Somebody vouches; it says nothing of when.
//! - `<moment>.git.json`: what a remote answered when it was asked for its branches. Was pushed when it was asked, by the clock of
//!   whoever asked.
//!
//! None of them says that nothing was before: of ten runs that were sealed, one may have been stamped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::Digest;
use harness_core::files;
use serde::{Deserialize, Serialize};
use ssh_key::{HashAlg, PublicKey, SshSig};

use crate::format::file;
use crate::git::{Git, unix_line_ends};

/// The folder of the anchors in a run folder.
pub const FOLDER: &str = "anchors";
/// The namespace of signatures: a signature made for something else is none.
pub const NAMESPACE: &str = "harness-seal";
/// An anchor is small: what is larger is none.
const LARGEST_BYTES: u64 = 64 << 10;
/// Where systems keep the certificates that they trust.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What `openssl` says of a certificate that it has no reason to believe.
const UNTRUSTED: [&str; 5] =
    ["issuer certificate", "self-signed certificate", "self signed certificate", "has expired", "not yet valid"];

/// When in the life of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When it was opened.
    Open,
    /// When it was sealed.
    Seal,
}

impl Moment {
    /// Both, in their order.
    pub const ALL: [Moment; 2] = [Moment::Open, Moment::Seal];

    /// The file of an anchor of this kind (`tsr`, `sig`, `git.json`), relative to the run folder.
    pub fn path(self, kind: &str) -> String {
        format!("{FOLDER}/{self}.{kind}")
    }

    /// What an anchor of this moment is over; none while the run has not come to it.
    pub fn digest(self, folder: &Path) -> Option<Digest> {
        let name = match self {
            Moment::Open => file::OPEN,
            Moment::Seal => file::MANIFEST,
        };
        // Line ends may be those of this clone.
        files::read(&folder.join(name)).ok().map(|bytes| Digest::of(&unix_line_ends(&bytes)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Moment::Open => "open",
            Moment::Seal => "seal",
        })
    }
}

/// `<moment>.git.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pushed {
    /// 1
    pub format: u32,
    /// The name of the remote, such as `origin`.
    pub remote: String,
    /// The branch or tag that held it.
    pub reference: String,
    /// Its commit.
    pub commit: String,
    /// When the remote was asked, UTC, by the clock of whoever asked.
    pub asked_at: String,
}

/// Whom the reader of anchors believes.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Certificates of time-stamp authorities, as PEM; those of the system where none are named.
    pub authorities: Option<PathBuf>,
    /// Who may sign, one a line as in `ssh-keygen(1)`, ALLOWED SIGNERS: principals, `namespaces="..."` at most, key type, key.
    pub signers: PathBuf,
}

/// What an anchor is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It says what it should.
    Holds,
    /// It is an anchor of something else.
    Contradicts,
    /// It cannot be told here.
    Unknown,
}

/// An anchor that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its file, relative to the run folder.
    pub path: String,
    /// What it is worth.
    pub worth: Worth,
    /// What it proves, or why not, in words.
    pub detail: String,
}

/// Looks at the bytes of one kind of anchor, in this file, over this digest.
type Look<'a> = dyn Fn(&Path, &[u8], Digest) -> (Worth, String) + 'a;

/// The anchors of a run folder, which is `place` in its repository (`experiments/<experiment>/runs/<run>`); `commit` is the one that
/// the run was opened at.
pub fn anchors(folder: &Path, git: Option<&Git>, place: &str, commit: &str, trust: &Trust) -> Vec<Anchor> {
    let mut found = Vec::new();
    for moment in Moment::ALL {
        let over = moment.digest(folder);
        let mut look = |kind: &str, check: &Look| {
            let path = moment.path(kind);
            let file = folder.join(&path);
            if !files::is_file(&file) && !file.is_symlink() {
                return;
            }
            let is_small =
                files::is_plain_file(&file) && files::size_bytes(&file).is_ok_and(|size| size <= LARGEST_BYTES);
            let bytes = if is_small { files::read(&file).ok() } else { None };
            let (worth, detail) = match (bytes, over) {
                (None, _) => (Worth::Contradicts, "is no small plain file".to_owned()),
                (_, None) => (Worth::Contradicts, "the run has not come to what it is over".to_owned()),
                (Some(bytes), Some(over)) => check(&file, &bytes, over),
            };
            found.push(Anchor { path, worth, detail });
        };
        look("tsr", &|path, bytes, over| stamp(path, bytes, over, trust));
        look("sig", &|_, bytes, over| signature(bytes, over, trust));
        look("git.json", &|_, bytes, over| pushed(bytes, over, git, moment, place, commit));
    }
    found
}

/// The request for a stamp of a digest: `TimeStampReq` of RFC 3161 in DER, version 1, SHA-256, with the certificate, without a nonce
/// (the reply is kept, so that an old one is no danger).
pub fn stamp_request(over: &Digest) -> Vec<u8> {
    let mut request = vec![0x30, 0x39, 0x02, 0x01, 0x01, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09];
    request.extend([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]);
    request.extend(over.as_bytes());
    request.extend([0x01, 0x01, 0xff]);
    request
}

/// Whether a reply to [`stamp_request`] can be one over this digest: a token holds it byte for byte.
pub fn names(reply: &[u8], over: &Digest) -> bool {
    reply.windows(over.as_bytes().len()).any(|window| window == over.as_bytes())
}

/// `openssl ts` reads the reply: chains of certificates are nothing to write oneself, and the libraries that are there have open
/// advisories for RSA.
fn stamp(path: &Path, bytes: &[u8], over: Digest, trust: &Trust) -> (Worth, String) {
    if !names(bytes, &over) {
        return (Worth::Contradicts, format!("is a stamp of something else than {}", over.short()));
    }
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.arg("ts").args(arguments).arg("-in").arg(path).env("LC_ALL", "C").output().ok()
    };
    let Some(text) = openssl(&["-reply", "-text"]) else {
        return (Worth::Unknown, "`openssl` is not here, which reads stamps".to_owned());
    };
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let Some(at) = field("Time stamp:") else {
        return (Worth::Contradicts, "is no reply of a time-stamp authority that grants a stamp".to_owned());
    };
    let system = || SYSTEM_CERTIFICATES.iter().map(PathBuf::from).find(|path| files::is_file(path));
    let Some(authorities) = trust.authorities.clone().or_else(system) else {
        return (Worth::Unknown, format!("says {at}; no certificates are here to check it by"));
    };
    let digest = over.to_string();
    let verified = openssl(&["-verify", "-digest", &digest, "-CAfile", &authorities.display().to_string()]);
    let said = verified.map(|out| String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned());
    let said = said.unwrap_or_default();
    if said.contains("Verification: OK") {
        (Worth::Holds, format!("{} existed by {at}, says the authority that stamped it", over.short()))
    } else if said.contains("imprint mismatch") {
        (Worth::Contradicts, format!("is a stamp of something else than {}", over.short()))
    } else if UNTRUSTED.iter().any(|why| said.contains(why)) {
        let list = authorities.display();
        (
            Worth::Unknown,
            format!("says {at}; by `{list}` the certificate of its authority is unknown, or not valid now"),
        )
    } else {
        (Worth::Contradicts, "the authority's signature does not hold".to_owned())
    }
}

fn signature(bytes: &[u8], over: Digest, trust: &Trust) -> (Worth, String) {
    let Ok(signature) = SshSig::from_pem(bytes) else {
        return (Worth::Contradicts, "is no signature of `ssh-keygen -Y sign`".to_owned());
    };
    let key = PublicKey::from(signature.public_key().clone());
    let print = key.fingerprint(HashAlg::Sha256);
    match key.verify(NAMESPACE, format!("{over}\n").as_bytes(), &signature) {
        Ok(()) => {}
        Err(ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. }) => {
            let kind = key.algorithm();
            return (Worth::Unknown, format!("is by a key of kind {kind}, and only ed25519 is read here"));
        }
        Err(_) => return (Worth::Contradicts, format!("is no signature of {} by key {print}", over.short())),
    }
    let list = files::read_to_string(&trust.signers).unwrap_or_default();
    let principals = list.lines().find_map(|line| {
        let (principals, rest) = line.trim().split_once(char::is_whitespace)?;
        let of_ours = format!("namespaces=\"{NAMESPACE}\"");
        let rest = rest.trim_start();
        let rest = rest.strip_prefix(of_ours.as_str()).unwrap_or(rest).trim_start();
        let allowed = PublicKey::from_openssh(rest).ok()?;
        (!principals.starts_with('#') && allowed.key_data() == key.key_data()).then(|| principals.to_owned())
    });
    match principals {
        Some(who) => (Worth::Holds, format!("{who} vouches for {}; it does not say since when", over.short())),
        None => {
            let list = trust.signers.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (Worth::Unknown, format!("is by key {print}, which `{list}` does not name"))
        }
    }
}

fn pushed(bytes: &[u8], over: Digest, git: Option<&Git>, moment: Moment, place: &str, commit: &str) -> (Worth, String) {
    let Ok(pushed) = serde_json::from_slice::<Pushed>(bytes) else {
        return (Worth::Contradicts, "is no answer of a remote as harness keeps it".to_owned());
    };
    let Pushed { remote, reference, commit: at, asked_at, .. } = &pushed;
    let short = at.get(..12).unwrap_or(at);
    let Some(git) = git.filter(|git| git.tree_of(at).is_ok()) else {
        return (Worth::Unknown, format!("names commit {short}, which is not here"));
    };
    let holds = match moment {
        Moment::Open => git.descends(at, commit).unwrap_or(false),
        Moment::Seal => {
            let held = git.file_at(at, &format!("{place}/{}", file::MANIFEST)).ok().flatten();
            held.is_some_and(|bytes| Digest::of(&bytes) == over)
        }
    };
    let what = match moment {
        Moment::Open => format!("commit {} of the plan", commit.get(..12).unwrap_or(commit)),
        Moment::Seal => format!("root {}", over.short()),
    };
    if holds {
        let when = format!("by {asked_at} of the clock of whoever asked");
        (Worth::Holds, format!("{what} was at `{remote}` {when}, in commit {short} of {reference}"))
    } else {
        (Worth::Contradicts, format!("commit {short}, which it names, does not hold {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl ts -query -digest HEX -sha256 -cert -no_nonce` gives these bytes.
    #[test]
    fn a_request_is_that_of_openssl() {
        let request = stamp_request(&Digest::of(b""));
        assert_eq!((request.len(), request[1] as usize), (59, 57));
        assert!(names(&request, &Digest::of(b"")) && !names(&request, &Digest::of(b"x")));
    }

    #[test]
    fn what_is_no_signature_is_no_anchor() {
        let hostile = [&b""[..], b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", &[0xff; 400]];
        let trust = Trust { authorities: None, signers: PathBuf::from("/nonexistent") };
        for bytes in hostile {
            assert_eq!(signature(bytes, Digest::of(b""), &trust).0, Worth::Contradicts);
        }
    }
}
