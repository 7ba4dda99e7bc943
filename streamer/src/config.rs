//! The command line. What a session is made of comes by IPC, not from here.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::process::init::Options;

/// One Oriel session. Started by the web-server, not by hand.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub mode: Mode,
}

/// The two processes of a session, what clears it away when both are gone, and the first of each of its programs.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Starts a session, outlives it, and cleans up after it.
    Monitor {
        /// Directory of the session, mode 0700, with the token file in it.
        #[arg(long)]
        run_dir: PathBuf,
    },
    /// Clears away a session whose monitor was killed.
    Clean {
        /// Directory of the session.
        #[arg(long)]
        run_dir: PathBuf,
    },
    /// Runs a program of a session, apart from the processes of others.
    Init(Options),
    /// Runs a session.
    Session {
        /// Directory of the session.
        #[arg(long)]
        run_dir: PathBuf,
    },
}
