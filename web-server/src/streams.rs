//! Makes the streamer of the configured streams what the configuration says, once, when the server starts.

use common::id::StreamerId;
use common::signal::StreamerState;
use common::spec::StreamerSpec;

use crate::registry::Handle;
use crate::registry::request::Denied;

/// Starts the streamer `id`. One that runs with this spec already goes on, with its viewers; any other is ended first.
///
/// # Errors
/// Why it cannot be.
pub async fn apply(registry: &Handle, id: &StreamerId, spec: &StreamerSpec) -> Result<(), Denied> {
    match registry.create(Some(id.clone()), spec.clone()).await {
        Ok(created) if created.streamer.state != StreamerState::Failed => return Ok(()),
        Ok(_) | Err(Denied::Exists(_) | Denied::Stopping) => {}
        Err(denied) => return Err(denied),
    }
    tracing::info!(%id, "the streams are not as they are configured: starting their streamer anew");
    match registry.delete(id).await {
        // It may have ended by itself.
        Ok(()) | Err(Denied::NotFound(_)) => {}
        Err(denied) => return Err(denied),
    }
    registry.create(Some(id.clone()), spec.clone()).await.map(drop)
}
