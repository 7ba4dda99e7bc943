//! A thread that sleeps in `poll`, takes commands, and ends with its handle.
//!
//! The handle's queue is bounded. A command for which there is no room is dropped, and whoever waits for its
//! reply sees the reply's channel closed.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use common::slots::Pixel;
use tokio::sync::oneshot;

use super::Error;
use crate::media::{Picture, Size};
use crate::wake::{Wake, wait_readable};

/// Most queued snapshots and resizes; each takes milliseconds.
const QUEUE: usize = 16;

/// The handle. Dropping it stops the thread and waits for it.
pub struct Worker<C> {
    /// `None` only while this is dropped: the thread sees that no command can come any more.
    commands: Option<SyncSender<C>>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's side.
pub struct Inbox<C> {
    commands: Receiver<C>,
    wake: Arc<Wake>,
}

/// The next item of the inbox.
pub enum Next<C> {
    /// A command.
    Command(C),
    /// The inbox is empty.
    Empty,
    /// The handle is gone: the thread is to end.
    Stop,
}

impl<C: Send + 'static> Worker<C> {
    /// Starts `run` on a thread of this name (at most 15 bytes are shown by tools).
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn spawn(name: &str, run: impl FnOnce(Inbox<C>) + Send + 'static) -> Result<Self, Error> {
        let failed = |source| Error::Io { what: format!("starting thread {name:?}"), source };
        let wake = Arc::new(Wake::new().map_err(failed)?);
        let (commands, receiver) = sync_channel(QUEUE);
        let inbox = Inbox { commands: receiver, wake: Arc::clone(&wake) };
        let thread = crate::thread::spawn(name, move || run(inbox));
        Ok(Self { commands: Some(commands), wake, thread: Some(thread.map_err(failed)?) })
    }

    /// Queues a command for the thread. Never blocks.
    pub fn send(&self, command: C) {
        if let Some(commands) = &self.commands {
            // A full queue, or a thread that has ended, drops the command: see the module's doc.
            let _ = commands.try_send(command);
            self.wake.wake();
        }
    }
}

/// A request to a thread that makes pictures.
pub enum Request {
    /// The newest picture.
    Picture(oneshot::Sender<Picture>),
    /// Where the pointer is, if it is in the picture.
    Pointer(oneshot::Sender<Pixel>),
    /// Another size.
    Resize(Size, oneshot::Sender<Result<(), Error>>),
}

impl Worker<Request> {
    /// As [`Running::picture`](super::Running::picture).
    pub fn picture(&self) -> oneshot::Receiver<Picture> {
        let (answer, picture) = oneshot::channel();
        self.send(Request::Picture(answer));
        picture
    }

    /// As [`Running::pointer`](super::Running::pointer).
    pub fn pointer(&self) -> oneshot::Receiver<Pixel> {
        let (answer, done) = oneshot::channel();
        self.send(Request::Pointer(answer));
        done
    }

    /// As [`Running::resize`](super::Running::resize).
    pub fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, done) = oneshot::channel();
        self.send(Request::Resize(size, answer));
        done
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.commands = None;
        self.wake.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a source's thread panicked");
        }
    }
}

impl<C> Inbox<C> {
    /// The next command, if there is one.
    pub fn next(&self) -> Next<C> {
        match self.commands.try_recv() {
            Ok(command) => Next::Command(command),
            Err(TryRecvError::Empty) => Next::Empty,
            Err(TryRecvError::Disconnected) => Next::Stop,
        }
    }

    /// Sleeps until there may be a command, one of `others` is readable (or at its end), or it is `until`.
    ///
    /// # Errors
    /// When the system refuses to poll.
    pub fn sleep(&self, others: &[BorrowedFd<'_>], until: Option<Instant>) -> std::io::Result<()> {
        wait_readable(std::iter::once(self.wake.as_fd()).chain(others.iter().copied()), until)?;
        self.wake.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn commands_wake_a_sleeping_thread_in_order_and_dropping_ends_it() {
        let (seen, results) = mpsc::sync_channel(8);
        let worker = Worker::spawn("test", move |inbox: Inbox<u32>| {
            loop {
                match inbox.next() {
                    Next::Command(number) => seen.send(Some(number)).unwrap(),
                    Next::Empty => inbox.sleep(&[], None).unwrap(),
                    Next::Stop => return seen.send(None).unwrap(),
                }
            }
        });
        let worker = worker.unwrap();
        worker.send(1);
        assert_eq!(results.recv().unwrap(), Some(1));
        worker.send(2);
        worker.send(3);
        drop(worker);
        assert_eq!(results.iter().collect::<Vec<_>>(), [Some(2), Some(3), None]);
    }

    #[test]
    fn a_full_queue_drops_the_command() {
        let (go, gone) = mpsc::sync_channel::<()>(1);
        let worker = Worker::spawn("test", move |_inbox: Inbox<mpsc::SyncSender<()>>| {
            // Never looks at its inbox while the test fills it.
            let _ = gone.recv();
        });
        let worker = worker.unwrap();
        let (held, refused) = mpsc::sync_channel(1);
        for _ in 0..QUEUE {
            worker.send(held.clone());
        }
        drop(held);
        let (extra, answer) = mpsc::sync_channel(1);
        worker.send(extra);
        assert!(answer.recv().is_err(), "dropped at once");
        drop(go);
        drop(worker);
        assert!(refused.recv().is_err());
    }
}
