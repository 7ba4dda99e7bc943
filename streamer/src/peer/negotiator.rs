//! The thread that negotiates for a shard: it creates connections, parses descriptions of peers, matches codecs, and makes
//! offers and answers. At the bounds of [`common::sdp`] one such job takes longer than a frame's interval, so the shard does
//! none of them.
//!
//! ```text
//! shard ── Job: a peer and what is to be agreed ──▶ negotiator
//!       ◀── Done: the peer and what came of it ─────
//! ```
//!
//! A peer belongs to one thread at a time: it is moved here and back, and [`Away`](super::away::Away) stands in for it.
//! Jobs wait in the shard, which hands over one at a time.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Instant;

use common::id::PeerId;
use common::ipc::{Code, IcePatch, RequestError};
use common::nat::Network;
use common::sdp::Bounded;
use common::signal::Role;

use super::connection::{Identity, Srtp};
use super::peer::{Peer, Setup};
use super::socket::Candidates;
use super::{Begin, Binding, Key, Sections};
use crate::memory::{self, UNWATCHED_LONG};
use crate::wake::Wake;

/// How much nicer the thread is than the shard. Where all processors are busy it gets half as much time as the threads that encode and
/// send: little enough not to delay pictures, and enough for a join of some milliseconds.
const NICER_BY: i32 = 3;
/// Bytes of waiting offers from new peers: enough for more than a thousand browsers, or a hundred offers at the bounds. When there is no
/// room for one, its peer is told to try again.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// The shard is asked for its counters once a second. A job that is still under way after this many requests is stuck.
const MAX_ASKED: u32 = 3;

/// What all connections of a shard have in common.
pub struct Common {
    /// Our certificate.
    pub identity: Identity,
    /// Our host candidates.
    pub candidates: Candidates,
    /// Replace them in what is offered; see [`common::nat::offered`].
    pub public_ips: Vec<IpAddr>,
    /// Never contacted.
    pub deny_candidates: Vec<Network>,
    /// Data channel messages that a peer may send per second.
    pub messages: u32,
}

/// A peer that is to be made.
pub struct Join {
    /// Its id.
    pub id: PeerId,
    /// What it may do.
    pub role: Role,
    /// SRTP profiles.
    pub srtp: Srtp,
    /// What the slots show.
    pub bindings: Vec<Option<Binding>>,
    /// Who offers.
    pub begin: Begin,
}

/// A task of the negotiator.
pub enum Work {
    /// Makes a peer.
    Join(Box<Join>),
    /// Takes the peer's answer.
    Answer(Box<Peer>, Bounded),
    /// Makes another offer.
    Offer(Box<Peer>),
    /// Takes the new transport of a player that restarts ICE, and answers.
    Restart(Box<Peer>, IcePatch),
}

impl Work {
    /// Its peer, if that has been created already.
    pub fn into_peer(self) -> Option<Box<Peer>> {
        match self {
            Work::Join(_) => None,
            Work::Answer(peer, _) | Work::Offer(peer) | Work::Restart(peer, _) => Some(peer),
        }
    }

    /// Bytes that a new peer has offered.
    fn offered_bytes(&self) -> usize {
        match self {
            Work::Join(join) => match &join.begin {
                Begin::Accept { offer, .. } | Begin::Publish { offer } => offer.as_ref().len(),
                Begin::Offer { .. } | Begin::OfferToMultiWebrtc => 0,
            },
            Work::Answer(..) | Work::Offer(_) | Work::Restart(..) => 0,
        }
    }
}

/// An offer or an answer of ours.
pub struct Made {
    /// The SDP.
    pub sdp: String,
    /// Where slots are in it, if that is not the same for all peers.
    pub sections: Option<Sections>,
}

/// The result of a task.
pub enum Outcome {
    /// Our offer, the first or another one.
    Offered(Made),
    /// Our answer to a new peer.
    Accepted(Made),
    /// Offer and answer are in place.
    Agreed,
    /// The peer's answer is invalid; the offer stays open.
    Refused(String),
    /// Our answer to a player that restarts ICE, or why its transport cannot be used.
    Restarted(Result<Made, RequestError>),
    /// A new peer's offer cannot be answered: there is no peer.
    Unanswerable(String),
    /// We cannot make an offer: the peer, if there is one, must be removed.
    Failed(String),
}

