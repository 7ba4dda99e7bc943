//! Support for tests from the outside: the real web-server with streamers, and independent means of observing them.
//!
//! * [`server`] starts the web-server in a state directory of its own and speaks its REST API.
//! * [`process`] reads `/proc`: which processes, sockets, files and shared memory a streamer has, and what is left
//!   of them.
//! * [`display`] looks at a session's X server as any X client could.
//! * [`gamestream`] starts a simulated Moonlight host.
//! * [`camera`] makes films and serves them by RTSP.
//! * [`rtsp`] plays streams by RTSP, by hand.
//! * [`listener`] reads server-sent events.
//! * [`nats`] starts a NATS server, and cuts the way to it.
//! * [`picture`] reads the server's PNGs.
//! * [`watched`] starts a desktop that writes down what input reaches it.
//! * [`wait`] waits for conditions, never for time.
//!
//! Everything here panics with a description of an unexpected state: the caller is a test.

pub mod camera;
pub mod display;
pub mod gamestream;
pub mod listener;
pub mod nats;
pub mod picture;
pub mod process;
pub mod rtsp;
pub mod server;
pub mod wait;
pub mod watched;

pub use display::Display;
pub use gamestream::FakeHost;
pub use listener::Listener;
pub use nats::{Nats, Way};
pub use picture::Picture;
pub use process::{Footprint, Process};
pub use server::{Answer, Server, binary};
pub use wait::{eventually, eventually_within};
pub use watched::Watched;
