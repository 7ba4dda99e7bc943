//! Moonlight hosts.

use std::time::{Duration, Instant};

use common::hosts::{AddHost, Host, HostAppList, HostList, PairStarted, PairingState};

use super::word;
use crate::args::Hosts;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Progress, table};

/// How long somebody has to type a PIN, if nothing else is said.
const PAIRING: Duration = Duration::from_secs(300);
/// How often it is asked whether they have.
const POLL: Duration = Duration::from_millis(500);

pub fn run(client: &Client, out: Output, what: Hosts, time: Option<Duration>) -> Result<(), Failure> {
    match what {
        Hosts::Ls => {
            let answer = client.get("/api/hosts")?;
            out.answer(&answer, || {
                let row = |host: &Host| {
                    let app = host.current_app.as_ref().map(|app| app.name.clone()).unwrap_or_default();
                    let paired = if host.paired { "yes" } else { "no" };
                    vec![
                        host.id.clone(),
                        host.name.clone(),
                        host.address.clone(),
                        word(&host.state),
                        paired.into(),
                        app,
                    ]
                };
                let rows = answer.json::<HostList>()?.hosts.iter().map(row).collect();
                Ok(table(&["ID", "NAME", "ADDRESS", "STATE", "PAIRED", "APP"], rows, "no hosts"))
            })
        }
        Hosts::Add { address, port } => {
            let answer = client.json("POST", "/api/hosts", &AddHost { address, http_port: port })?;
            out.answer(&answer, || Ok(answer.json::<Host>()?.id))
        }
        Hosts::Pair { host } => pair(client, out, host.as_str(), time.unwrap_or(PAIRING)),
        Hosts::Apps { host } => {
            let answer = client.get(&format!("/api/hosts/{host}/apps"))?;
            out.answer(&answer, || {
                let apps = answer.json::<HostAppList>()?.apps;
                let rows = apps.into_iter().map(|app| vec![app.id.to_string(), app.name]).collect();
                Ok(table(&["ID", "NAME"], rows, "no apps"))
            })
        }
        Hosts::Wake { host } => {
            client.send("POST", &format!("/api/hosts/{host}/wake"), None)?;
            out.done(&format!("{host} was called"))
        }
        Hosts::Rm { host } => {
            client.delete(&format!("/api/hosts/{host}"))?;
            out.done(&format!("{host} is forgotten"))
        }
    }
}

/// Shows the PIN and waits until it has been typed on the host.
#[expect(clippy::disallowed_methods, reason = "the edge: waits for a person")]
fn pair(client: &Client, out: Output, host: &str, time: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + time;
    let answer = client.send("POST", &format!("/api/hosts/{host}/pair"), None)?;
    let started: PairStarted = answer.json()?;
    // On standard error, where it is seen even if the result is read by a program.
    eprintln!("type the PIN {} on the host", started.pin);
    let _progress = Progress::start("waiting for the host");
    loop {
        let answer = client.get(&format!("/api/hosts/{host}"))?;
        let now: Host = answer.json()?;
        match now.pairing.as_ref().map(|pairing| pairing.state) {
            Some(PairingState::Paired) => return out.answer(&answer, || Ok(format!("{host} is paired"))),
            Some(PairingState::Failed) | None => {
                let reason = now.pairing.and_then(|pairing| pairing.error);
                let reason = reason.unwrap_or_else(|| "the server knows nothing of it any more".into());
                return Err(Failure::Other(format!("pairing has failed: {reason}")));
            }
            Some(PairingState::WaitingForPin | PairingState::Verifying) => {}
        }
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut("nobody has typed the PIN in time (--timeout)".into()));
        }
        std::thread::sleep(POLL);
    }
}
