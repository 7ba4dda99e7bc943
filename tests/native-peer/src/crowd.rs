//! What a peer that watches sees of others that join: an offer as large as is taken, and how long pictures stay out.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::sdp::{Bounded, MAX_PAYLOAD_TYPES};

use crate::{Error, Event, Options, Swarm};

/// Until the first picture, and until the next one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the watcher looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);
/// Arrivals that wait to be looked at. When there is no room the watcher waits, which costs none, as the kernel has the times.
const ARRIVALS: usize = 4096;

/// A WHEP offer with as much in it as a streamer takes: payload types and attributes by the thousand, in sections for video.
///
/// # Panics
/// When the bounds have become smaller than it is.
pub fn largest_offer() -> String {
    const SECTIONS: usize = 20;
    // All but those that RTCP would be taken for (RFC 5761 §4), as far as they reach.
    let types: Vec<usize> = (0..64).chain(96..128).take(MAX_PAYLOAD_TYPES).collect();
    let list = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let fingerprint = vec!["AB"; 32].join(":");
    let mids = (0..SECTIONS).map(|mid| mid.to_string()).collect::<Vec<_>>().join(" ");
    let mut sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n");
    for mid in 0..SECTIONS {
        sdp += &format!(
            "m=video 9 UDP/TLS/RTP/SAVPF {list}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
             a=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\n"
        );
        for (n, pt) in types.iter().enumerate() {
            let profile = ["42e01f", "4d001f", "64001f", "640c1f"][n % 4];
            sdp += &format!(
                "a=rtpmap:{pt} H264/90000\r\na=fmtp:{pt} packetization-mode={};profile-level-id={profile}\r\n\
                 a=rtcp-fb:{pt} nack\r\na=rtcp-fb:{pt} nack pli\r\n",
                n % 2
            );
        }
    }
    assert!(Bounded::check(sdp.clone()).is_ok(), "it is within the bounds");
    sdp
}

/// A peer on a thread of its own that notes when pictures are complete. Dropping it makes it leave.
pub struct Watcher {
    /// When pictures were complete, since 1970, as the kernel has it.
    pictures: Receiver<Duration>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    stop: Option<SyncSender<()>>,
}

impl Watcher {
    /// Joins, and waits for the first picture.
    ///
    /// # Errors
    /// It cannot join, or sees nothing.
    pub fn start(options: Options) -> Result<Self, Error> {
        let (sender, pictures) = sync_channel(ARRIVALS);
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::spawn(move || watch(options, &sender, &stopped));
        let watcher = Self { pictures, thread: Some(thread), stop: Some(stop) };
        watcher.next()?;
        Ok(watcher)
    }

    /// The times between two pictures in a row while `work` is done, the longest first; from the last picture before it to
    /// the first one after it.
    ///
    /// # Errors
    /// No more pictures come.
    pub fn gaps(&self, work: impl FnOnce()) -> Result<Vec<Duration>, Error> {
        let mut last = self.pictures.try_iter().last().map_or_else(|| self.next(), Ok)?;
        work();
        let arrived: Vec<_> = self.pictures.try_iter().collect();
        let mut gaps = Vec::with_capacity(arrived.len() + 1);
        for at in arrived.into_iter().chain([self.next()?]) {
            gaps.push(at.saturating_sub(last));
            last = at;
        }
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(gaps)
    }

    fn next(&self) -> Result<Duration, Error> {
        self.pictures.recv_timeout(PATIENCE).map_err(|_| Error::Signalling("no pictures come".to_owned()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        // Whatever it ended with: it is not wanted any more.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn watch(options: Options, pictures: &SyncSender<Duration>, stopped: &Receiver<()>) -> Result<(), Error> {
    let mut swarm = Swarm::new(options)?;
    swarm.join()?;
    while matches!(stopped.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)) {
        match swarm.next(Instant::now() + TICK)?.map(|(_, event)| event) {
            // Whoever reads is about to drop this.
            Some(Event::Rtp(packet)) if packet.marker => drop(pictures.send(packet.at)),
            Some(Event::Closed(reason)) => return Err(Error::Signalling(reason)),
            _ => {}
        }
    }
    swarm.leave();
    Ok(())
}
