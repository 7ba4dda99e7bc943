//! Requests to hosts over HTTP and HTTPS. All of them block, with deadlines.

use std::sync::Arc;
use std::time::Duration;

use gamestream::http::{self, Target, get};
use gamestream::identity::{Identity, certificate};
use gamestream::reply::{self, App, ServerInfo};
use rustls::ClientConfig;

use super::Error;
use super::file::Record;

/// Timeout for a response that a host has ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// Timeout for ending an app.
const CANCEL_PATIENCE: Duration = Duration::from_secs(15);

/// A host, and the identity with which requests are sent to it.
pub struct Client<'a> {
    /// The host to ask.
    pub host: &'a Record,
    /// The id by which hosts tell clients apart.
    pub unique_id: &'a str,
}

impl Client<'_> {
    /// Path and query of a request.
    fn path(&self, command: &str, parameters: &str) -> String {
        let separator = if parameters.is_empty() { "" } else { "&" };
        let request = uuid::Uuid::new_v4().simple();
        format!("/{command}?uniqueid={}&uuid={request}{separator}{parameters}", self.unique_id)
    }

    /// Sends a request over plain HTTP.
    ///
    /// # Errors
    /// The host does not answer.
    pub fn plain(&self, command: &str, parameters: &str, patience: Duration) -> Result<String, http::Error> {
        let target = Target { host: &self.host.address, port: self.host.http_port, tls: None };
        Ok(get(&target, &self.path(command, parameters), patience)?.text())
    }

    /// Sends a request over TLS.
    ///
    /// # Errors
    /// The host does not answer, or is another one.
    pub fn secure(
        &self,
        tls: &Arc<ClientConfig>,
        command: &str,
        parameters: &str,
        patience: Duration,
    ) -> Result<http::Response, http::Error> {
        let target = Target { host: &self.host.address, port: self.host.https_port, tls: Some(tls) };
        get(&target, &self.path(command, parameters), patience)
    }

    /// The host's description of itself for anybody.
    ///
    /// # Errors
    /// [`Error`].
    pub fn public_info(&self) -> Result<ServerInfo, Error> {
        Ok(reply::server_info(&self.plain("serverinfo", "", PATIENCE)?)?)
    }

    /// The host's description of itself for paired clients.
    ///
    /// # Errors
    /// [`Error`].
    pub fn info(&self, tls: &Arc<ClientConfig>) -> Result<ServerInfo, Error> {
        Ok(reply::server_info(&self.secure(tls, "serverinfo", "", PATIENCE)?.text())?)
    }

    /// The host's apps.
    ///
    /// # Errors
    /// [`Error`].
    pub fn apps(&self, tls: &Arc<ClientConfig>) -> Result<Vec<App>, Error> {
        Ok(reply::apps(&self.secure(tls, "applist", "", PATIENCE)?.text())?)
    }

    /// The picture of an app, PNG.
    ///
    /// # Errors
    /// [`Error::NoImage`] when the response is no image.
    pub fn image(&self, tls: &Arc<ClientConfig>, app: u32) -> Result<Vec<u8>, Error> {
        let parameters = format!("appid={app}&AssetType=2&AssetIdx=0");
        let response = self.secure(tls, "appasset", &parameters, PATIENCE)?;
        match response.body.starts_with(b"\x89PNG\r\n\x1a\n") {
            true => Ok(response.body),
            false => Err(Error::NoImage(app)),
        }
    }

    /// Ends the running app.
    ///
    /// # Errors
    /// [`Error`].
    pub fn cancel(&self, tls: &Arc<ClientConfig>) -> Result<(), Error> {
        let reply = self.secure(tls, "cancel", "", CANCEL_PATIENCE)?.text();
        Ok(reply::done(&reply, "cancel")?)
    }
}

/// TLS to a paired host.
///
/// # Errors
/// [`Error::NotPaired`], or its certificate cannot be used.
pub fn tls(identity: &Identity, host: &Record) -> Result<Arc<ClientConfig>, Error> {
    let pem = host.certificate.as_deref().ok_or_else(|| Error::NotPaired(host.id.clone()))?;
    let certificate = certificate(pem.as_bytes()).map_err(|error| Error::State(error.to_string()))?;
    identity.tls(certificate).map_err(|error| Error::State(error.to_string()))
}
