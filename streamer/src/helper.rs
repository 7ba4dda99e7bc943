//! The small processes of a session: its monitor, the first process of each of its programs, and what clears it away when
//! all others are gone.
//!
//! They wait for as long as a session lasts and do next to nothing, so the program `streamer-helper` has them and nothing
//! else: the streamer needs dozens of libraries, and an allocator that takes memory in large pieces. Where that program is not
//! beside the streamer, the streamer plays the part itself, with the same arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::ipc::LOG_FORMAT_VARIABLE;
use tracing::Level;

use crate::process::init;
use crate::{cleanup, monitor};

/// The small processes of a session. Started by the web-server and the streamer, not by hand.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub part: Part,
}

/// One of them.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Starts a session, outlives it, and cleans up after it.
    Monitor {
        /// Directory of the session, mode 0700, with the token file in it.
        #[arg(long)]
        run_dir: PathBuf,
        /// The streamer to start; if absent, this program.
        #[arg(long)]
        streamer: Option<PathBuf>,
    },
    /// Clears away a session whose monitor was killed.
    Clean {
        /// Directory of the session.
        #[arg(long)]
        run_dir: PathBuf,
    },
    /// Runs a program of a session, apart from the processes of others.
    Init(init::Options),
}

impl Part {
    /// Plays it to its end.
    pub fn run(self) -> ExitCode {
        match self {
            Part::Monitor { run_dir, streamer } => match streamer.map_or_else(std::env::current_exe, Ok) {
                Ok(streamer) => monitor::run(&run_dir, &streamer),
                Err(error) => {
                    tracing::error!(%error, "the streamer cannot be found");
                    ExitCode::FAILURE
                }
            },
            Part::Clean { run_dir } => cleanup::run(&run_dir),
            Part::Init(options) => init::run(&options),
        }
    }
}

/// Logs to standard error, in the format that the web-server has asked for. What these processes say is rare and never detail,
/// so there is no filter, which would take more memory than all else.
pub fn log_to_stderr() {
    let builder = tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer(std::io::stderr);
    match std::env::var(LOG_FORMAT_VARIABLE).as_deref() {
        Ok("json") => builder.json().init(),
        _ => builder.with_ansi(false).init(),
    }
}
