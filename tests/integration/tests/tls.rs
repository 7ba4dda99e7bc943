//! HTTPS, and a certificate that is renewed while the server runs; seen by curl.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::eventually;
use harness::server::binary;

/// Ends the web-server with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new key with a certificate of its own for localhost. The key comes last: the pair is whole once both are there.
fn make_certificate(dir: &Path) {
    let cert = dir.join("cert.new");
    let key = dir.join("key.new");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed").success());
    std::fs::rename(cert, dir.join("cert.pem")).unwrap();
    std::fs::rename(key, dir.join("key.pem")).unwrap();
}

/// What curl gets from `url`, trusting this certificate alone.
fn curl(url: &str, trusted: &Path) -> Result<String, String> {
    let output =
        Command::new("curl").args(["-sS", "--max-time", "10", "--cacert"]).arg(trusted).arg(url).output();
    let output = output.expect("curl is installed");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    make_certificate(dir.path());
    let server = Command::new(binary("web-server"))
        .args(["--port", "0", "--stop-streamers", "--state-dir"])
        .arg(dir.path().join("state"))
        .arg("--tls-cert")
        .arg(dir.path().join("cert.pem"))
        .arg("--tls-key")
        .arg(dir.path().join("key.pem"))
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Running(server.expect("the web-server starts"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("Oriel is ready at ").unwrap().replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"), "{url}");
    let url = format!("{url}healthz");
    let old = dir.path().join("old.pem");
    std::fs::copy(dir.path().join("cert.pem"), &old).unwrap();
    assert_eq!(curl(&url, &old).as_deref(), Ok("ok\n"));
    assert!(curl(&url.replace("https", "http"), &old).is_err());

    make_certificate(dir.path());
    let new = dir.path().join("cert.pem");
    eventually("the new certificate is used", || curl(&url, &new).ok());
    assert!(curl(&url, &old).is_err());

    // What cannot be used does not replace what is in use.
    std::fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
    assert_eq!(curl(&url, &new).as_deref(), Ok("ok\n"));
}

#[test]
fn what_is_not_safe_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |options: &[&str]| {
        let output = Command::new(binary("web-server"))
            .args(options)
            .arg("--state-dir")
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{options:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = refused(&["--listen", "0.0.0.0:0"]);
    assert!(error.contains("ORIEL_ADMIN_SECRET") && error.contains("127.0.0.1"), "{error}");
    assert!(refused(&["--port", "0", "--base-path", "/x"]).contains("ORIEL_ADMIN_SECRET"));
    assert!(refused(&["--port", "0", "--tls-cert", "c"]).contains("tls.key"));
    let missing = dir.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    assert!(refused(&["--port", "0", "--tls-cert", missing, "--tls-key", missing]).contains("missing.pem"));
}
