//! Files of `/etc` as the programs of one namespace see them: texts of ours, mounted over the system's.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::Mode;
use rustix::mount::{MountFlags, UnmountFlags};

/// Where the texts are while they are mounted: init mounts the right thing here afterwards.
const PLACE: &CStr = c"/proc";
/// Who has no shell of its own.
const SHELL: &str = "/bin/sh";

/// A file and what it says.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    name: &'static str,
    text: String,
}

/// Names are resolved by this server. What else the system's file says stays.
pub fn resolver(server: &str) -> File {
    let system = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    File { name: "resolv.conf", text: resolved_by(server, &system) }
}

fn resolved_by(server: &str, system: &str) -> String {
    let others = system.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let lines = others.map(str::to_owned).chain([format!("nameserver {server}")]);
    lines.map(|line| line + "\n").collect()
}

/// An account for the user that we are, where the system has none: message buses, shells and others want one.
pub fn account() -> Vec<File> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    // SAFETY: this process has one thread, and only whether there is an entry is looked at.
    if unsafe { !libc::getpwuid(uid).is_null() } {
        return Vec::new();
    }
    let home = std::env::var("HOME").ok().filter(|home| !home.contains([':', '\n']));
    let home = home.unwrap_or_else(|| "/".into());
    let with = |name: &'static str, line: String| {
        let system = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        File { name, text: format!("{}\n{line}\n", system.trim_end_matches('\n')) }
    };
    vec![
        with("passwd", format!("oriel-{uid}:x:{uid}:{gid}::{home}:{SHELL}")),
        with("group", format!("oriel-{gid}:x:{gid}:")),
    ]
}

/// Mounts them. Those that the system does not have are left out: there is nothing to mount them over.
///
/// # Errors
/// Mounting is not allowed.
pub fn mount(files: &[File]) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"none", PLACE, c"tmpfs", flags, c"size=1m,mode=755")?;
    let mounted = files.iter().try_for_each(mount_one);
    rustix::mount::unmount(PLACE, UnmountFlags::DETACH)?;
    mounted
}

fn mount_one(file: &File) -> io::Result<()> {
    let place = Path::new("/proc").join(file.name);
    let system = Path::new("/etc").join(file.name);
    fs::write(&place, &file.text)?;
    rustix::fs::chmod(&place, Mode::from_raw_mode(0o444))?;
    match rustix::mount::mount_bind(&place, &system) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_servers_are_others() {
        let system = "search example.org\nnameserver 127.0.0.53\n nameserver ::1\noptions edns0";
        assert_eq!(
            resolved_by("10.0.2.3", system),
            "search example.org\noptions edns0\nnameserver 10.0.2.3\n"
        );
    }
}
