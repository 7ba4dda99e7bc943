//! Programs that were written for other servers, served unchanged. Each adapter stands at the edge: it translates
//! another project's words into ours and back, and nothing behind it knows them. `docs/COMPAT.md` describes the
//! words.

pub mod multi_webrtc;
pub mod sfu;
