//! The `web-server` binary.

use std::process::ExitCode;

use web_server::{config::Config, server};

fn main() -> ExitCode {
    let config = match Config::load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("web-server: {error}");
            return ExitCode::from(2);
        }
    };
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
