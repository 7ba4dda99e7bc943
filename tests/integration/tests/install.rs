//! The Debian package of `scripts/package`, and its unit.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::server::binary;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes the package of the programs that the tests run, and unpacks it into `root`.
fn unpack(dir: &Path, root: &Path) {
    let programs = binary("web-server");
    let output = Command::new(repository().join("scripts/package"))
        .arg("--out")
        .arg(dir)
        .arg("--bin-dir")
        .arg(programs.parent().unwrap())
        .args(["--version", "1.2.3"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let package = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("oriel_1.2.3_"))
        .expect("a package of that version");
    let output = Command::new("dpkg-deb").arg("-x").arg(package).arg(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Every file and folder below `root` with its mode.
fn tree(root: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(root).unwrap().to_owned(), mode);
        }
    }
    found
}

/// `scripts/package-test` installs it on a clean Debian; this is what can be seen without root and without a network.
#[test]
fn the_package_has_everything_and_its_configuration_is_one_that_the_server_takes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    unpack(dir.path(), &root);
    let found = tree(&root);
    for (path, mode) in [
        ("usr/lib/oriel/web-server", 0o755),
        ("usr/lib/oriel/streamer", 0o755),
        ("usr/lib/oriel/streamer-helper", 0o755),
        ("usr/lib/oriel/make-secret", 0o755),
        ("usr/bin/oriel", 0o755),
        ("usr/share/man/man1/oriel.1.gz", 0o644),
        ("usr/share/man/man1/oriel-create.1.gz", 0o644),
        ("usr/share/bash-completion/completions/oriel", 0o644),
        ("usr/share/zsh/vendor-completions/_oriel", 0o644),
        ("usr/share/fish/vendor_completions.d/oriel.fish", 0o644),
        ("usr/share/doc/oriel/examples/cluster/oriel-cluster.yaml", 0o644),
        ("usr/lib/systemd/system/oriel.service", 0o644),
        ("usr/share/oriel/alerts.yaml", 0o644),
        ("usr/share/doc/oriel/copyright", 0o644),
        ("usr/share/doc/oriel/examples/oriel.example.yaml", 0o644),
        ("usr/share/man/man8/oriel-web-server.8.gz", 0o644),
        ("etc/oriel/oriel.yaml", 0o640),
    ] {
        assert_eq!(found.get(Path::new(path)), Some(&mode), "{path}: {found:?}");
    }
    assert!(!root.join("etc/oriel/admin-secret").exists(), "each machine makes its own");

    let secret = dir.path().join("secret");
    let make = || {
        let output = Command::new(root.join("usr/lib/oriel/make-secret")).arg(&secret).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::read_to_string(&secret).unwrap()
    };
    let made = make();
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(made.trim_end().len(), 64);
    assert_eq!(make(), made, "one that is there stays");
    let config = root.join("etc/oriel/oriel.yaml");
    let check = |config: &Path, secret: &Path| {
        // The server's program is found where the package has it.
        Command::new(root.join("usr/bin/oriel"))
            .args(["config", "check", "--config"])
            .arg(config)
            .arg("--admin-secret-file")
            .arg(secret)
            .output()
            .unwrap()
    };
    let checked = check(&config, &secret);
    assert!(checked.status.success(), "{checked:?}");
    let checked = check(&config, &dir.path().join("absent"));
    assert_eq!(checked.status.code(), Some(2), "it is the secret that is read: {checked:?}");

    // With what the documents have for a node of a cluster, whose NATS is not there: an upgrade restarts it all the same.
    let node =
        fs::read_to_string(root.join("usr/share/doc/oriel/examples/cluster/oriel-cluster.yaml")).unwrap();
    let key = dir.path().join("cluster.key");
    fs::write(&key, "k".repeat(64)).unwrap();
    let node = node.replace("/etc/oriel/cluster.key", key.to_str().unwrap());
    let node = node.replace("/etc/oriel/nats.password", key.to_str().unwrap());
    let nowhere = ["tls://10.0.0.1:4222", "tls://10.0.0.2:4222", "tls://10.0.0.3:4222"];
    let node = nowhere.iter().fold(node, |node, url| node.replace(url, "nats://127.0.0.1:1"));
    let node_config = dir.path().join("node.yaml");
    fs::write(&node_config, fs::read_to_string(&config).unwrap() + &node).unwrap();
    let checked = check(&node_config, &secret);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("cannot connect to NATS"), "{checked:?}");
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not there (package systemd)");
        return;
    }
    let unit = fs::read_to_string(repository().join("deploy/oriel.service")).unwrap();
    assert!(unit.contains("\nKillMode=process\n"), "streamers outlive the service");
    let dir = tempfile::tempdir().unwrap();
    let verify = |text: &str| {
        let path = dir.path().join("oriel.service");
        fs::write(&path, text).unwrap();
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&path)
            .output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The program must be there.
    let there = unit.replace("/usr/lib/oriel/web-server", binary("web-server").to_str().unwrap());
    let (good, said) = verify(&there);
    assert!(good && !said.contains("oriel.service:"), "{said}");
    let (_, said) = verify(&there.replace("KillMode=process", "KillMode=sometimes"));
    assert!(said.contains("oriel.service:"), "a mistake would have been seen: {said}");
}
