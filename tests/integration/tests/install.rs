//! `scripts/install` into a folder, and the unit that it puts there.

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

fn install(root: &Path, more: &[&str]) -> String {
    let programs = binary("web-server");
    let output = Command::new(repository().join("scripts/install"))
        .arg("--root")
        .arg(root)
        .arg("--bin-dir")
        .arg(programs.parent().unwrap())
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
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

#[test]
fn everything_is_put_in_place_and_installing_again_changes_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let told = install(&root, &["--dry-run"]);
    assert!(told.contains("etc/systemd/system/oriel.service"), "{told}");
    assert!(!root.exists(), "a dry run does nothing");

    install(&root, &[]);
    let first = tree(&root);
    for (path, mode) in [
        ("usr/local/lib/oriel/web-server", 0o755),
        ("usr/local/lib/oriel/streamer", 0o755),
        ("usr/local/lib/oriel/streamer-helper", 0o755),
        ("etc/oriel/oriel.yaml", 0o640),
        ("etc/oriel/oriel.example.yaml", 0o644),
        ("etc/systemd/system/oriel.service", 0o644),
        ("var/lib/oriel", 0o700),
    ] {
        assert_eq!(first.get(Path::new(path)), Some(&mode), "{path}: {first:?}");
    }
    let config = root.join("etc/oriel/oriel.yaml");
    let checked = Command::new(root.join("usr/local/lib/oriel/web-server"))
        .arg("check-config")
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");

    fs::write(&config, "max_peers: 7\n").unwrap();
    install(&root, &[]);
    assert_eq!(fs::read_to_string(&config).unwrap(), "max_peers: 7\n");
    assert_eq!(tree(&root), first);
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
    let there = unit.replace("/usr/local/lib/oriel/web-server", binary("web-server").to_str().unwrap());
    let (good, said) = verify(&there);
    assert!(good && !said.contains("oriel.service:"), "{said}");
    let (_, said) = verify(&there.replace("KillMode=process", "KillMode=sometimes"));
    assert!(said.contains("oriel.service:"), "a mistake would have been seen: {said}");
}
