//! The command line. What a session is made of comes by IPC, not from here.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::helper::Part;

/// One Oriel session. Started by the web-server, not by hand.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub mode: Mode,
}

/// The processes of a session that are ours.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// One of the small ones.
    #[command(flatten)]
    Part(Part),
    /// Runs a session.
    Session {
        /// Directory of the session.
        #[arg(long)]
        run_dir: PathBuf,
    },
}
