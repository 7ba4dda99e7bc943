//! Oriel's figures: what is measured, how, and against which target. `scripts/bench` builds all programs and runs
//! the binary of this crate.
//!
//! ```text
//! bench ─┬─ web-server, streamers            the release binaries, in a directory of their own
//!        ├─ native-peers (process)           receivers without a browser; see the crate `native-peer`
//!        ├─ node browser/*.mjs (process)     Chromium
//!        └─ scene (in the session)           an X program with known content
//! ```
//!
//! Every figure is a set of samples; the report has their median and spread. With `--against` it is measured in turn with the
//! web-server and the streamer of another build ([`compare`]).

pub mod browser;
pub mod compare;
pub mod cpu;
pub mod figures;
pub mod janus;
pub mod line_process;
pub mod netsim;
pub mod peers;
pub mod quality;
pub mod reception;
pub mod relay;
pub mod report;
pub mod server;

/// The picture size that the time code of `scene` is drawn for: cells of eight pixels.
pub const CODE_AREA: (u32, u32) = (256, 128);
