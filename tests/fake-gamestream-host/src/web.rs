//! GameStream's HTTP and HTTPS: what the host is, pairing, apps, launching.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::StoresServerSessions;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};

use crate::crypto::{Key, from_hex, to_hex};
use crate::host::{Outgoing, PIN_PATIENCE, Shared, State};
use crate::http::{Request, Response, head};
use crate::identity::{Client, Identity, random};
use crate::pairing::{Pairing, Refused};
use crate::scenario::{App, HttpFault, PairingFault};
use crate::session::Launch;

/// An answer without end ends all the same after so many pieces of 64 KiB.
const ENDLESS: usize = 4096;

/// TLS with either certificate.
pub struct Tls {
    configs: [Arc<ServerConfig>; 2],
}

impl Tls {
    /// Takes any client certificate in the handshake, as Sunshine; who it belongs to is looked at with each request.
    ///
    /// # Errors
    /// When rustls does not like a certificate.
    pub fn new(identities: &[Arc<Identity>; 2]) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let config = |identity: &Identity| {
            let key = PrivateKeyDer::try_from(identity.key_der.clone()).map_err(anyhow::Error::msg)?;
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .with_client_cert_verifier(Arc::new(AnyClient(provider.clone())))
                .with_single_cert(vec![CertificateDer::from(identity.der.clone())], key)?;
            config.session_storage = Arc::new(Offers::default());
            anyhow::Ok(Arc::new(config))
        };
        Ok(Self { configs: [config(&identities[0])?, config(&identities[1])?] })
    }

    /// One connection.
    pub fn serve(&self, shared: &Arc<Shared>, stream: TcpStream) {
        let identity = shared.identity();
        let which = usize::from(!Arc::ptr_eq(&identity, &shared.identities[0]));
        // Sunshine has no thread left for others while it launches an app.
        shared.wait(PIN_PATIENCE, |state| (!state.launching).then_some(()));
        let Ok(connection) = ServerConnection::new(self.configs[which].clone()) else { return };
        let Some(connection) = shake_hands(shared, connection, &stream) else { return };
        let heir = stream.try_clone().ok();
        let mut stream = StreamOwned::new(connection, stream);
        let Ok(request) = Request::read(&mut stream) else { return };
        let certificate = stream.conn.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|certificate| certificate.to_vec()).unwrap_or_default();
        let known = shared.state().clients.iter().any(|client| client.der == certificate);
        let caller = if known { Caller::Paired } else { Caller::Stranger };
        let before = shared.state().app;
        answer(shared, &request, caller, &mut stream);
        {
            let mut state = shared.state();
            let has_launched = request.path == "/launch" && before.is_none() && state.app.is_some();
            if let Some(heir) = heir.filter(|_| has_launched && state.scenario.app_keeps_socket) {
                // The connection ends with the app, and says nothing before.
                state.app_sockets.push(heir);
                return;
            }
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

/// One connection without TLS.
pub fn serve(shared: &Arc<Shared>, mut stream: TcpStream) {
    if let Ok(request) = Request::read(&mut stream) {
        answer(shared, &request, Caller::Plain, &mut stream);
    }
}

thread_local! {
    /// A session was offered in the handshake of this thread's connection.
    static OFFERED: Cell<bool> = const { Cell::new(false) };
}

/// What TLS remembers of earlier sessions: whether there was one, which is enough to refuse to resume it.
#[derive(Debug, Default)]
struct Offers(Mutex<HashSet<Vec<u8>>>);

impl StoresServerSessions for Offers {
    fn put(&self, key: Vec<u8>, _: Vec<u8>) -> bool {
        self.0.lock().expect("no thread panics with it").insert(key)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.0.lock().expect("no thread panics with it").contains(key) {
            OFFERED.set(true);
        }
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// `internal_error`, fatal, in clear.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// As OpenSSL where client certificates are asked for and sessions have no context: tickets are given away, and whoever
/// wants to resume one is sent off.
fn shake_hands(
    shared: &Shared,
    mut connection: ServerConnection,
    mut stream: &TcpStream,
) -> Option<ServerConnection> {
    OFFERED.set(false);
    while connection.is_handshaking() {
        while connection.wants_write() {
            connection.write_tls(&mut stream).ok()?;
        }
        if connection.read_tls(&mut stream).ok()? == 0 {
            return None;
        }
        let processed = connection.process_new_packets();
        if OFFERED.get() {
            shared.state().complain("a TLS session was to be resumed");
            let _ = stream.write_all(&ALERT);
            return None;
        }
        if processed.is_err() {
            // The alert that says why.
            let _ = connection.write_tls(&mut stream);
            return None;
        }
    }
    Some(connection)
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// By HTTP.
    Plain,
    /// By HTTPS, with a certificate that is not paired or with none.
    Stranger,
    /// By HTTPS, paired.
    Paired,
}

fn answer(shared: &Arc<Shared>, request: &Request, caller: Caller, stream: &mut (impl Read + Write)) {
    let call = request.path.trim_start_matches('/');
    let phase = request.parameter("phrase").or_else(|| {
        let phases = ["clientchallenge", "serverchallengeresp", "clientpairingsecret"];
        phases.into_iter().find(|phase| request.parameter(phase).is_some())
    });
    let fault = {
        let mut state = shared.state();
        state.counters.requests += 1;
        if request.parameter("uniqueid").is_none_or(str::is_empty) {
            state.complain(format!("/{call} has no uniqueid"));
        }
        if request.parameter("uuid").is_none_or(|uuid| uuid.len() != 32) {
            state.complain(format!("/{call} has no uuid of 32 digits"));
        }
        let exact = phase.and_then(|phase| state.scenario.http.get(&format!("{call}/{phase}")));
        exact.or_else(|| state.scenario.http.get(call)).cloned()
    };
    // The connection may be gone by then, which is the client's right.
    let _ = match fault {
        Some(fault) => misbehave(shared, &fault, request, || respond(shared, request, caller), stream),
        None => respond(shared, request, caller).map_or(Ok(()), |response| response.write(stream)),
    };
}

fn misbehave(
    shared: &Shared,
    fault: &HttpFault,
    request: &Request,
    proper: impl FnOnce() -> Option<Response>,
    stream: &mut (impl Read + Write),
) -> std::io::Result<()> {
    match fault {
        HttpFault::Status { code, message } => refuse(*code, message).write(stream),
        HttpFault::HttpStatus(status) => {
            Response { status: *status, kind: "text/plain", body: b"no".to_vec() }.write(stream)
        }
        HttpFault::Redirect => {
            let query: Vec<String> =
                request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let place = format!("Location: {}?{}", request.path, query.join("&"));
            stream.write_all(head(302, &place, 0).as_bytes())
        }
        HttpFault::Bomb => {
            let mut body = "<!DOCTYPE root [<!ENTITY a0 \"ha\">".to_owned();
            for n in 1..30 {
                body.push_str(&format!("<!ENTITY a{n} \"&a{};&a{};\">", n - 1, n - 1));
            }
            body.push_str("]><root status_code=\"200\"><hostname>&a29;</hostname></root>");
            Response::ok("text/xml", body).write(stream)
        }
        HttpFault::Deep => Response::ok("text/xml", "<a>".repeat(100_000)).write(stream),
        HttpFault::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<root status_code=\"200\">")?;
            (0..ENDLESS).try_for_each(|_| stream.write_all(&[b' '; 1 << 16]))
        }
        HttpFault::Drip(ms) => {
            for byte in proper().iter().flat_map(Response::to_bytes) {
                stream.write_all(&[byte])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(*ms));
            }
            Ok(())
        }
        HttpFault::Hang => {
            shared.wait(PIN_PATIENCE, |state| (state.scenario.http.is_empty()).then_some(()));
            Ok(())
        }
        HttpFault::Close => Ok(()),
        HttpFault::Garbage => stream.write_all(&std::array::from_fn::<u8, 2000, _>(|n| (n * 37 + 129) as u8)),
        HttpFault::Truncated => {
            let Some(mut response) = proper() else { return Ok(()) };
            response.body.truncate(response.body.len() / 2);
            response.write(stream)
        }
        HttpFault::LongLength => {
            let Some(response) = proper() else { return Ok(()) };
            stream.write_all(head(200, "Content-Type: text/xml", response.body.len() * 1000).as_bytes())?;
            stream.write_all(&response.body)
        }
    }
}

