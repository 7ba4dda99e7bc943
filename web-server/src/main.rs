//! The `web-server` binary.

use std::process::ExitCode;

use web_server::config::{Command, Loaded, LogFormat, keys};
use web_server::server;

/// The configuration is good, and the cluster cannot be joined now: a server would start, and try again.
const CANNOT_JOIN: u8 = 3;

fn main() -> ExitCode {
    let loaded = match Loaded::from_process() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("web-server: {error}");
            return ExitCode::from(2);
        }
    };
    if loaded.command.is_some() {
        for warning in &loaded.warnings {
            eprintln!("web-server: {warning}");
        }
    }
    match loaded.command {
        Some(Command::CheckConfig) => {
            return match server::check_cluster(&loaded.config) {
                Ok(()) => {
                    println!("the configuration is good");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("web-server: cluster.nats: {error:#}");
                    ExitCode::from(CANNOT_JOIN)
                }
            };
        }
        Some(Command::PrintConfig) => {
            print!("{}", keys::print(&loaded.config, &loaded.origins));
            return ExitCode::SUCCESS;
        }
        None => {}
    }
    let format = loaded.config.log_format;
    match server::run(loaded.config, &loaded.warnings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match format {
                LogFormat::Text => eprintln!("web-server: {error:#}"),
                // Every line on standard error is JSON then. It is set up before anything can fail.
                LogFormat::Json => tracing::error!("web-server: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}
