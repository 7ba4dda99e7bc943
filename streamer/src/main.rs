//! `streamer session` is the streamer. What starts it and cleans up after it is in [`streamer::helper`].

use std::process::ExitCode;

use clap::Parser;
use common::ipc::{LOG_FORMAT_VARIABLE, LOG_VARIABLE};
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

/// What the WebRTC crates say at other levels is one line per packet of a strange client. A filter that names them
/// goes before this.
const QUIET: &str =
    "rtc=error,rtc_ice=error,rtc_dtls=error,rtc_sctp=error,rtc_srtp=error,rtc_interceptor=error";

fn main() -> ExitCode {
    log_to_stderr();
    match Args::parse().mode {
        Mode::Part(part) => part.run(),
        Mode::Session { run_dir } => {
            #[cfg(feature = "count-allocations")]
            streamer::allocations::report(&run_dir);
            streamer::streamer::run(&run_dir)
        }
    }
}

/// As the web-server has been told to log; it has checked what it passes on.
fn log_to_stderr() {
    let filter = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::new(format!("{QUIET},{filter}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match std::env::var(LOG_FORMAT_VARIABLE).as_deref() {
        Ok("json") => builder.json().init(),
        _ => builder.with_ansi(false).init(),
    }
}
