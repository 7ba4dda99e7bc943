//! Players that read a stream: those whose connection has not come yet, and the threads of the others.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::api::PeerState;
use common::id::PeerId;
use tokio::sync::mpsc;

use crate::feed::{Ear, Tap};
use crate::peer::Report;
use crate::reader::thread::Reader;
use crate::reader::{Format, mp4, rtp};
use crate::session::Reads;

/// The web-server connects for a reader at once. One for which it does not has left.
const PATIENCE: Duration = Duration::from_secs(10);

struct Entry {
    opened: Instant,
    /// Until the connection comes.
    reader: Option<Reader>,
    /// Its thread ends when this is set.
    stop: Arc<AtomicBool>,
}

/// All readers of a session.
pub struct Readers {
    entries: BTreeMap<PeerId, Entry>,
    reports: mpsc::Sender<Report>,
}

impl Readers {
    /// Of a session without any, which is told by `reports` when one is gone.
    pub fn new(reports: mpsc::Sender<Report>) -> Self {
        Self { entries: BTreeMap::new(), reports }
    }

    /// A reader of these feeds, whose connection is about to come.
    pub fn open(&mut self, now: Instant, peer: PeerId, reads: Reads, tap: Tap, ear: Option<Ear>) {
        let stop = Arc::new(AtomicBool::new(false));
        let has_sound = ear.is_some();
        let format: Box<dyn Format> = match reads {
            Reads::Mp4 => Box::new(mp4::Live::new(has_sound)),
            Reads::Rtp => Box::new(rtp::Live::new(rtp::Origin::now(), has_sound)),
        };
        let reader = Some(Reader::new(format, tap, ear, Arc::clone(&stop)));
        self.entries.insert(peer, Entry { opened: now, reader, stop });
    }

    /// The connection of a reader has come. It is closed if nobody is waiting for it.
    pub fn connected(&mut self, peer: PeerId, socket: UnixStream) {
        let Some(reader) = self.entries.get_mut(&peer).and_then(|entry| entry.reader.take()) else { return };
        let reports = self.reports.clone();
        let spawned = crate::thread::spawn("reader", move || {
            let connected = Report::State { peer, state: PeerState::Connected };
            // Fails only when the session has ended.
            let _ = reports.blocking_send(connected);
            let reason = reader.send_to(socket);
            let _ = reports.blocking_send(Report::Gone { peer, reason });
        });
        if let Err(error) = spawned {
            self.gone(peer, &error.to_string());
        }
    }

    /// Ends a reader.
    pub fn close(&mut self, peer: PeerId) {
        match self.entries.remove(&peer) {
            Some(Entry { reader: None, stop, .. }) => stop.store(true, Ordering::Release),
            Some(_) => self.gone(peer, "it was removed"),
            None => {}
        }
    }

    /// Gives up readers whose connection does not come, and forgets those that are gone. To be called now and then.
    pub fn tick(&mut self, now: Instant) {
        let late = |entry: &Entry| entry.reader.is_some() && now >= entry.opened + PATIENCE;
        let gone: Vec<_> =
            self.entries.iter().filter(|(_, entry)| late(entry)).map(|(peer, _)| *peer).collect();
        for peer in gone {
            self.gone(peer, "nobody has come to read");
        }
        // A thread holds the other half.
        self.entries.retain(|_, entry| entry.reader.is_some() || Arc::strong_count(&entry.stop) > 1);
    }

    /// Ends all of them.
    pub fn stop(&self) {
        for entry in self.entries.values() {
            entry.stop.store(true, Ordering::Release);
        }
    }

    fn gone(&mut self, peer: PeerId, reason: &str) {
        self.entries.remove(&peer);
        let gone = Report::Gone { peer, reason: reason.to_owned() };
        let reports = self.reports.clone();
        // The loop that calls us reads the reports, so it must not wait for room.
        tokio::spawn(async move { reports.send(gone).await });
    }
}