/// A job that is done.
pub struct Done {
    /// The peer that it was for.
    pub key: Key,
    /// Its peer, if there is one.
    pub peer: Option<Box<Peer>>,
    /// The result.
    pub outcome: Outcome,
}

struct Job {
    key: Key,
    work: Work,
}

/// There is no room for the offer of a new peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// The thread has crashed.
#[derive(Debug)]
pub struct Crashed;

/// Hands jobs to the thread, which ends when this is dropped.
pub struct Negotiator {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    waiting: Waiting<Work>,
    busy: bool,
    /// How often the shard was asked for its counters during the job under way.
    asked: u32,
}

impl Negotiator {
    /// Starts the thread. It wakes the shard by `wake`.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(common: Common, wake: Arc<Wake>) -> io::Result<Self> {
        // One job is under way at most, so neither is ever full.
        let (jobs, job_receiver) = sync_channel(1);
        let (done_sender, done) = sync_channel(1);
        crate::thread::spawn("negotiator", move || work(&common, &job_receiver, &done_sender, &wake))?;
        Ok(Self { jobs, done, waiting: Waiting::default(), busy: false, asked: 0 })
    }

    /// Queues a job. Urgent ones, of peers that show pictures, come before all others.
    ///
    /// # Errors
    /// [`Full`]; only for a new peer that offers.
    pub fn send(&mut self, key: Key, urgent: bool, work: Work) -> Result<(), Full> {
        self.waiting.push(key, urgent, work.offered_bytes(), work)?;
        self.next();
        Ok(())
    }

    /// Withdraws a job that has not begun.
    pub fn withdraw(&mut self, key: Key) -> Option<Work> {
        self.waiting.withdraw(key)
    }

    /// The next finished job, if there is one.
    ///
    /// # Errors
    /// The thread has crashed.
    pub fn take(&mut self) -> Result<Option<Done>, Crashed> {
        match self.done.try_recv() {
            Ok(done) => {
                self.busy = false;
                self.asked = 0;
                self.next();
                Ok(Some(done))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Crashed),
        }
    }

    /// To be called when the shard is asked for its counters. False when a job takes far too long.
    pub fn is_well(&mut self) -> bool {
        self.asked += u32::from(self.busy);
        self.asked <= MAX_ASKED
    }

    fn next(&mut self) {
        if self.busy {
            return;
        }
        if let Some((key, work)) = self.waiting.pop() {
            self.busy = true;
            // Fails when the thread has crashed, which `take` reports.
            let _ = self.jobs.try_send(Job { key, work });
        }
    }
}

/// Waiting jobs. An existing peer has at most one; those of new peers are bounded by their bytes.
struct Waiting<T> {
    urgent: VecDeque<Queued<T>>,
    others: VecDeque<Queued<T>>,
    bytes: usize,
}

struct Queued<T> {
    key: Key,
    bytes: usize,
    work: T,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { urgent: VecDeque::new(), others: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, key: Key, urgent: bool, bytes: usize, work: T) -> Result<(), Full> {
        if bytes > 0 && self.bytes + bytes > MAX_WAITING_BYTES {
            return Err(Full);
        }
        self.bytes += bytes;
        let queue = if urgent { &mut self.urgent } else { &mut self.others };
        queue.push_back(Queued { key, bytes, work });
        Ok(())
    }

    fn pop(&mut self) -> Option<(Key, T)> {
        let Queued { key, bytes, work } = self.urgent.pop_front().or_else(|| self.others.pop_front())?;
        self.bytes -= bytes;
        Some((key, work))
    }

    fn withdraw(&mut self, key: Key) -> Option<T> {
        let at = |queue: &VecDeque<Queued<T>>| queue.iter().position(|entry| entry.key == key);
        let entry = match at(&self.urgent) {
            Some(n) => self.urgent.remove(n),
            None => at(&self.others).and_then(|n| self.others.remove(n)),
        }?;
        self.bytes -= entry.bytes;
        Some(entry.work)
    }
}

