//! Fetching from a server of the test's own on the loopback address, and from a mirror.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness_core::digest::Digest;
use harness_core::files;
use harness_corpus::{Fetcher, Origin, Packing, Proxies, Remote, Silent, Store};

/// One request as the server saw it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    path: String,
    range_from: Option<usize>,
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Serves `content` under several paths, each with a fault of its own.
fn serve(content: Vec<u8>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &content, &log);
        }
    });
    Server { address, seen }
}

fn answer(mut stream: TcpStream, content: &[u8], log: &Mutex<Vec<Seen>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let mut range_from = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            range_from = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let times = {
        let mut log = log.lock().unwrap();
        log.push(Seen { path: path.clone(), range_from });
        log.iter().filter(|seen| seen.path == path).count()
    };
    let mut send = |status: &str, headers: &str, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    let from = range_from.unwrap_or(0).min(content.len());
    let rest = &content[from..];
    let range = format!("Content-Range: bytes {from}-{}/{}\r\n", content.len().saturating_sub(1), content.len());
    match path.as_str() {
        "/redirect" => send("302 Found", "Location: /file\r\n", 0, b""),
        "/wrong" => send("200 OK", "", content.len(), &vec![b'x'; content.len()]),
        "/long" => send("200 OK", "", content.len() + 1, &[content, b"y"].concat()),
        "/busy" if times <= 2 => send("503 Service Unavailable", "", 0, b""),
        "/ignores-range" => send("200 OK", "", content.len(), content),
        "/breaks" if times == 1 => send("200 OK", "", content.len(), &content[..content.len() / 2]),
        "/never" => send("200 OK", "", content.len(), &content[..content.len() / 2]),
        "/file" | "/busy" | "/breaks" if range_from.is_none() => send("200 OK", "", content.len(), content),
        "/file" | "/busy" | "/breaks" if rest.is_empty() => {
            let range = format!("Content-Range: bytes */{}\r\n", content.len());
            send("416 Range Not Satisfiable", &range, 0, b"");
        }
        "/file" | "/busy" | "/breaks" => send("206 Partial Content", &range, rest.len(), rest),
        _ => send("404 Not Found", "", 0, b""),
    }
}

fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

fn remote(url: Option<String>, content: &[u8]) -> Remote {
    let bytes = content.len() as u64;
    Remote { name: "numbers".into(), url, path: None, sha256: Digest::of(content), bytes, packing: Packing::None }
}

fn fetcher(store: &Store) -> Fetcher {
    Fetcher::new(store).with_proxies(Proxies::None).with_attempts(3, Duration::from_millis(1))
}

fn fetch(path: &str, prepare: impl FnOnce(&Store, &Remote)) -> (Result<Vec<u8>, String>, Vec<Seen>, Vec<String>) {
    let content = content();
    let server = serve(content.clone());
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let wanted = remote(Some(format!("{}{path}", server.address)), &content);
    prepare(&store, &wanted);
    let result = fetcher(&store).fetch(std::slice::from_ref(&wanted), &mut Silent);
    let result = result.map_err(|e| e.to_string()).map(|fetched| {
        assert_eq!(fetched[0].origin, Origin::Url(wanted.url.clone().unwrap()));
        files::read(&fetched[0].path).unwrap()
    });
    let seen = server.seen.lock().unwrap().clone();
    (result, seen, files::list(&folder.path().join("downloads")).unwrap())
}

fn with_part(bytes: usize) -> impl FnOnce(&Store, &Remote) {
    move |store, wanted| {
        let part = store.download(&wanted.sha256).with_extension("part");
        files::write(&part, &content()[..bytes]).unwrap();
    }
}

#[test]
fn a_file_is_fetched_and_nothing_else_stays_behind() {
    let (result, seen, left) = fetch("/file", |_, _| {});
    assert_eq!(result.unwrap(), content());
    assert_eq!(seen.len(), 1);
    assert_eq!(left, [Digest::of(&content()).to_string()]);
    let (result, seen, _) = fetch("/redirect", |_, _| {});
    assert_eq!(result.unwrap(), content());
    assert_eq!(seen.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["/redirect", "/file"]);
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let (result, seen, _) = fetch("/breaks", |_, _| {});
    assert_eq!(result.unwrap(), content());
    let ranges: Vec<_> = seen.iter().map(|s| s.range_from).collect();
    assert_eq!(ranges, [None, Some(content().len() / 2)]);
    let (result, seen, _) = fetch("/file", with_part(1000));
    assert_eq!(result.unwrap(), content());
    assert_eq!(seen[0].range_from, Some(1000));
    let (result, _, _) = fetch("/file", with_part(content().len()));
    assert_eq!(result.unwrap(), content(), "a part that is whole already");
    let (result, _, _) = fetch("/ignores-range", with_part(1000));
    assert_eq!(result.unwrap(), content(), "a server without ranges");
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    let (result, seen, _) = fetch("/file", |store, wanted| {
        let part = store.download(&wanted.sha256).with_extension("part");
        files::write(&part, b"what is this?").unwrap();
    });
    assert_eq!(result.unwrap(), content());
    assert_eq!(seen.iter().map(|s| s.range_from).collect::<Vec<_>>(), [Some(13), None]);
}

