//! The connection for large replies: made when the first is asked for, kept until the streamer ends.

use common::ipc::{AnyRequest, Purpose, ServerIpcMessage, StreamerIpcMessage};
use tokio::sync::mpsc;

use super::ask::{Answer, AskError, Pending};
use super::link::Connection;
use crate::rundir::RunDir;

pub(super) struct Command {
    pub request: AnyRequest,
    pub answer: Answer,
}

/// Asks what `commands` bring, until their sender is gone.
pub(super) async fn run(dir: RunDir, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match Connection::open(&dir, Purpose::Bulk).await {
            Ok(connection) => serve(connection, command, &mut commands).await,
            Err(error) => {
                tracing::warn!(%error, "no connection for a large reply");
                fail(command.answer, AskError::Gone);
            }
        }
    }
}

/// Returns when the connection is lost, or the sender of `commands` is gone and everybody is answered.
async fn serve(mut connection: Connection, first: Command, commands: &mut mpsc::Receiver<Command>) {
    let mut pending = Pending::default();
    ask(&mut connection, &mut pending, first);
    loop {
        tokio::select! {
            message = connection.next() => match message {
                Ok(StreamerIpcMessage::Reply { request, result }) => {
                    if let Some(answer) = pending.take(request) {
                        // Whoever has stopped waiting does not miss it.
                        let _ = answer.send(result.map_err(AskError::Refused));
                    }
                }
                Ok(other) => tracing::debug!(?other, "unexpected on the bulk connection"),
                Err(error) => {
                    tracing::debug!(%error, "the bulk connection ended");
                    for answer in pending.take_all() {
                        fail(answer, AskError::Gone);
                    }
                    return;
                }
            },
            command = commands.recv(), if connection.has_room() => match command {
                Some(command) => ask(&mut connection, &mut pending, command),
                None => return,
            },
        }
    }
}

fn ask(connection: &mut Connection, pending: &mut Pending<Answer>, command: Command) {
    match pending.enter(command.answer) {
        Err(answer) => fail(answer, AskError::Busy),
        Ok(id) => {
            let message = ServerIpcMessage::Request { id, request: command.request };
            if let Err(error) = connection.queue(&message) {
                tracing::warn!(%error, "cannot ask a streamer");
                if let Some(answer) = pending.take(id) {
                    fail(answer, error.into());
                }
            }
        }
    }
}

fn fail(answer: Answer, error: AskError) {
    // Whoever has stopped waiting does not miss it.
    let _ = answer.send(Err(error));
}
