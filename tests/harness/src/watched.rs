//! A desktop on which `xwatch` writes down what input reaches it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::server::{Server, binary};
use crate::wait::eventually;

/// A desktop that `xwatch` covers, and the file to which it writes what reaches it.
pub struct Watched {
    /// The server with the desktop.
    pub server: Server,
    events: PathBuf,
    _folder: tempfile::TempDir,
}

impl Watched {
    /// Starts a server with a streamer of this id, and waits until `xwatch` has the focus.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn start(id: &str) -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let events = folder.path().join("events");
        let command = format!("exec {} --no-autorepeat > {}", binary("xwatch").display(), events.display());
        let source =
            json!({ "type": "desktop", "width": 640, "height": 480, "audio": false, "command": command });
        server.create(id, source);
        let watched = Self { server, events, _folder: folder };
        eventually("xwatch has the focus", || watched.lines().first().map(|_| ()));
        watched
    }

    /// Every event so far.
    ///
    /// # Panics
    /// When `xwatch` has written something else.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.events).unwrap_or_default();
        // The last line may still be being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of xwatch")).collect()
    }

    /// The fields `names` of all events of a kind.
    pub fn seen(&self, kind: &str, names: &[&str]) -> Vec<Value> {
        let events = self.lines().into_iter().filter(|event| event["type"] == kind);
        events.map(|event| names.iter().map(|name| event[name].clone()).collect()).collect()
    }
}
