//! A Hugging Face hub for tests, on the loopback address: it lists a data set at a revision, redirects large files to
//! another host name as the hub does to its content network, answers range requests there, and breaks off once.
#![allow(dead_code, reason = "each program of tests uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use harness_core::digest::Digest;
use serde_json::json;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the data set, and whether the hub keeps it in LFS.
#[derive(Clone)]
pub(crate) struct HubFile {
    pub content: Vec<u8>,
    pub in_lfs: bool,
    /// What is sent in place of it.
    pub sent: Option<Vec<u8>>,
}

/// A request as the hub saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub target: String,
    pub range_from: Option<usize>,
    pub token: Option<String>,
}

pub(crate) struct HubServer {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Serves `org/set` at `main` and at its commit, and `org/gated` to whoever has a token.
pub(crate) fn serve(files: BTreeMap<String, HubFile>) -> HubServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), port, &files, &log);
        }
    });
    HubServer { endpoint: format!("http://127.0.0.1:{port}"), seen }
}

impl HubServer {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// The name of a file in git, from git itself.
fn git_blob(content: &[u8]) -> String {
    let mut git = Command::new("git");
    git.args(["hash-object", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = git.spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn answer(mut stream: TcpStream, port: u16, files: &BTreeMap<String, HubFile>, log: &Mutex<Vec<Seen>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let target = request.split(' ').nth(1).unwrap().to_owned();
    let (mut range_from, mut token) = (None, None);
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_lowercase().as_str() {
            "range" => range_from = value.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().ok(),
            "authorization" => token = Some(value.to_owned()),
            _ => {}
        }
    }
    let seen = Seen { target: target.clone(), range_from, token: token.clone() };
    let first_time = {
        let mut log = log.lock().unwrap();
        log.push(seen);
        log.iter().filter(|seen| seen.target == target).count() == 1
    };
    let mut send = |status: &str, headers: &str, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    let path = target.split('?').next().unwrap();
    if let Some(revision) = path.strip_prefix("/api/datasets/org/set/revision/")
        && target.ends_with("?blobs=true")
        && (revision == "main" || revision == COMMIT || revision == "refs%2Fconvert%2Fparquet")
    {
        let sibling = |(path, file): (&String, &HubFile)| {
            let mut of = json!({ "rfilename": path, "size": file.content.len(), "blobId": git_blob(&file.content) });
            if file.in_lfs {
                let sha256 = Digest::of(&file.content);
                of["lfs"] = json!({ "sha256": sha256, "size": file.content.len(), "pointerSize": 130 });
            }
            of
        };
        let siblings: Vec<_> = files.iter().map(sibling).collect();
        let body = json!({ "id": "org/set", "sha": COMMIT, "private": false, "siblings": siblings }).to_string();
        return send("200 OK", "Content-Type: application/json\r\n", body.len(), body.as_bytes());
    }
    if path.starts_with("/api/datasets/org/gated/") {
        return match token.as_deref() {
            Some("Bearer secret") => send("404 Not Found", "", 0, b""),
            _ => send("401 Unauthorized", "", 0, b""),
        };
    }
    if let Some(name) = path.strip_prefix(&format!("/datasets/org/set/resolve/{COMMIT}/"))
        && let Some((at, file)) = files.iter().enumerate().find(|(_, (path, _))| path.replace(' ', "%20") == name)
    {
        let content = file.1.sent.as_ref().unwrap_or(&file.1.content);
        if !file.1.in_lfs {
            return send("200 OK", "", content.len(), content);
        }
        return send("302 Found", &format!("Location: http://localhost:{port}/content/{at}\r\n"), 0, b"");
    }
    if let Some(at) = path.strip_prefix("/content/") {
        let file = files.values().nth(at.parse().unwrap()).unwrap();
        let content = file.sent.as_ref().unwrap_or(&file.content);
        let from = range_from.unwrap_or(0).min(content.len());
        let rest = &content[from..];
        if first_time {
            return send("200 OK", "", content.len(), &content[..content.len() / 2]);
        }
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len());
        return match range_from {
            Some(_) => send("206 Partial Content", &range, rest.len(), rest),
            None => send("200 OK", "", content.len(), content),
        };
    }
    send("404 Not Found", "", 0, b"");
}
