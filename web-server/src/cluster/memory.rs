//! What a node remembers of its records, in the state directory: which copies of which streamers it has started, and into which bucket their
//! records were written. By this it knows after a restart, or a day without NATS, what to make of a record that is missing or another one's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::cluster::Labels;
use common::id::StreamerId;
use serde::{Deserialize, Serialize};

use super::decide::Lineage;
use crate::durable;

/// The file in the state directory.
const FILE: &str = "cluster.json";

/// A streamer that has, or had, a record of this node's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The copy that was started here.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// What a node must have to run it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Its process was ended because NATS could not be reached (`cluster.on_partition`).
    #[serde(default)]
    pub paused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// When the bucket was made that records are in.
    bucket: Option<String>,
    streamers: BTreeMap<StreamerId, Remembered>,
}

/// All that is remembered, as it is in the file.
#[derive(Debug)]
pub struct Memory {
    file: PathBuf,
    content: Content,
    written: bool,
}

impl Memory {
    /// Reads what an earlier process has left.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join(FILE);
        let content = match fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, content, written: true })
    }

    /// A streamer's entry.
    pub fn get(&self, id: &StreamerId) -> Option<&Remembered> {
        self.content.streamers.get(id)
    }

    /// All ids.
    pub fn ids(&self) -> BTreeSet<StreamerId> {
        self.content.streamers.keys().cloned().collect()
    }

    /// This copy was started here, or is ours from now on.
    pub fn started(&mut self, id: &StreamerId, lineage: Lineage, labels: &Labels) {
        let paused = self.get(id).is_some_and(|known| known.paused);
        let entry = Remembered { lineage, labels: labels.clone(), paused };
        self.change(|content| content.streamers.insert(id.clone(), entry.clone()) != Some(entry));
    }

    /// Whether its process was ended because NATS could not be reached.
    pub fn set_paused(&mut self, id: &StreamerId, paused: bool) {
        self.change(|content| match content.streamers.get_mut(id) {
            Some(known) => std::mem::replace(&mut known.paused, paused) != paused,
            None => false,
        });
    }

    /// Nothing is left of the streamer that was created with this claim. One of the same id that was created since stays known.
    pub fn forget(&mut self, id: &StreamerId, claim: u64) {
        self.change(|content| {
            let known = content.streamers.get(id).is_some_and(|known| known.lineage.claim == claim);
            known && content.streamers.remove(id).is_some()
        });
    }

    /// Whether records are in this bucket, as far as is known.
    pub fn is_bucket(&self, born: &str) -> bool {
        self.content.bucket.as_deref() == Some(born)
    }

    /// All records that ought to be are in this bucket.
    pub fn set_bucket(&mut self, born: &str) {
        self.change(|content| content.bucket.replace(born.to_owned()).as_deref() != Some(born));
    }

    fn change(&mut self, change: impl FnOnce(&mut Content) -> bool) {
        if !change(&mut self.content) && self.written {
            return;
        }
        let write =
            || durable::replace(&self.file, &serde_json::to_vec(&self.content).map_err(io::Error::other)?);
        let written = write();
        // It counts for as long as this process lives; the next change tries again.
        if let Err(error) = &written
            && self.written
        {
            tracing::error!(%error, file = %self.file.display(), "what this node knows of its records cannot be kept");
        }
        self.written = written.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let id = StreamerId::parse("demo").unwrap();
        let lineage = Lineage { claim: 7, generation: 2 };
        let labels: Labels = [("gpu".to_owned(), "yes".to_owned())].into();
        let mut memory = Memory::open(dir.path()).unwrap();
        memory.started(&id, lineage, &labels);
        memory.set_paused(&id, true);
        memory.set_bucket("born");
        // A later copy is still paused.
        memory.started(&id, Lineage { generation: 3, ..lineage }, &labels);
        let read = Memory::open(dir.path()).unwrap();
        let known = read.get(&id).unwrap();
        assert_eq!((known.lineage.generation, known.paused, &known.labels), (3, true, &labels));
        assert!(read.is_bucket("born") && !read.is_bucket("another"));
        assert_eq!(read.ids(), [id.clone()].into());
        memory.forget(&id, 8);
        assert!(memory.get(&id).is_some(), "it is another one's end");
        memory.forget(&id, 7);
        assert_eq!(Memory::open(dir.path()).unwrap().get(&id), None);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Memory::open(dir.path()).unwrap_err().to_string().contains(FILE));
    }
}