/// `None`: the connection ends without an answer.
fn respond(shared: &Arc<Shared>, request: &Request, caller: Caller) -> Option<Response> {
    Some(match (request.path.as_str(), caller) {
        ("/serverinfo", Caller::Plain | Caller::Paired) => server_info(shared, caller),
        ("/pair", Caller::Plain) => return pair(shared, request),
        ("/unpair" | "/applist" | "/appasset" | "/launch" | "/resume" | "/cancel", Caller::Plain) => {
            not_found()
        }
        (_, Caller::Stranger) => {
            refuse(401, "The client is not authorized. Certificate verification failed.")
        }
        ("/pair", _) if request.parameter("phrase") == Some("pairchallenge") => xml("<paired>1</paired>"),
        ("/applist", _) => app_list(&shared.state().scenario.apps),
        ("/appasset", _) => app_asset(request),
        ("/launch", _) => launch(shared, request, false),
        ("/resume", _) => launch(shared, request, true),
        ("/cancel", _) => cancel(shared),
        _ => not_found(),
    })
}

fn xml(content: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root status_code=\"200\">{content}</root>\n");
    Response::ok("text/xml", body)
}

/// The status line is 200 even then.
fn refuse(code: i64, message: &str) -> Response {
    let message = escaped(message);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root status_code=\"{code}\" status_message=\"{message}\"/>\n"
    );
    Response::ok("text/xml", body)
}