#[test]
fn a_busy_server_is_asked_again() {
    let (result, seen, _) = fetch("/busy", |_, _| {});
    assert_eq!(result.unwrap(), content());
    assert_eq!(seen.len(), 3);
}

#[test]
fn what_cannot_be_had_is_explained() {
    let (result, seen, left) = fetch("/nowhere", |_, _| {});
    let message = result.unwrap_err();
    assert!(message.contains("answered 404 (not found)") && message.contains("\nhint: "), "{message}");
    assert_eq!(seen.len(), 1, "it is not asked again");
    assert!(left.is_empty(), "{left:?}");

    let (result, seen, left) = fetch("/never", |_, _| {});
    let message = result.unwrap_err();
    assert!(message.contains("tried 3 times") && message.contains("HARNESS_MIRROR"), "{message}");
    assert_eq!(seen.len(), 3);
    assert!(left.iter().any(|name| name.ends_with(".part")), "what came is kept: {left:?}");
}

#[test]
fn other_content_is_refused_and_removed() {
    for path in ["/wrong", "/long"] {
        let (result, _, left) = fetch(path, |_, _| {});
        let message = result.unwrap_err();
        assert!(message.contains(&Digest::of(&content()).to_string()), "{message}");
        assert!(message.contains("it was not kept\nhint: "), "{message}");
        assert!(left.is_empty(), "{path}: {left:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wanted = remote(Some(format!("http://127.0.0.1:{port}/file")), &content());
    let error = fetcher(&Store::at(folder.path())).fetch(&[wanted], &mut Silent).unwrap_err().to_string();
    assert!(error.contains(&port.to_string()) && error.contains("HTTPS_PROXY"), "{error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
    out
}

fn from_mirror(mirror: &Path, store: &Store, wanted: &Remote) -> Result<Origin, String> {
    let fetcher = fetcher(store).with_mirror(Some(mirror.to_owned()));
    let fetched = fetcher.fetch(std::slice::from_ref(wanted), &mut Silent).map_err(|e| e.to_string())?;
    assert_eq!(Digest::of_file(&fetched[0].path).unwrap(), wanted.sha256);
    Ok(fetched[0].origin.clone())
}

#[test]
fn a_mirror_is_searched_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let (mirror, store) = (folder.path().join("mirror"), Store::at(folder.path().join("store")));
    files::write(&mirror.join("a/any name.bin"), &content()).unwrap();
    files::write(&mirror.join("packed.gz"), &gzip(b"packed text")).unwrap();
    files::write(&mirror.join("broken.gz"), &gzip(b"broken text")[..12]).unwrap();
    let name = |origin: Result<Origin, String>| match origin {
        Ok(Origin::Mirror(path)) => path.file_name().unwrap().to_str().unwrap().to_owned(),
        other => panic!("not from the mirror: {other:?}"),
    };
    assert_eq!(name(from_mirror(&mirror, &store, &remote(None, &content()))), "any name.bin");
    assert_eq!(name(from_mirror(&mirror, &store, &remote(None, b"packed text"))), "packed.gz");
    assert_eq!(from_mirror(&mirror, &store, &remote(None, &content())), Ok(Origin::Store));
    // A file that is wanted as it lies there, packing and all.
    assert_eq!(name(from_mirror(&mirror, &store, &remote(None, &gzip(b"packed text")))), "packed.gz");

    let missing = from_mirror(&mirror, &store, &remote(None, b"never seen")).unwrap_err();
    assert!(missing.contains("has no url and is not in the mirror\nhint: set HARNESS_MIRROR"), "{missing}");
    files::write(&mirror.join("new.txt"), b"never seen").unwrap();
    assert_eq!(name(from_mirror(&mirror, &store, &remote(None, b"never seen"))), "new.txt");
    let none = from_mirror(&folder.path().join("nothing"), &store, &remote(None, b"x")).unwrap_err();
    assert!(none.contains("is not a folder"), "{none}");
}

#[test]
fn a_damaged_file_in_the_store_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mirror, store) = (folder.path().join("mirror"), Store::at(folder.path().join("store")));
    files::write(&mirror.join("file"), &content()).unwrap();
    let wanted = remote(None, &content());
    files::write(&store.download(&wanted.sha256), b"damaged").unwrap();
    assert!(matches!(from_mirror(&mirror, &store, &wanted), Ok(Origin::Mirror(_))));
}