fn work(common: &Common, jobs: &Receiver<Job>, done: &SyncSender<Done>, shard: &Wake) {
    // On Linux this applies to this thread alone. Where processors are idle it makes no difference.
    if let Err(error) = rustix::process::nice(NICER_BY) {
        tracing::debug!(%error, "joins are negotiated at the priority of everything else");
    }
    while let Some(Job { key, work }) = next(jobs) {
        let (peer, outcome) = negotiate(Instant::now(), common, work);
        if done.send(Done { key, peer, outcome }).is_err() {
            return;
        }
        shard.wake();
    }
}

/// Waits for a job; `None` when there will be none. What the last ones took, some 100 kB of descriptions each, is given back after a
/// while.
fn next(jobs: &Receiver<Job>) -> Option<Job> {
    match jobs.recv_timeout(UNWATCHED_LONG) {
        Err(RecvTimeoutError::Timeout) => {
            memory::give_back();
            jobs.recv().ok()
        }
        other => other.ok(),
    }
}

fn negotiate(now: Instant, common: &Common, work: Work) -> (Option<Box<Peer>>, Outcome) {
    match work {
        Work::Join(join) => self::join(now, common, *join),
        Work::Answer(mut peer, sdp) => {
            let outcome = match peer.answer(now, sdp) {
                Ok(()) => Outcome::Agreed,
                Err(error) => Outcome::Refused(error.to_string()),
            };
            (Some(peer), outcome)
        }
        Work::Offer(mut peer) => {
            let outcome = match peer.offer(now) {
                Ok(sdp) => Outcome::Offered(Made { sdp, sections: peer.sections() }),
                Err(error) => Outcome::Failed(error.to_string()),
            };
            (Some(peer), outcome)
        }
        Work::Restart(mut peer, patch) => {
            let bad =
                |error: super::connection::Error| RequestError::new(Code::BadFragment, error.to_string());
            let made = peer.restart(now, &patch).map(|sdp| Made { sdp, sections: None }).map_err(bad);
            (Some(peer), Outcome::Restarted(made))
        }
    }
}

fn join(now: Instant, common: &Common, join: Join) -> (Option<Box<Peer>>, Outcome) {
    let Join { id, role, srtp, bindings, begin } = join;
    let accepts = matches!(begin, Begin::Accept { .. } | Begin::Publish { .. });
    let setup = Setup {
        id,
        role,
        srtp,
        identity: &common.identity,
        candidates: &common.candidates,
        public_ips: &common.public_ips,
        deny_candidates: &common.deny_candidates,
        bindings: &bindings,
        messages: common.messages,
    };
    match Peer::new(now, setup, begin) {
        Ok((mut peer, sdp)) => {
            let made = Made { sdp, sections: peer.sections() };
            let outcome = if accepts { Outcome::Accepted(made) } else { Outcome::Offered(made) };
            (Some(Box::new(peer)), outcome)
        }
        Err(error) if accepts => (None, Outcome::Unanswerable(error.to_string())),
        Err(error) => (None, Outcome::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_pictures_comes_first_and_all_others_in_order() {
        let mut waiting = Waiting::default();
        for (key, urgent) in [(1, false), (2, true), (3, false), (4, true)] {
            waiting.push(key, urgent, 0, ()).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop()).map(|(key, ())| key).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn offers_of_new_peers_are_refused_when_too_many_bytes_wait() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.push(1, false, MAX_WAITING_BYTES, ()), Ok(()));
        assert_eq!(waiting.push(2, false, 1, ()), Err(Full));
        // What peers need for what they have begun always has room.
        assert_eq!(waiting.push(3, false, 0, ()), Ok(()));
        assert_eq!(waiting.withdraw(1), Some(()));
        assert_eq!(waiting.push(4, false, 1, ()), Ok(()));
        assert_eq!(waiting.pop(), Some((3, ())));
        assert_eq!(waiting.pop(), Some((4, ())));
        assert_eq!(waiting.push(5, false, MAX_WAITING_BYTES, ()), Ok(()));
    }

    #[test]
    fn a_job_is_withdrawn_once() {
        let mut waiting = Waiting::default();
        waiting.push(1, true, 0, "urgent").unwrap();
        waiting.push(2, false, 0, "other").unwrap();
        assert_eq!((waiting.withdraw(2), waiting.withdraw(2)), (Some("other"), None));
        assert_eq!((waiting.withdraw(1), waiting.pop()), (Some("urgent"), None));
    }
}
