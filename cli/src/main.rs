//! The `oriel` binary.

use std::process::ExitCode;

use cli::{args, commands};

fn main() -> ExitCode {
    let arguments = args::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(failure) if failure.is_silent() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("oriel: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
