//! Moonlight hosts: which there are, pairing with them, and what they can be asked.
//!
//! ```text
//! api ──▶ Hosts ──(a thread that may block)──HTTP, HTTPS──▶ host
//!           │  └── hosts.json, client-key.pem, client-certificate.pem in the state directory
//!           └── resolve: how a streamer reaches the host of its spec
//! ```
//!
//! Requests to hosts may block for seconds, so each runs on a thread for blocking work, without holding any
//! lock. Streamers talk to hosts themselves once they know how to reach them.

mod file;
mod identity;
mod pairing;
mod requests;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::hosts::{
    AddHost, CurrentApp, Host, HostApp, HostAppList, HostState, PairStarted, Pairing, PairingState,
};
use common::spec::{HostAccess, SourceSpec};
use gamestream::http;
use gamestream::reply::{self, Codecs, ServerInfo};

use file::{Kept, Record};
use identity::Known;
use requests::Client;

/// Most hosts that are kept.
const MAX_HOSTS: usize = 64;
/// Longest name or address of a host (RFC 1035 §2.3.4).
const MAX_ADDRESS: usize = 253;
/// The port on which sleeping machines are woken.
const WAKE_PORT: u16 = 9;

/// Why an operation on hosts failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no host with that id.
    #[error("there is no host {0:?}; GET /api/hosts lists them")]
    NotFound(String),
    /// The host is not paired.
    #[error("host {0} is not paired; POST /api/hosts/{0}/pair begins that")]
    NotPaired(String),
    /// The host runs another app.
    #[error("the host says: {0}")]
    Busy(String),
    /// The host does not answer, or another one does in its place.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The host refuses, or its response is invalid.
    #[error(transparent)]
    Reply(reply::Error),
    /// The host has no such app, or no picture of it.
    #[error("the host has no picture of an app {0}")]
    NoImage(u32),
    /// Its hardware address is not known.
    #[error("host {0} has not told its hardware address, so it cannot be woken; start it once by hand")]
    NoMac(String),
    /// The maximum number of hosts is reached.
    #[error("{MAX_HOSTS} hosts are there already, and no more are allowed")]
    TooMany,
    /// A part of the request breaks a rule.
    #[error("{0}")]
    Address(String),
    /// The server's own state cannot be read or written.
    #[error("{0}")]
    State(String),
}

impl From<reply::Error> for Error {
    fn from(error: reply::Error) -> Self {
        match error {
            reply::Error::Refused { status: 503, message } => Self::Busy(message),
            other => Self::Reply(other),
        }
    }
}

/// All known hosts. Cheap to clone.
#[derive(Clone)]
pub struct Hosts(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    /// Created when it is first needed.
    identity: Mutex<Option<Arc<Known>>>,
    state: Mutex<State>,
}

struct State {
    kept: Kept,
    live: HashMap<String, Live>,
}

/// State that is not written to the disk.
#[derive(Debug, Clone, Default)]
struct Live {
    online: bool,
    /// The host has removed the pairing.
    forgotten: bool,
    /// It has another certificate.
    certificate_changed: bool,
    current_app: Option<CurrentApp>,
    pairing: Option<Pairing>,
}

