//! The parts of a desktop against the real programs: an X server, programs in it, a sound server.

#![allow(clippy::disallowed_methods, reason = "tests measure")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clipboard;
mod input;
mod session;
mod sound;

use std::path::Path;
use std::time::{Duration, Instant};

use streamer::media::Size;
use streamer::source::desktop::xserver::{Abilities, XServer};

/// Longer than anything here may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of X servers whose screens keep their size.
const ABILITIES: Abilities = Abilities { largest: Size { width: 1600, height: 1000 }, opengl: true };

/// A directory and an X server in it.
struct Desk {
    server: XServer,
    dir: tempfile::TempDir,
}

impl Desk {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = XServer::start(dir.path(), ABILITIES, |_| {}).unwrap();
        Self { server, dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Waits until `check` gives something.
fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
