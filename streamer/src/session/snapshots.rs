//! Who waits for a snapshot of which source: one picture at a time is taken of each, for all who wait by then.
//!
//! ```text
//! asked ─▶ waiting ─(none is being taken)─▶ batch ─▶ picture ─▶ encoder ─▶ answered ─(INTERVAL after it began)─▶ next
//! ```
//!
//! However many ask, a source gives [`INTERVAL`] after [`INTERVAL`] one picture, and memory holds one of each.

use std::collections::BTreeMap;
use std::time::Duration;

use common::id::{SlotIndex, SourceName};
use common::ipc::request::Picture;
use common::ipc::{Code, RequestError};

use super::Session;
use super::effects::Work;
use crate::link::ReplyTo;
use crate::snapshot::Form;

/// From one picture of a source to the next.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Requests of a source that can wait. Further ones are refused.
const MAX_WAITING: usize = 64;
/// Forms that are made of one picture; who wants another one waits for the next picture.
const MAX_FORMS: usize = 4;

/// Somebody who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Where the answer goes.
    pub to: ReplyTo<Picture>,
    /// What it is to be.
    pub form: Form,
    /// The version that they have, which they do not want again.
    pub unless: Option<u64>,
}

/// What is to be made of one picture, and for whom.
pub type Batch = Vec<(Form, Vec<Waiting>)>;

/// The version that everybody has of those who wait for one form.
pub fn known(waiting: &[Waiting]) -> Option<u64> {
    let first = waiting.first()?.unless?;
    waiting.iter().all(|asked| asked.unless == Some(first)).then_some(first)
}

/// All who wait.
#[derive(Debug, Default)]
pub struct Snapshots(BTreeMap<SourceName, Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// A picture is being taken, or the last one was just now.
    busy: bool,
}

impl Snapshots {
    /// Somebody wants a picture of this source.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn ask(&mut self, source: &SourceName, asked: Waiting) -> Result<(), RequestError> {
        let queue = self.0.entry(source.clone()).or_default();
        if queue.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} snapshots of {source} are waited for already");
            return Err(RequestError::new(Code::Busy, message));
        }
        queue.waiting.push(asked);
        Ok(())
    }

    /// Those for whom a picture is to be taken now; [`Snapshots::over`] must follow.
    pub fn begin(&mut self, source: &SourceName) -> Option<Batch> {
        let queue = self.0.get_mut(source).filter(|queue| !queue.busy && !queue.waiting.is_empty())?;
        queue.busy = true;
        let mut batch = Batch::new();
        queue.waiting.retain(|asked| {
            let known = batch.iter().position(|(form, _)| *form == asked.form);
            match known {
                Some(n) => batch[n].1.push(*asked),
                None if batch.len() < MAX_FORMS => batch.push((asked.form, vec![*asked])),
                None => return true,
            }
            false
        });
        Some(batch)
    }

    /// The next picture of a source may be taken.
    pub fn over(&mut self, source: &SourceName) {
        let Some(queue) = self.0.get_mut(source) else { return };
        queue.busy = false;
        if queue.waiting.is_empty() {
            self.0.remove(source);
        }
    }
}

impl Session {
    /// `GET /snapshot`.
    pub(super) fn snapshot(&mut self, slot: SlotIndex, asked: Waiting) {
        let shown = self.not_stalled().and_then(|()| self.shown_in(slot).map(|_| ()));
        let source = self.slots.get(&slot).map(|bound| bound.shown.source.clone()).unwrap_or_default();
        let result = shown.and_then(|()| self.snapshots.ask(&source, asked));
        match result {
            Ok(()) => self.take_picture(&source),
            Err(error) => self.effects.refuse(asked.to, error),
        }
    }

    /// The next picture of a source may be taken.
    pub fn picture_over(&mut self, source: &SourceName) {
        self.snapshots.over(source);
        self.take_picture(source);
    }

    fn take_picture(&mut self, source: &SourceName) {
        let Some(batch) = self.snapshots.begin(source) else { return };
        let Some(running) = self.sources.get(source).and_then(|entry| entry.running()) else {
            // It has ended while they waited.
            let message = format!("the source {source} does not run any more");
            let error = RequestError::new(Code::SlotInactive, message);
            for Waiting { to, .. } in batch.into_iter().flat_map(|(_, all)| all) {
                self.effects.refuse(to, error.clone());
            }
            return self.picture_over(source);
        };
        let picture = running.picture();
        self.effects.work(Work::TakeSnapshots { source: source.clone(), picture, batch });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Asked;
    use common::api::SnapshotFormat;
    use common::id::RequestId;
    use common::ipc::ErrorKind;

    fn asked(request: u64, width: Option<u32>) -> Waiting {
        let to = ReplyTo::new(Asked { connection: 0, request: RequestId(request) });
        Waiting { to, form: Form { format: SnapshotFormat::Png, width }, unless: None }
    }

    fn requests(batch: Option<Batch>) -> Vec<(Option<u32>, usize)> {
        batch.into_iter().flatten().map(|(form, all)| (form.width, all.len())).collect()
    }

    #[test]
    fn one_picture_at_a_time_is_for_all_who_wait_by_then() {
        let (mut snapshots, main) = (Snapshots::default(), SourceName::from("main"));
        snapshots.ask(&main, asked(0, None)).unwrap();
        assert_eq!(requests(snapshots.begin(&main)), [(None, 1)]);
        for n in 1..40 {
            snapshots.ask(&main, asked(n, (n % 2 == 0).then_some(320))).unwrap();
        }
        assert_eq!(snapshots.begin(&main), None, "one is being taken");
        snapshots.over(&main);
        assert_eq!(requests(snapshots.begin(&main)), [(None, 20), (Some(320), 19)]);
        snapshots.over(&main);
        assert_eq!(snapshots.begin(&main), None);
        assert!(snapshots.0.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn a_version_is_known_if_all_have_it() {
        let all = |versions: &[Option<u64>]| -> Vec<Waiting> {
            versions.iter().map(|unless| Waiting { unless: *unless, ..asked(0, None) }).collect()
        };
        assert_eq!(known(&all(&[Some(7), Some(7)])), Some(7));
        for mixed in [&[Some(7), None][..], &[None, Some(7)], &[Some(7), Some(8)], &[None], &[]] {
            assert_eq!(known(&all(mixed)), None, "{mixed:?}");
        }
    }

    #[test]
    fn forms_and_those_who_wait_are_bounded() {
        let (mut snapshots, main) = (Snapshots::default(), SourceName::from("main"));
        for n in 0..MAX_WAITING as u64 {
            snapshots.ask(&main, asked(n, Some(16 + n as u32 % 6))).unwrap();
        }
        let refused = snapshots.ask(&main, asked(99, None)).unwrap_err();
        assert_eq!((refused.code.kind(), refused.code.as_str()), (ErrorKind::Limit, "busy"));
        assert!(snapshots.ask(&"other".into(), asked(0, None)).is_ok(), "each source has its own");
        let all = |batch: Option<Batch>| requests(batch).iter().map(|(_, all)| all).sum::<usize>();
        let first = all(snapshots.begin(&main));
        snapshots.over(&main);
        let second = snapshots.begin(&main);
        assert_eq!(requests(second.clone()).len(), 2);
        assert_eq!(first + all(second), MAX_WAITING, "nobody is forgotten");
    }
}