impl Hosts {
    /// Loads the hosts kept in `dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut kept = file::read(&dir)?;
        if kept.unique_id.is_empty() {
            let id = getrandom::u64().map_err(io::Error::other)?;
            kept.unique_id = format!("{id:016x}");
        }
        let state = Mutex::new(State { kept, live: HashMap::new() });
        Ok(Self(Arc::new(Inner { dir, identity: Mutex::default(), state })))
    }

    /// All hosts, each asked for its current state.
    ///
    /// # Errors
    /// [`Error::State`].
    pub async fn list(&self) -> Result<Vec<Host>, Error> {
        let ids: Vec<String> = self.state().kept.hosts.iter().map(|host| host.id.clone()).collect();
        let refreshed = ids.iter().map(|id| self.get(id));
        let hosts = futures_util::future::join_all(refreshed).await;
        // A host that was removed meanwhile is left out.
        Ok(hosts.into_iter().filter_map(Result::ok).collect())
    }

    /// One host, asked for its current state.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, id: &str) -> Result<Host, Error> {
        let host = self.record(id)?;
        self.blocking(move |hosts| {
            hosts.refresh(&host);
            hosts.view(&host.id)
        })
        .await
    }

    /// Adds a host, which must answer. If there is one with this address already, returns that one; the flag is true
    /// for a new one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add(&self, add: AddHost) -> Result<(bool, Host), Error> {
        let AddHost { address, http_port } = add;
        validate_address(&address)?;
        if let Some(known) = self.by_address(&address, http_port) {
            return Ok((false, self.get(&known).await?));
        }
        self.blocking(move |hosts| {
            let mut host = Record {
                id: uuid::Uuid::now_v7().to_string(),
                address,
                http_port,
                https_port: 0,
                name: String::new(),
                unique_id: String::new(),
                mac: None,
                codecs: 0,
                certificate: None,
            };
            let info = hosts.client(&host, &hosts.unique_id()).public_info()?;
            learn(&mut host, &info);
            let id = hosts.insert(host)?;
            hosts.state().live.entry(id.clone()).or_default().online = true;
            Ok((true, hosts.view(&id)?))
        })
        .await
    }

    /// Removes a host. Its streams go on.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.blocking(move |hosts| {
            hosts.change(|kept| {
                let before = kept.hosts.len();
                kept.hosts.retain(|host| host.id != id);
                if kept.hosts.len() == before { Err(Error::NotFound(id.clone())) } else { Ok(()) }
            })?;
            hosts.state().live.remove(&id);
            Ok(())
        })
        .await
    }

    /// Begins to pair with a host, or returns the attempt that is under way.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pair(&self, id: &str) -> Result<PairStarted, Error> {
        let host = self.record(id)?;
        let pin = pairing::pin()?;
        {
            let mut state = self.state();
            let live = state.live.entry(host.id.clone()).or_default();
            if let Some(Pairing { state: state @ PairingState::WaitingForPin, pin: Some(pin), .. }) =
                &live.pairing
            {
                return Ok(PairStarted { pin: pin.clone(), state: *state });
            }
            let state = PairingState::WaitingForPin;
            live.pairing = Some(Pairing { state, pin: Some(pin.clone()), error: None, code: None });
        }
        let hosts = self.clone();
        let typed = pin.clone();
        // Waits for minutes, so it must not occupy a thread for requests.
        let thread = std::thread::Builder::new().name("pairing".into());
        let spawned = thread.spawn(move || hosts.run_pairing(&host, &typed));
        if let Err(error) = spawned {
            self.set_pairing(id, Some(pairing::PairingFailure::Ours(error.to_string()).view()));
            return Err(Error::State(error.to_string()));
        }
        Ok(PairStarted { pin, state: PairingState::WaitingForPin })
    }

    fn run_pairing(&self, host: &Record, pin: &str) {
        let verifying = || {
            let state = PairingState::Verifying;
            self.set_pairing(&host.id, Some(Pairing { state, pin: None, error: None, code: None }));
        };
        let unique_id = self.unique_id();
        let known = self.identity().map_err(|error| pairing::PairingFailure::Ours(error.to_string()));
        let paired = known
            .and_then(|known| pairing::run(&self.client(host, &unique_id), &known.identity, pin, verifying));
        let outcome = paired.and_then(|certificate| {
            let pem = pem_of(&certificate);
            self.change(|kept| {
                let host = kept.hosts.iter_mut().find(|known| known.id == host.id);
                host.ok_or_else(|| Error::NotFound("it was removed".into()))?.certificate = Some(pem);
                Ok(())
            })
            .map_err(|error| pairing::PairingFailure::Ours(error.to_string()))
        });
        let view = match outcome {
            Ok(()) => {
                tracing::info!(host = host.name, "paired");
                self.knows_us(host, true);
                Pairing { state: PairingState::Paired, pin: None, error: None, code: None }
            }
            Err(failure) => {
                tracing::warn!(host = host.name, %failure, "not paired");
                failure.view()
            }
        };
        self.set_pairing(&host.id, Some(view));
    }

    /// The apps of a paired host.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apps(&self, id: &str) -> Result<HostAppList, Error> {
        let host = self.record(id)?;
        self.blocking(move |hosts| {
            let apps = hosts.secure(&host, |client, tls| client.apps(tls))?;
            let app = |app: reply::App| {
                let image = format!("/api/hosts/{}/apps/{}/image", host.id, app.id);
                HostApp { id: app.id, name: app.name, hdr: app.hdr, image }
            };
            Ok(HostAppList { apps: apps.into_iter().map(app).collect() })
        })
        .await
    }

    /// The picture of an app, PNG.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn image(&self, id: &str, app: u32) -> Result<Vec<u8>, Error> {
        let host = self.record(id)?;
        self.blocking(move |hosts| hosts.secure(&host, |client, tls| client.image(tls, app))).await
    }

    /// Ends the app that runs on a host.
    ///
    /// # Errors
    /// [`Error::Busy`] when the host wants streams to end first.
    pub async fn cancel(&self, id: &str) -> Result<(), Error> {
        let host = self.record(id)?;
        self.blocking(move |hosts| hosts.secure(&host, |client, tls| client.cancel(tls))).await
    }

    /// Sends a magic packet to a sleeping host's hardware address. Whether the host wakes shows later.
    ///
    /// # Errors
    /// [`Error::NoMac`].
    pub async fn wake(&self, id: &str) -> Result<(), Error> {
        let host = self.record(id)?;
        let mac = host.mac.ok_or_else(|| Error::NoMac(host.id.clone()))?;
        self.blocking(move |_| {
            let packet = magic_packet(mac);
            let failed = |error: io::Error| Error::State(format!("cannot send to the network: {error}"));
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(failed)?;
            socket.set_broadcast(true).map_err(failed)?;
            // A router may forward it by address where broadcasts do not reach the host. One way is enough.
            let direct = socket.send_to(&packet, (host.address.as_str(), WAKE_PORT));
            let broadcast = socket.send_to(&packet, (Ipv4Addr::BROADCAST, WAKE_PORT));
            direct.or(broadcast).map(drop).map_err(failed)
        })
        .await
    }

    /// Completes a source with what a streamer needs to reach its host.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotPaired`].
    pub fn resolve(&self, source: SourceSpec) -> Result<SourceSpec, Error> {
        let SourceSpec::Moonlight(mut spec) = source else { return Ok(source) };
        let host = self.record(&spec.host_id)?;
        let forgotten = self.state().live.get(&host.id).is_some_and(|live| live.forgotten);
        let certificate = host.certificate.filter(|_| !forgotten);
        let host_certificate = certificate.ok_or_else(|| Error::NotPaired(host.id.clone()))?;
        let known = self.identity()?;
        spec.access = Some(Box::new(HostAccess {
            address: host.address,
            https_port: host.https_port,
            unique_id: spec.client_unique_id.clone().unwrap_or_else(|| self.unique_id()),
            host_certificate,
            certificate: known.identity.certificate_pem().to_owned(),
            key: known.key.0.clone(),
        }));
        Ok(SourceSpec::Moonlight(spec))
    }

    /// Sends a request to a host over TLS. Only an explicit refusal shows that the host has removed the pairing: an exchange may
    /// also fail because the host is busy, shutting down, or replaced.
    fn secure<T>(
        &self,
        host: &Record,
        ask: impl FnOnce(&Client<'_>, &Arc<rustls::ClientConfig>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let tls = requests::tls(&self.identity()?.identity, host)?;
        let unique_id = self.unique_id();
        let result = ask(&self.client(host, &unique_id), &tls);
        let changed = matches!(&result, Err(Error::Http(http::Error::CertificateChanged(_))));
        self.state().live.entry(host.id.clone()).or_default().certificate_changed = changed;
        if matches!(&result, Err(Error::Reply(error)) if error.is_unauthorised()) {
            self.knows_us(host, false);
            return Err(Error::NotPaired(host.id.clone()));
        }
        result
    }

    /// Notes whether the host, known by its pinned certificate, says that we are paired.
    fn knows_us(&self, host: &Record, knows: bool) {
        let mut state = self.state();
        let live = state.live.entry(host.id.clone()).or_default();
        (live.forgotten, live.certificate_changed) = (!knows, false);
    }

    fn refresh(&self, host: &Record) {
        let unique_id = self.unique_id();
        let told = host.certificate.is_some().then(|| self.secure(host, |client, tls| client.info(tls)));
        let told = told.and_then(Result::ok);
        if let Some(info) = &told {
            self.knows_us(host, info.paired);
        }
        let is_from_friend = told.as_ref().is_some_and(|info| info.paired);
        // Sunshine does not answer over TLS while it launches an app.
        let info = told.map_or_else(|| self.client(host, &unique_id).public_info(), Ok);
        let Ok(info) = info else {
            if let Some(live) = self.state().live.get_mut(&host.id) {
                live.online = false;
                live.current_app = None;
            }
            return;
        };
        let running =
            info.current_app.map(|id| CurrentApp { id, name: self.app_name(host, id, is_from_friend) });
        {
            let mut state = self.state();
            let live = state.live.entry(host.id.clone()).or_default();
            live.online = true;
            live.current_app = running;
        }
        let changed = {
            let mut now = host.clone();
            learn(&mut now, &info);
            now != *host
        };
        if changed {
            let learnt = self.change(|kept| {
                if let Some(known) = kept.hosts.iter_mut().find(|known| known.id == host.id) {
                    learn(known, &info);
                }
                Ok(())
            });
            if let Err(error) = learnt {
                tracing::warn!(%error, "what a host says of itself is not kept");
            }
        }
    }

    /// Empty when the host does not report it.
    fn app_name(&self, host: &Record, app: u32, paired: bool) -> String {
        if !paired {
            return String::new();
        }
        let apps = self.secure(host, |client, tls| client.apps(tls)).unwrap_or_default();
        apps.into_iter().find(|known| known.id == app).map(|app| app.name).unwrap_or_default()
    }

    fn view(&self, id: &str) -> Result<Host, Error> {
        let state = self.state();
        let host = state.kept.hosts.iter().find(|host| host.id == id);
        let host = host.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        let live = state.live.get(id).cloned().unwrap_or_default();
        let codecs = Codecs(host.codecs);
        let named = [(codecs.h264(), "h264"), (codecs.hevc(), "hevc"), (codecs.av1(), "av1")];
        Ok(Host {
            id: host.id.clone(),
            address: host.address.clone(),
            http_port: host.http_port,
            https_port: host.https_port,
            name: host.name.clone(),
            unique_id: host.unique_id.clone(),
            state: if live.online { HostState::Online } else { HostState::Offline },
            paired: host.certificate.is_some() && !live.forgotten,
            certificate_changed: live.certificate_changed,
            codecs: named.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect(),
            current_app: live.current_app,
            pairing: live.pairing,
        })
    }

    /// The id of a host, given by id or by its index among all hosts, from 0, as clients of other servers do.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn find(&self, named: &str) -> Result<String, Error> {
        let state = self.state();
        let hosts = &state.kept.hosts;
        let by_place = || named.parse::<usize>().ok().and_then(|place| hosts.get(place));
        let host = hosts.iter().find(|host| host.id == named).or_else(by_place);
        host.map(|host| host.id.clone()).ok_or_else(|| Error::NotFound(named.to_owned()))
    }

    fn record(&self, id: &str) -> Result<Record, Error> {
        let state = self.state();
        let host = state.kept.hosts.iter().find(|host| host.id == id);
        host.cloned().ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    fn by_address(&self, address: &str, http_port: u16) -> Option<String> {
        let state = self.state();
        let mut hosts = state.kept.hosts.iter();
        let same =
            hosts.find(|host| host.address.eq_ignore_ascii_case(address) && host.http_port == http_port);
        same.map(|host| host.id.clone())
    }

    /// Stores a host. If there is one with this address, returns the id of that one.
    fn insert(&self, host: Record) -> Result<String, Error> {
        let mut id = host.id.clone();
        self.change(|kept| {
            let same = |known: &&Record| known.address == host.address && known.http_port == host.http_port;
            // Another request may have added it while it was asked.
            if let Some(known) = kept.hosts.iter().find(same) {
                id = known.id.clone();
                return Ok(());
            }
            if kept.hosts.len() >= MAX_HOSTS {
                return Err(Error::TooMany);
            }
            kept.hosts.push(host);
            Ok(())
        })?;
        Ok(id)
    }

    /// Changes the stored hosts and writes them. If writing fails, nothing has changed.
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.state();
        let mut kept = state.kept.clone();
        let result = change(&mut kept)?;
        file::write(&self.0.dir, &kept)
            .map_err(|error| Error::State(format!("hosts cannot be written: {error}")))?;
        state.kept = kept;
        Ok(result)
    }

    fn set_pairing(&self, id: &str, pairing: Option<Pairing>) {
        if let Some(live) = self.state().live.get_mut(id) {
            live.pairing = pairing;
        }
    }

    fn client<'a>(&self, host: &'a Record, unique_id: &'a str) -> Client<'a> {
        Client { host, unique_id }
    }

    fn unique_id(&self) -> String {
        self.state().kept.unique_id.clone()
    }

    fn identity(&self) -> Result<Arc<Known>, Error> {
        let mut identity = self.0.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*identity {
            return Ok(Arc::clone(known));
        }
        let known = identity::load_or_make(&self.0.dir).map_err(|error| Error::State(error.to_string()))?;
        Ok(Arc::clone(identity.insert(Arc::new(known))))
    }

    /// Held for moments, never while a host is asked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let hosts = self.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&hosts)).await;
        asked.unwrap_or_else(|error| Err(Error::State(error.to_string())))
    }
}

