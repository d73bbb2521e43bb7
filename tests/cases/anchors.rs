//! What ties a run to the world outside: signatures, stamps of a local authority, and a remote of git; what each is worth to whom.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::common::{Project, skip};

fn id(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Runs a program of the machine; `false` where it is not there.
fn tool(folder: &Path, program: &str, arguments: &[&str]) -> bool {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => false,
    }
}

/// A key without a passphrase, outside the working tree.
fn key(project: &Project, name: &str, kind: &str) -> Option<String> {
    let folder = project.path(".git");
    if !tool(&folder, "ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", name, "-f", name]) {
        skip("ssh-keygen", "install openssh-client");
        return None;
    }
    Some(project.path(&format!(".git/{name}")).to_str().unwrap().to_owned())
}

fn allow(project: &Project, principal: &str, key: &str) {
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    project.write(
        "experiments/allowed_signers",
        &format!("# who may sign\n{principal} namespaces=\"harness-seal\" {public}"),
    );
}

#[test]
fn a_signature_says_who_vouches_for_a_run_and_for_no_other() {
    let project = Project::new();
    let Some(key) = key(&project, "ada", "ed25519") else { return };
    project.harness(&["run", "tiny"]).expect(0);
    let first = project.latest("tiny");
    project.harness(&["audit", "--require-anchor"]).expect(5);
    let sealed = fs::read(first.join("MANIFEST")).unwrap();
    let ran = project.harness(&["anchor", &id(&first), "--sign", &key]).expect(0);
    assert!(ran.stdout.contains("anchors/seal.sig"), "{}", ran.all());
    assert_eq!(fs::read(first.join("MANIFEST")).unwrap(), sealed, "it is apart from what is sealed");

    // Nobody is named who may sign.
    let ran = project.harness(&["audit"]).expect(0);
    assert!(ran.stdout.contains("which `allowed_signers` does not name"), "{}", ran.stdout);
    project.harness(&["audit", "--require-anchor"]).expect(5);

    allow(&project, "ada@example.org", &key);
    project.commit("Name who may sign");
    let ran = project.harness(&["audit", "--require-anchor", "-v"]).expect(0);
    assert!(
        ran.stdout.contains("ada@example.org vouches for") && ran.stdout.contains("not say since when"),
        "{}",
        ran.stdout
    );
    // By hand, as anyone can.
    let root = harness_core::Digest::of(&sealed);
    fs::write(project.path(".git/root"), format!("{root}\n")).unwrap();
    let (signers, signature) = (project.path("experiments/allowed_signers"), first.join("anchors/seal.sig"));
    let verify = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "harness-seal", "-I", "ada@example.org", "-f"])
        .arg(signers)
        .arg("-s")
        .arg(signature)
        .stdin(fs::File::open(project.path(".git/root")).unwrap())
        .status();
    assert!(verify.unwrap().success());

    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    let second = project.latest("tiny");
    fs::create_dir_all(second.join("anchors")).unwrap();
    fs::copy(first.join("anchors/seal.sig"), second.join("anchors/seal.sig")).unwrap();
    let ran = project.harness(&["audit", &id(&second)]).expect(1);
    assert!(ran.stdout.contains("is no signature of"), "{}", ran.stdout);
}

#[test]
fn a_remote_that_holds_a_run_is_asked_once_and_read_by_its_commit() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    project.git(&["init", "-q", "--bare", ".git/elsewhere"]);
    project.git(&["remote", "add", "origin", ".git/elsewhere"]);
    let ran = project.harness(&["anchor", "tiny", "--remote", "origin"]).expect(1);
    assert!(ran.stderr.contains("no branch of `origin` holds the run"), "{}", ran.all());
    project.commit("Run");
    project.git(&["push", "-q", "origin", "main"]);
    project.harness(&["anchor", "tiny", "--remote", "origin"]).expect(0);
    let ran = project.harness(&["audit", "--require-anchor", "-v"]).expect(0);
    assert!(ran.stdout.contains("was at `origin` by") && ran.stdout.contains("refs/heads/main"), "{}", ran.stdout);
    let ran = project.harness(&["anchor", "tiny", "--remote", "origin", "--json"]).expect(0);
    assert!(ran.stdout.contains("\"written\": []"), "the first is the one that proves most: {}", ran.stdout);

    // A commit that holds no such run.
    let path = run.join("anchors/seal.git.json");
    let first = project.git(&["rev-list", "--max-parents=0", "HEAD"]);
    let now = project.git(&["rev-parse", "HEAD"]);
    let anchor = fs::read_to_string(&path).unwrap().replace(now.trim(), first.trim());
    fs::write(&path, anchor).unwrap();
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("does not hold root"), "{}", ran.stdout);
}