fn not_found() -> Response {
    let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root status_code=\"404\"/>\n";
    Response { status: 404, kind: "text/xml", body: body.into() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn server_info(shared: &Shared, caller: Caller) -> Response {
    let state = shared.state();
    let scenario = &state.scenario;
    let game = state.app.or(scenario.busy_with).unwrap_or(0);
    let busy = if game == 0 { "FREE" } else { "BUSY" };
    let paired = u8::from(caller == Caller::Paired);
    let mac = if paired == 1 { "02:00:00:00:00:01" } else { "00:00:00:00:00:00" };
    let http = shared.ports.http_port;
    let https = shared.ports.https_port;
    let name = escaped(&scenario.name);
    let version = escaped(&scenario.appversion);
    let codecs = scenario.codecs;
    xml(&format!(
        "<hostname>{name}</hostname><appversion>{version}</appversion><GfeVersion>3.23.0.74</GfeVersion>\
         <uniqueid>0F4E8A0E-6D0C-4B8B-9C3D-F00DF00DF00D</uniqueid><HttpsPort>{https}</HttpsPort>\
         <ExternalPort>{http}</ExternalPort><MaxLumaPixelsHEVC>1869449984</MaxLumaPixelsHEVC><mac>{mac}</mac>\
         <LocalIP>127.0.0.1</LocalIP><ServerCodecModeSupport>{codecs}</ServerCodecModeSupport>\
         <PairStatus>{paired}</PairStatus><currentgame>{game}</currentgame><state>SUNSHINE_SERVER_{busy}</state>"
    ))
}

fn app_list(apps: &[App]) -> Response {
    let entry = |app: &App| {
        format!(
            "<App><IsHdrSupported>{}</IsHdrSupported><AppTitle>{}</AppTitle><ID>{}</ID></App>",
            u8::from(app.hdr),
            escaped(&app.name),
            app.id
        )
    };
    xml(&apps.iter().map(entry).collect::<String>())
}

/// A picture for an app: its colour follows from its id.
fn app_asset(request: &Request) -> Response {
    let id = request.parameter("appid").and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
    let hue = id.wrapping_mul(2_654_435_761);
    let width = 150;
    let height = 200;
    let mut pixels = Vec::new();
    for y in 0..height {
        let shade = |n: u32| ((hue >> (8 * n) & 0xff) * (height + y) / (2 * height)) as u8;
        for _ in 0..width {
            pixels.extend([shade(0), shade(1), shade(2)]);
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.expect("a picture of its size can be written to memory");
    Response::ok("image/png", file)
}

fn pair(shared: &Arc<Shared>, request: &Request) -> Option<Response> {
    let id = request.parameter("uniqueid").unwrap_or_default().to_owned();
    let fault = shared.state().scenario.pairing;
    if request.parameter("phrase") == Some("getservercert") {
        return first_call(shared, request, id, fault);
    }
    let sent = |name: &str| request.parameter(name).map(|text| from_hex(text).unwrap_or_default());
    let identity = shared.identity();
    let mut state = shared.state();
    let result = if let Some(challenge) = sent("clientchallenge") {
        let pairing = state.pairings.get_mut(&id).ok_or(Refused::OutOfOrder);
        let answer = pairing.and_then(|pairing| pairing.challenge(&challenge, &identity, fault));
        answer.map(|answer| value("challengeresponse", answer, fault))
    } else if let Some(response) = sent("serverchallengeresp") {
        let pairing = state.pairings.get_mut(&id).ok_or(Refused::OutOfOrder);
        let answer = pairing.and_then(|pairing| pairing.response(&response, &identity, fault));
        answer.map(|answer| value("pairingsecret", answer, fault))
    } else if let Some(secret) = sent("clientpairingsecret") {
        let pairing = state.pairings.remove(&id).ok_or(Refused::OutOfOrder);
        pairing.and_then(|pairing| pairing.secret(&secret)).map(|client| {
            let client = client.filter(|_| fault != PairingFault::Rejected);
            let paired = u8::from(client.is_some());
            // A client that pairs again is still one.
            state.clients.retain(|known| Some(known) != client.as_ref());
            state.clients.extend(client);
            xml(&format!("<paired>{paired}</paired>"))
        })
    } else {
        return Some(refuse(404, "Invalid pairing request"));
    };
    Some(result.unwrap_or_else(|refused| {
        state.pairings.remove(&id);
        state.complain(format!("pairing was refused: {refused:?}"));
        refuse(400, "Out of order call")
    }))
}

fn value(name: &str, mut bytes: Vec<u8>, fault: PairingFault) -> Response {
    if fault == PairingFault::ShortAnswers {
        bytes.truncate(7);
    }
    xml(&format!("<paired>1</paired><{name}>{}</{name}>", to_hex(&bytes)))
}

/// `getservercert`: blocks until the PIN has been typed.
fn first_call(shared: &Arc<Shared>, request: &Request, id: String, fault: PairingFault) -> Option<Response> {
    let salt = request.parameter("salt").and_then(from_hex).and_then(|salt| <[u8; 16]>::try_from(salt).ok());
    let client = request.parameter("clientcert").and_then(from_hex).map(|pem| Client::from_pem(&pem));
    let (Some(salt), Some(Ok(client))) = (salt, client) else {
        shared.state().complain("getservercert has no salt or no certificate");
        return Some(refuse(400, "getservercert needs salt and clientcert"));
    };
    match fault {
        PairingFault::NoCertificate => return Some(xml("<paired>1</paired>")),
        PairingFault::OutOfOrderOnce if !std::mem::replace(&mut shared.state().out_of_order, true) => {
            return Some(refuse(400, "Out of order call to getservercert"));
        }
        _ => {}
    }
    shared.state().pin_wanted = true;
    let typed = shared.wait(PIN_PATIENCE, |state| shared.pin.clone().or_else(|| state.pin.take()));
    let mut state = shared.state();
    state.pin_wanted = false;
    let Some(pin) = typed else { return Some(refuse(400, "No PIN was typed")) };
    // The answer goes to the connection of the attempt before, which is gone.
    if state.pairings.remove(&id).is_some() && state.scenario.open_pairing_loses_answer {
        return None;
    }
    state.pairings.insert(id, Pairing::new(&salt, &pin, client));
    drop(state);
    let certificate = match fault {
        PairingFault::BadCertificate => {
            to_hex(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        }
        _ => to_hex(shared.identity().pem.as_bytes()),
    };
    Some(xml(&format!("<paired>1</paired><plaincert>{certificate}</plaincert>")))
}

fn launch(shared: &Arc<Shared>, request: &Request, resume: bool) -> Response {
    let number = |name: &str| request.parameter(name).and_then(|text| text.parse::<u32>().ok());
    let key = request.parameter("rikey").and_then(from_hex).and_then(|key| Key::try_from(key).ok());
    let key_id = request.parameter("rikeyid").and_then(|id| id.parse::<i32>().ok());
    let mut state = shared.state();
    let (Some(key), Some(key_id)) = (key, key_id) else {
        state.complain("launch has no rikey of 16 bytes or no rikeyid");
        return refuse(400, "Missing a required launch parameter");
    };
    complain_about_launch(&mut state, request, &key);
    let runs = state.session.as_ref().is_some_and(|session| !session.has_ended());
    if runs && state.scenario.one_session {
        return refuse(503, "The host's concurrent stream limit has been reached.");
    }
    let busy = state.app.or(state.scenario.busy_with);
    let app = if resume {
        let Some(app) = busy else { return refuse(503, "No running app to resume") };
        app
    } else {
        if busy.is_some() {
            return refuse(400, "An app is already running on this host");
        }
        let wanted = number("appid");
        let Some(app) = state.scenario.apps.iter().find(|app| Some(app.id) == wanted) else {
            return refuse(404, "Cannot find requested application");
        };
        app.id
    };
    let patience = Duration::from_millis(if resume { 0 } else { state.scenario.launch_ms });
    if !patience.is_zero() {
        state.launching = true;
        drop(state);
        shared.wait(patience, |_| None::<()>);
        state = shared.state();
        state.launching = false;
        shared.notify();
    }
    state.app = Some(app);
    let encrypted_rtsp =
        state.scenario.encrypted_rtsp && number("corever").is_some_and(|version| version >= 1);
    state.launch = Some(Launch {
        key,
        key_id,
        app,
        encrypted_rtsp,
        at: Instant::now(),
        ping_payload: to_hex(&random::<8>()),
        connect_data: u32::from_le_bytes(random()),
        answers: 0,
        low_sound: false,
    });
    let scheme = if encrypted_rtsp { "rtspenc" } else { "rtsp" };
    let result = if resume { "resume" } else { "gamesession" };
    let port = shared.ports.rtsp_port;
    xml(&format!("<sessionUrl0>{scheme}://127.0.0.1:{port}</sessionUrl0><{result}>1</{result}>"))
}

fn complain_about_launch(state: &mut State, request: &Request, key: &Key) {
    for name in ["mode", "additionalStates", "sops", "localAudioPlayMode", "surroundAudioInfo"] {
        if request.parameter(name).is_none() {
            state.complain(format!("launch has no {name}"));
        }
    }
    let earlier = state.session.as_ref().map(|session| session.launch.key);
    if earlier.or(state.launch.as_ref().map(|launch| launch.key)) == Some(*key) {
        state.complain("rikey is that of the session before");
    }
}

fn cancel(shared: &Arc<Shared>) -> Response {
    let mut state = shared.state();
    if state.session.is_some() {
        state.to_send.push(Outgoing::Disconnect);
    }
    state.end_session();
    state.end_app();
    state.launch = None;
    state.scenario.busy_with = None;
    xml("<cancel>1</cancel>")
}

/// Any certificate will do, if its owner has the key.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
