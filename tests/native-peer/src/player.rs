//! A WHEP player, all but its HTTP: it offers to receive, takes the answer, and restarts ICE on another socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::stack::{BUFFER_BYTES, Endpoint, Endpoints, Purpose, Stack};
use crate::{Error, Event, Media};

/// Timers and the socket are looked at this often at least.
const TICK: Duration = Duration::from_millis(5);

/// One player.
pub struct Player {
    endpoint: Box<dyn Endpoint>,
    /// What the endpoint runs on.
    _endpoints: Endpoints,
    events: VecDeque<Event>,
    buffer: Box<[u8]>,
    /// Its last offer.
    offer: String,
    /// The answer to the first one.
    answer: String,
}

/// The value of the first such attribute in a description or fragment.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let line = sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim_end()
}

impl Player {
    /// A player whose offer is [`Player::offer`]. It has no candidates in it.
    ///
    /// # Errors
    /// When the stack or the system refuses.
    pub fn new(stack: Stack, media: Media) -> Result<Self, Error> {
        let endpoints = Endpoints::new(stack, media)?;
        let mut endpoint = endpoints.open(Purpose::Player)?;
        let offer = endpoint.offer(false)?;
        Ok(Self {
            endpoint,
            _endpoints: endpoints,
            events: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            offer,
            answer: String::new(),
        })
    }

    /// What it offers to the server.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer.
    ///
    /// # Errors
    /// It is none.
    pub fn answered(&mut self, sdp: &str) -> Result<(), Error> {
        self.answer = sdp.to_owned();
        self.endpoint.accept(sdp.to_owned())
    }

    /// Its credentials and its candidates, as a fragment.
    pub fn fragment(&self) -> String {
        let ufrag = attribute(&self.offer, "ice-ufrag");
        let pwd = attribute(&self.offer, "ice-pwd");
        let candidates = self.endpoint.candidates().into_iter().map(|candidate| format!("a={candidate}\r\n"));
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n{}",
            candidates.collect::<String>()
        )
    }

    /// Restarts ICE, and leaves its socket for another one. [`Player::fragment`] is for the server then.
    ///
    /// # Errors
    /// When the stack or the system refuses.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.offer = self.endpoint.offer(true)?;
        // What came to the socket that it has left.
        self.endpoint.take(&mut self.buffer, &mut |_| {});
        self.events.clear();
        Ok(())
    }

    /// Takes the server's fragment.
    ///
    /// # Errors
    /// It does not fit.
    pub fn restarted(&mut self, fragment: &str) -> Result<(), Error> {
        let mut answer = String::new();
        for line in self.answer.split_inclusive('\n') {
            match line.strip_prefix("a=").and_then(|line| line.split(':').next()) {
                Some(name @ ("ice-ufrag" | "ice-pwd")) => {
                    answer.extend(["a=", name, ":", attribute(fragment, name), "\r\n"]);
                }
                _ => answer.push_str(line),
            }
        }
        self.answered(&answer)
    }

    /// The next event; `None` when there is none until `deadline`.
    pub fn next(&mut self, deadline: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if Instant::now() >= deadline {
                return None;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
            // An interrupted wait is a short one.
            let _ = poll(&mut [PollFd::from_borrowed_fd(self.endpoint.fd(), PollFlags::IN)], Some(&timeout));
            let events = &mut self.events;
            self.endpoint.take(&mut self.buffer, &mut |event| events.push_back(event));
            self.endpoint.timers(Instant::now(), &mut |event| events.push_back(event));
        }
    }

    /// Receives until so many RTP packets have come to the socket that it has now; false when `deadline` was sooner.
    pub fn receives(&mut self, packets: usize, deadline: Instant) -> bool {
        let mut seen = 0;
        while seen < packets {
            match self.next(deadline) {
                Some(event) => seen += usize::from(matches!(event, Event::Rtp(_))),
                None => return false,
            }
        }
        true
    }
}
