//! Starts the streamer of the configured streams when the server starts, and replaces one with other streams.

use common::id::StreamerId;
use common::lifetime::StreamerPatch;
use common::signal::StreamerState;
use common::spec::StreamerSpec;

use crate::registry::Handle;
use crate::registry::request::Denied;

/// `by` in the audit trail.
const BY: &str = "server";

/// Starts the streamer `id`. One that runs with this spec already goes on, with its viewers; any other is ended first.
///
/// # Errors
/// The reason why it cannot be started.
pub async fn apply(registry: &Handle, id: &StreamerId, spec: &StreamerSpec) -> Result<(), Denied> {
    match registry.create(Some(id.clone()), spec.clone(), StreamerPatch::NEVER, BY).await {
        Ok(created) if !matches!(created.streamer.state, StreamerState::Failed | StreamerState::Stopped) => {
            return Ok(());
        }
        Ok(_) | Err(Denied::Exists(_) | Denied::Stopping) => {}
        Err(denied) => return Err(denied),
    }
    tracing::info!(%id, "the streams are not as they are configured: starting their streamer anew");
    match registry.delete(id, BY).await {
        // It may have ended by itself.
        Ok(()) | Err(Denied::NotFound(_)) => {}
        Err(denied) => return Err(denied),
    }
    registry.create(Some(id.clone()), spec.clone(), StreamerPatch::NEVER, BY).await.map(drop)
}
