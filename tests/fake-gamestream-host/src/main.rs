//! `fake-gamestream-host`: starts the host and says where it is.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::Parser;
use fake_gamestream_host::{Host, Options, Scenario};

#[derive(Parser)]
#[command(about = "A GameStream host for tests, on 127.0.0.1. Prints its ports as one line of JSON")]
struct Arguments {
    /// HTTP port; the others are at their usual distances from it, this program's own interface at +1. Free ones if absent.
    #[arg(long)]
    base_port: Option<u16>,
    /// PIN to type for everybody who pairs.
    #[arg(long)]
    pin: Option<String>,
    /// Reads PINs from the standard input, one a line.
    #[arg(long)]
    pin_stdin: bool,
    /// How it behaves: a JSON object, see `scenario.rs`. What it does not name is as usual.
    #[arg(long, default_value = "{}")]
    scenario: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scenario = Scenario::default().changed(&arguments.scenario).map_err(anyhow::Error::msg);
    let scenario = scenario.context("--scenario")?;
    let host = Host::start(Options { base_port: arguments.base_port, pin: arguments.pin, scenario })?;
    println!("{}", serde_json::to_string(&host.ports())?);
    if arguments.pin_stdin {
        for line in std::io::stdin().lock().lines() {
            host.shared().state().pin = Some(line?.trim().to_owned());
            host.shared().notify();
        }
    }
    loop {
        std::thread::park();
    }
}