fn learn(host: &mut Record, info: &ServerInfo) {
    host.https_port = info.https_port;
    host.name.clone_from(&info.name);
    host.unique_id.clone_from(&info.unique_id);
    host.mac = info.mac.or(host.mac);
    host.codecs = info.codecs.0;
}

fn validate_address(address: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if address.is_empty() || address.len() > MAX_ADDRESS || !address.chars().all(allowed) {
        return Err(Error::Address(format!("must be the name or the address of a host, not {address:?}")));
    }
    Ok(())
}

fn pem_of(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn magic_packet(mac: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    for _ in 0..16 {
        packet.extend(mac);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::spec::{AppRef, StreamerSpec};

    #[test]
    fn addresses_that_would_end_up_in_a_request_line_are_refused() {
        for good in ["127.0.0.1", "host.example", "::1", "my_pc-2"] {
            assert!(validate_address(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\r\nb", "http://h", "h?x", &"a".repeat(300)] {
            assert!(matches!(validate_address(bad), Err(Error::Address(_))), "{bad}");
        }
    }

    #[test]
    fn a_magic_packet_has_the_address_sixteen_times() {
        let packet = magic_packet([1, 2, 3, 4, 5, 6]);
        assert_eq!((packet.len(), &packet[..8]), (102, &[255, 255, 255, 255, 255, 255, 1, 2][..]));
    }

    #[tokio::test]
    async fn a_source_of_an_unknown_or_unpaired_host_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = Hosts::open(dir.path().join("moonlight")).unwrap();
        let source = |host: &str| {
            let json = serde_json::json!({"source": {"type": "moonlight", "host_id": host, "app": "x"}});
            serde_json::from_value::<StreamerSpec>(json).unwrap().source.unwrap()
        };
        assert!(matches!(hosts.resolve(source("h")), Err(Error::NotFound(_))));
        let record = Record {
            id: "h".into(),
            address: "127.0.0.1".into(),
            http_port: 1,
            https_port: 2,
            name: String::new(),
            unique_id: String::new(),
            mac: None,
            codecs: 0,
            certificate: None,
        };
        hosts.insert(record).unwrap();
        assert!(hosts.find("0").unwrap() == "h" && hosts.find("h").unwrap() == "h");
        assert!(matches!(hosts.find("1"), Err(Error::NotFound(_))));
        assert!(matches!(hosts.resolve(source("h")), Err(Error::NotPaired(_))));
        let set = |kept: &mut Kept| {
            kept.hosts[0].certificate = Some("pem".into());
            Ok(())
        };
        hosts.change(set).unwrap();
        let SourceSpec::Moonlight(resolved) = hosts.resolve(source("h")).unwrap() else { panic!("another") };
        assert_eq!(resolved.app, AppRef::Name("x".into()));
        assert_eq!(resolved.access.unwrap().https_port, 2);
        let again = Hosts::open(dir.path().join("moonlight")).unwrap();
        assert!(again.resolve(source("h")).is_ok(), "it is kept");
        assert!(matches!(hosts.wake("h").await, Err(Error::NoMac(_))));
        hosts.remove("h").await.unwrap();
        assert!(matches!(hosts.remove("h").await, Err(Error::NotFound(_))));
    }
}
