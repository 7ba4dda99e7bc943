//! `streamer monitor` starts `streamer session` and cleans up after it; `streamer clean` does when the monitor cannot.

use std::process::ExitCode;

use clap::Parser;
use streamer::config::{Args, Mode};
use tracing_subscriber::EnvFilter;

/// Packets of hundreds of peers are many small allocations on few threads.
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: streamer::allocations::Counting<mimalloc::MiMalloc> =
    streamer::allocations::Counting(mimalloc::MiMalloc);

/// What the WebRTC crates say at these levels is one line per packet of a strange client.
const QUIET: &str =
    "info,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_sctp=error,rtc_srtp=error,rtc_interceptor=error";

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("ORIEL_LOG").unwrap_or_else(|_| EnvFilter::new(QUIET));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match Args::parse().mode {
        Mode::Monitor { run_dir } => streamer::monitor::run(&run_dir),
        Mode::Clean { run_dir } => streamer::cleanup::run(&run_dir),
        Mode::Session { run_dir } => {
            #[cfg(feature = "count-allocations")]
            streamer::allocations::report(&run_dir);
            streamer::streamer::run(&run_dir)
        }
    }
}
