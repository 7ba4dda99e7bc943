//! A streamer's session without a process: the test says what its supervisor reports.

use chrono::Utc;
use common::id::StreamerId;
use common::ipc::{AnyRequest, Payload, Request};
use serde_json::json;
use tempfile::TempDir;

use super::lifetime::Lifetime;
use super::session::{Moment, Session};
use super::state::Change;
use super::store::{Record, Store};
use crate::hosts::Hosts;
use crate::supervisor::ask::Ticket;
use crate::supervisor::{self, Requests};

/// The session, and what it asks for.
pub(super) struct Bench {
    pub session: Session,
    pub requests: Requests,
    pub store: Store,
    pub hosts: Hosts,
    pub dir: TempDir,
}

pub(super) fn id() -> StreamerId {
    StreamerId::parse("demo").unwrap()
}

impl Bench {
    /// A streamer whose process has just been started.
    pub fn starting() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let hosts = Hosts::open(dir.path().join("moonlight")).unwrap();
        let (supervisor, requests) = supervisor::unsupervised();
        let spec = serde_json::from_value(json!({"source": {"type": "test"}})).unwrap();
        let record = Record::new(id(), Utc::now(), spec, Lifetime::default());
        let session = Session::new(record, Moment::now(), supervisor, store.clone(), hosts.clone());
        Self { session, requests, store, hosts, dir }
    }

    /// One whose source runs.
    pub fn running() -> Self {
        let mut bench = Self::starting();
        bench.session.change(Moment::now(), Change::SourceRuns);
        bench
    }

    /// The next request that the session has made.
    pub fn request(&mut self) -> (Ticket, AnyRequest) {
        self.requests.next().expect("a request")
    }

    /// The streamer's reply to the next request.
    pub fn reply<R: Request>(&mut self, reply: &R::Reply) {
        let (ticket, _) = self.request();
        self.session.replied(ticket, Ok(Payload::of(reply).unwrap()));
    }
}
