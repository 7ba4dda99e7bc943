//! A bad network between a browser and the server under measurement: the program `netsim`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::server::{Server, binary};

/// A running `netsim`; dropping it ends it.
pub struct Netsim {
    child: Child,
    url: String,
}

impl Netsim {
    /// Starts one in front of a server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(server: &Server) -> Result<Self> {
        let mut child = Command::new(binary("netsim")?)
            .args(["--upstream", &server.url(""), "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting netsim")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("its output")?).read_line(&mut line)?;
        let url = line.trim().strip_prefix("netsim is ready at ").context("netsim did not become ready")?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { child, url })
    }

    /// What happens to packets from now on.
    ///
    /// # Errors
    /// When it refuses these rules.
    pub fn set(&self, rules: &Value) -> Result<()> {
        ureq::put(format!("{}/netsim/rules", self.url)).send_json(rules)?;
        Ok(())
    }

    /// URL of the page on which a streamer is watched over this network.
    pub fn viewer(&self, id: &str) -> String {
        format!("{}/s/{id}", self.url)
    }
}

impl Drop for Netsim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
