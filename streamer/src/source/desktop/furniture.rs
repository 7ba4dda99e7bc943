//! The contents of a desktop without a command: a window manager, whose menu starts programs, and a terminal.

use std::ffi::OsStr;

use common::spec::Command;

use crate::process;

/// The programs that it needs.
const PROGRAMS: [&str; 2] = ["openbox", "xterm"];

/// The terminal is started by the window manager, which forgets windows that appear while it starts. The colour is decoration: a
/// system without `xsetroot` does without.
const SCRIPT: &str =
    "xsetroot -solid '#29323c' 2>/dev/null; exec openbox --startup 'xterm -fa Monospace -fs 11'";

/// The command, if its programs are installed; otherwise the desktop stays empty.
pub fn command() -> Option<Command> {
    command_in(&process::search_path())
}

/// The same for programs in the directories of `path`.
fn command_in(path: &OsStr) -> Option<Command> {
    let there = PROGRAMS.iter().all(|program| process::find_program(program, path).is_some());
    there.then(|| Command::Shell(SCRIPT.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt as _;

    #[test]
    fn a_desktop_is_furnished_only_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        for (program, furnished) in PROGRAMS.iter().zip([false, true]) {
            assert_eq!(command_in(dir.path().as_os_str()), None);
            let file = dir.path().join(program);
            std::fs::OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o755)
                .open(file)
                .unwrap();
            assert_eq!(command_in(dir.path().as_os_str()).is_some(), furnished, "{program}");
        }
    }
}
