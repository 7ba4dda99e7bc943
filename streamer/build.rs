//! Fails the build when there is no `nasm`: openh264's own build script would silently leave out
//! its assembly then, and encode about three times slower.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let nasm = Command::new("nasm").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !nasm.is_ok_and(|status| status.success()) {
        println!(
            "cargo::error=nasm is not installed. Oriel builds openh264 with its assembly; without it encoding \
             is about three times slower. Install it (Debian: apt-get install nasm), then run \
             `cargo clean -p openh264-sys2` if it was built before."
        );
    }
}
