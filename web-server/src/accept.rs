//! Accepting connections that no HTTP server takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// After a failure to accept, as when there are no descriptors left: connections wait in the kernel meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever, which log lines call `what`. `begin` makes what is done with one, which is ended together with this, or
/// closes it at once.
pub async fn accept<T: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    what: &str,
    mut begin: impl FnMut(TcpStream, SocketAddr) -> Option<T>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, from)) => {
                if let Some(task) = begin(stream, from) {
                    connections.spawn(task);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept {what}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