const AUTHORITY: &str = r#"
[ req ]
distinguished_name = name
prompt = no
[ name ]
CN = A local authority
[ ca ]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[ stamps ]
basicConstraints = critical, CA:false
extendedKeyUsage = critical, timeStamping
[ tsa ]
default_tsa = local
[ local ]
serial = serial
default_policy = 1.2.3.4
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
"#;

/// Answers one request for a stamp after the other. Gives its address.
fn authority(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/tsr", listener.local_addr().unwrap());
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
            // The request is 59 bytes after the blank line.
            let body = loop {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
                match end.filter(|end| bytes.len() >= end + 59) {
                    Some(end) => break bytes[end..].to_vec(),
                    None => assert!(read > 0, "the request breaks off"),
                }
            };
            fs::write(folder.join("query"), body).unwrap();
            let sign = [
                "ts",
                "-reply",
                "-config",
                "conf",
                "-queryfile",
                "query",
                "-signer",
                "tsa.pem",
                "-inkey",
                "tsa.key",
                "-out",
                "reply",
            ];
            assert!(tool(&folder, "openssl", &sign));
            let reply = fs::read(folder.join("reply")).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                reply.len()
            );
            stream.write_all(&[head.as_bytes(), &reply].concat()).unwrap();
        }
    });
    address
}

#[test]
fn a_stamp_says_that_a_run_existed_by_then_to_who_believes_its_authority() {
    let project = Project::new();
    let folder = project.path(".git/authority");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("conf"), AUTHORITY).unwrap();
    fs::write(folder.join("serial"), "01\n").unwrap();
    let new = |key: &str, out: &str, more: &[&str]| {
        let common = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-config", "conf", "-days", "2", "-keyout", key, "-out",
            out,
        ];
        tool(&folder, "openssl", &[&common[..], more].concat())
    };
    if !new("ca.key", "ca.pem", &["-extensions", "ca"]) {
        return skip("openssl", "install openssl");
    }
    assert!(new(
        "tsa.key",
        "tsa.pem",
        &["-subj", "/CN=Stamps", "-extensions", "stamps", "-CA", "ca.pem", "-CAkey", "ca.key"]
    ));
    let address = authority(&folder);
    let believed = folder.join("ca.pem").to_str().unwrap().to_owned();

    // At open and at seal, as the project asks for it.
    project.write("experiments/project.toml", &format!("id = \"stamped\"\n[anchor]\ntsa = \"{address}\"\n"));
    project.commit("Stamp every run");
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let manifest = fs::read_to_string(run.join("MANIFEST")).unwrap();
    assert!(!manifest.contains("anchors/") && run.join("anchors/open.tsr").is_file(), "{manifest}");
    let ran = project.harness(&["audit", "--tsa-ca", &believed, "--require-anchor", "-v"]).expect(0);
    assert_eq!(ran.stdout.matches("existed by").count(), 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("anchors/open.tsr") && ran.stdout.contains("anchors/seal.tsr"), "{}", ran.stdout);

    // Who does not know the authority is told, and believes nothing.
    let ran = project.harness(&["audit"]).expect(0);
    assert!(ran.stdout.contains("the certificate of its authority is unknown"), "{}", ran.stdout);
    project.harness(&["audit", "--require-anchor"]).expect(5);

    // A stamp of something else.
    fs::copy(run.join("anchors/open.tsr"), run.join("anchors/seal.tsr")).unwrap();
    let ran = project.harness(&["audit", "--tsa-ca", &believed]).expect(1);
    assert!(ran.stdout.contains("is a stamp of something else"), "{}", ran.stdout);
    // One whose bytes were changed: the signature does not hold.
    let mut stamp = fs::read(run.join("anchors/open.tsr")).unwrap();
    let last = stamp.len() - 5;
    stamp[last] ^= 1;
    fs::remove_file(run.join("anchors/seal.tsr")).unwrap();
    fs::write(run.join("anchors/open.tsr"), stamp).unwrap();
    project.harness(&["audit", "--tsa-ca", &believed]).expect(1);

    // An authority that cannot be reached stops no run.
    project.write("experiments/project.toml", "id = \"stamped\"\n[anchor]\ntsa = \"http://127.0.0.1:1/tsr\"\n");
    project.commit("Ask nobody");
    let ran = project.harness(&["run", "tiny", "--seed", "9"]).expect(0);
    assert!(ran.stderr.contains("not anchored: could not fetch `the time stamp`"), "{}", ran.stderr);
}
