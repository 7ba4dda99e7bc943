//! The monitor of a session, and the first process of each of its programs: see [`streamer::helper`].

use std::process::ExitCode;

use clap::Parser as _;
use streamer::helper;

fn main() -> ExitCode {
    helper::log_to_stderr();
    helper::Args::parse().part.run()
}
