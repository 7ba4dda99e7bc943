//! Assembly: lock the state directory, adopt what runs, serve, and on a signal end in order.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, IsTerminal, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, middleware, web};
use anyhow::Context as _;
use common::lifetime::StreamerPatch;
use common::spec::StreamerSpec;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tracing_subscriber::EnvFilter;

use crate::api::{self, edge, events, health, streamers};
use crate::auth::Auth;
use crate::auth::key::Key;
use crate::cluster::{Cluster, member, nats};
use crate::config::cluster::OnPartition;
use crate::config::{Compat, Config, LogFormat, Sessions};
use crate::connections::Connections;
use crate::files::Files;
use crate::hosts::Hosts;
use crate::http::site::Site;
use crate::ice;
use crate::ice_tcp;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::registry::store::{self, Record, Store};
use crate::registry::{self, Registry};
use crate::rtsp;
use crate::signaling::{media_ws, multistream};
use crate::streams;
use crate::supervisor::cgroup::Groups;
use crate::supervisor::homes::{self, Homes};
use crate::supervisor::users::RunAs;
use crate::supervisor::{Launcher, LogSettings, adopt, descriptors};
use crate::tls::Certificate;

/// Holds the pid of the web-server that works in the state directory, and its lock.
const LOCK_FILE: &str = "web-server.lock";
/// What is known about Moonlight hosts, in the state directory.
const HOSTS_DIR: &str = "moonlight";
/// Threads that serve HTTP; all work behind them is done elsewhere.
const HTTP_WORKERS: usize = 2;
/// For requests that are being served when a signal comes. Streamers that must be stopped have had theirs.
const SHUTDOWN_DEADLINE_S: u64 = 2;
/// A streamer is killed when it does not stop in time; this is for all that.
const STOP_STREAMERS_DEADLINE: Duration = Duration::from_secs(20);

/// Another web-server works here.
#[derive(Debug, thiserror::Error)]
#[error(
    "another web-server ({holder}) already works in {}; end it first or choose another --state-dir", .dir.display()
)]
pub struct Locked {
    dir: PathBuf,
    /// Its pid, as it wrote it.
    holder: String,
}

/// Serves until SIGINT or SIGTERM. `warnings` are for the log.
///
/// # Errors
/// It cannot start: the state directory or the address cannot be used.
pub fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    log_to_stderr(&config);
    descriptors::raise();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(HTTP_WORKERS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(serve(config));
    // Supervisors of streamers that go on are dropped here; their processes do not notice.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Tries whether NATS can be used as it is configured; without a cluster there is nothing to try.
///
/// # Errors
/// It cannot, and why.
pub fn check_cluster(config: &Config) -> anyhow::Result<()> {
    let Some(cluster) = &config.cluster else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    Ok(runtime.block_on(nats::check(cluster))?)
}

async fn serve(mut config: Config) -> anyhow::Result<()> {
    let _lock = prepare_state_dir(&config)?;
    let tcp_listeners = listen_for_media(&mut config)?;
    let certificate =
        config.access.tls.clone().map(Certificate::load).transpose().context("setting up HTTPS")?;
    let cluster = config.cluster.clone();
    let cluster = cluster.map(|cluster| Cluster::new(cluster, config.max_streamers, &config.state_dir));
    let cluster = cluster.transpose().context("preparing the cluster")?;
    let secrets = config.access.secrets.clone();
    let auth = match &cluster {
        Some(cluster) => Auth::with_key(secrets, Key::given(cluster.token_key()), &config.state_dir),
        None => Auth::new(secrets, &config.state_dir),
    };
    let auth = auth.context("reading what tokens need")?;
    let (store, remembered) = Store::open(&config.state_dir)
        .with_context(|| format!("opening {}", config.state_dir.join(store::FILE).display()))?;
    // Bound before anything is adopted: a taken port changes nothing.
    let listener =
        TcpListener::bind(config.listen).with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr().context("reading our address")?;
    let hosts_dir = config.state_dir.join(HOSTS_DIR);
    let hosts = Hosts::open(hosts_dir.clone())
        .with_context(|| format!("reading the Moonlight hosts in {}", hosts_dir.display()))?;
    let rtsp_listener = match config.rtsp_listen {
        Some(address) => {
            let listener = rtsp::listen(address).await;
            Some(listener.with_context(|| format!("listening on rtsp.listen ({address})"))?)
        }
        None => None,
    };
    let metrics = Metrics::default();
    let routes = ice_tcp::Routes::default();
    // Ends with us; connections that streamers have do not.
    let _media =
        ice_tcp::start(tcp_listeners, &routes, metrics.tcp()).context("listening for media over TCP")?;

    let (handle, registry_task) =
        start_registry(&config, store, remembered, &hosts, routes, &metrics).await?;
    let state = State::new(&config, auth, handle.clone(), hosts, metrics, cluster.clone());
    let membership = cluster.clone().map(|cluster| join_cluster(cluster, &config, &handle, &state));
    let rtsp = rtsp_listener.map(|listener| {
        let auth = state.auth.clone().into_inner();
        let limits = state.limits.clone().into_inner();
        tokio::spawn(rtsp::run(listener, rtsp::Server { registry: handle.clone(), auth, limits }))
    });
    let server = http_server(state, listener, certificate.as_ref())?;
    let watch = certificate.clone().map(|certificate| tokio::spawn(certificate.watch()));
    let server_handle = server.handle();
    let server_task = tokio::spawn(server);
    let scheme = if certificate.is_some() { "https" } else { "http" };
    announce(&format!("{scheme}://{address}{}/", config.access.base_path), config.log_format);

    let signal = wait_for_signal().await?;
    tracing::info!(signal, stop_streamers = config.stop_streamers, "shutting down");
    let done = tokio::time::timeout(STOP_STREAMERS_DEADLINE, handle.shutdown(config.stop_streamers)).await;
    if done.is_err() {
        tracing::error!("some streamers did not end; the next start will find them");
    }
    server_handle.stop(true).await;
    server_task.await.context("the HTTP server panicked")?.context("the HTTP server failed")?;
    registry_task.abort();
    if let Some(rtsp) = rtsp {
        rtsp.abort();
    }
    drop(membership);
    if let Some(cluster) = cluster {
        member::leave(&cluster).await;
    }
    if let Some(watch) = watch {
        watch.abort();
    }
    Ok(())
}

/// Makes the directories that everything is kept in, and takes the lock of the state directory.
fn prepare_state_dir(config: &Config) -> anyhow::Result<File> {
    make_private(&config.state_dir, &config.sessions)?;
    let lock = lock(&config.state_dir)?;
    make_private(&config.run_root(), &config.sessions)?;
    for homes in homes::DIRECTORIES {
        make_private(&config.state_dir.join(homes), &config.sessions)?;
    }
    Ok(lock)
}

/// Adopts the streamers that run, starts those that ought to, and the configured streams. The task is the registry's.
async fn start_registry(
    config: &Config,
    store: Store,
    remembered: Vec<Record>,
    hosts: &Hosts,
    routes: ice_tcp::Routes,
    metrics: &Metrics,
) -> anyhow::Result<(registry::Handle, JoinHandle<()>)> {
    let run_root = config.run_root();
    let launcher = Arc::new(launcher(config, &run_root));
    let registry_config = registry::Config {
        launcher: launcher.clone(),
        run_root: run_root.clone(),
        settings: config.settings.clone(),
        max_streamers: config.max_streamers,
        homes: Homes::new(config.state_dir.clone()),
        lifetime: config.sessions.lifetime,
        hosts: hosts.clone(),
        routes,
        metrics: metrics.clone(),
    };
    let (handle, mut registry) = Registry::new(registry_config, store);
    let scan =
        adopt::scan(&run_root, &launcher).await.with_context(|| format!("reading {}", run_root.display()))?;
    registry.resume(scan, remembered, &config.streams);
    let task = tokio::spawn(registry.run());
    if let Some(spec) = config.streams.spec()
        && let Err(error) = streams::apply(&handle, &config.streams.streamer, &spec).await
    {
        // The other streamers must not suffer for it.
        tracing::error!(id = %config.streams.streamer, %error, "the configured streams cannot be started");
    }
    Ok((handle, task))
}

/// The tasks of this server as a node. They end when what is returned is dropped.
fn join_cluster(
    cluster: Cluster,
    config: &Config,
    registry: &registry::Handle,
    state: &State,
) -> JoinSet<()> {
    let site = state.site.clone();
    let hosts = state.hosts.clone();
    let allows = move |spec: &StreamerSpec| {
        let checked = streamers::check(spec.clone(), StreamerPatch::default(), &site, &hosts);
        checked.map(drop).map_err(|error| error.to_string())
    };
    let mut tasks = JoinSet::new();
    if config.cluster.as_ref().is_some_and(|cluster| cluster.on_partition == OnPartition::Stop) {
        tasks.spawn(member::pause_while_lost(cluster.clone(), registry.clone()));
    }
    let auth = state.auth.clone().into_inner();
    let registry = registry.clone();
    tasks.spawn(member::run(member::Node { cluster, registry, auth, allows: Box::new(allows) }));
    tasks
}

/// What requests are handled with, by whichever thread.
#[derive(Clone)]
struct State {
    registry: web::Data<registry::Handle>,
    hosts: web::Data<Hosts>,
    multistream: web::Data<multistream::Config>,
    auth: web::Data<Auth>,
    limits: web::Data<Limits>,
    site: web::Data<Site>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
    health: web::Data<health::Config>,
    listeners: web::Data<events::Listeners>,
    media: web::Data<media_ws::Config>,
    files: web::Data<Files>,
    cluster: Option<web::Data<Cluster>>,
}

impl State {
    fn new(
        config: &Config,
        auth: Auth,
        registry: registry::Handle,
        hosts: Hosts,
        metrics: Metrics,
        cluster: Option<Cluster>,
    ) -> Self {
        let limits = Limits::new(config.limits, metrics.refusals().clone());
        let public = !config.listen.ip().is_loopback();
        let multistream = multistream::Config {
            configured: !config.streams.sources.is_empty(),
            streamer: config.streams.streamer.clone(),
            max_slots: config.streams.max_slots,
        };
        let health = health::Config {
            state_dir: config.state_dir.clone(),
            streamer_bin: config.streamer_bin.clone(),
            per_peer: config.metrics_per_peer,
        };
        Self {
            registry: web::Data::new(registry),
            hosts: web::Data::new(hosts),
            multistream: web::Data::new(multistream),
            auth: web::Data::new(auth),
            limits: web::Data::new(limits),
            site: web::Data::new(Site { access: config.access.clone(), compat: config.compat, public }),
            metrics: web::Data::new(metrics),
            ice: web::Data::new(config.ice.clone()),
            health: web::Data::new(health),
            listeners: web::Data::new(events::Listeners::default()),
            media: web::Data::new(media_ws::Config { enabled: config.websocket_media }),
            files: web::Data::new(Files::new(config.files)),
            cluster: cluster.map(web::Data::new),
        }
    }

    /// All of it, and the routes that need it.
    fn configure(&self, app: &mut web::ServiceConfig) {
        app.app_data(self.registry.clone())
            .app_data(self.hosts.clone())
            .app_data(self.multistream.clone())
            .app_data(self.auth.clone())
            .app_data(self.limits.clone())
            .app_data(self.site.clone())
            .app_data(self.metrics.clone())
            .app_data(self.ice.clone())
            .app_data(self.health.clone())
            .app_data(self.listeners.clone())
            .app_data(self.media.clone())
            .app_data(self.files.clone());
        if let Some(cluster) = &self.cluster {
            app.app_data(cluster.clone());
        }
        below(&self.site.access.base_path, self.site.compat, app);
    }
}

/// The server on a bound address, by HTTPS if there is a certificate.
fn http_server(
    state: State,
    listener: TcpListener,
    certificate: Option<&Arc<Certificate>>,
) -> anyhow::Result<Server> {
    let limits = &state.limits;
    let proxies = state.site.access.trusted_proxies.clone();
    let connections = Connections::new(limits.config().connections, proxies, limits.refusals().clone());
    let server = HttpServer::new(move || {
        App::new().wrap(middleware::from_fn(edge::edge)).configure(|app| state.configure(app))
    })
    .on_connect(move |connection, extensions| connections.accepted(connection, extensions))
    .workers(HTTP_WORKERS)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_DEADLINE_S);
    let server = match certificate {
        Some(certificate) => server.listen_rustls_0_23(listener, certificate.server_config()?),
        None => server.listen(listener),
    };
    Ok(server.context("listening")?.run())
}

/// All routes, below the base path if there is one.
fn below(base_path: &str, compat: Compat, routes: &mut web::ServiceConfig) {
    match base_path {
        "" => api::routes(compat, routes),
        base => {
            let to = format!("{base}/");
            routes.service(web::redirect(base.to_owned(), to));
            routes.service(web::scope(base).configure(|routes| api::routes(compat, routes)));
            routes.default_service(web::route().to(edge::no_route));
        }
    }
}

/// One line on standard output, for people and for programs that start us with port 0. Where the log is JSON it is, too, as both often
/// go to one file.
fn announce(url: &str, format: LogFormat) {
    tracing::info!(url, "listening");
    let line = match format {
        LogFormat::Text => format!("Oriel is ready at {url}"),
        LogFormat::Json => json!({ "message": "Oriel is ready", "url": url }).to_string(),
    };
    // Whoever started us may have closed standard output; the log has it too.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Listens on the TCP port for media. One that is taken ends us only where it was configured: otherwise viewers go without.
fn listen_for_media(config: &mut Config) -> anyhow::Result<Vec<std::net::TcpListener>> {
    let Some(port) = config.settings.tcp_port else { return Ok(Vec::new()) };
    match ice_tcp::listen(&config.settings.listen_ips, port) {
        Ok(listeners) => Ok(listeners),
        Err(error) if config.tcp_port_configured => {
            Err(error).with_context(|| format!("listening on webrtc.tcp_port ({port})"))
        }
        Err(error) => {
            tracing::warn!(
                %error, port,
                "no media over TCP: name a free port in webrtc.tcp_port, or 0 for none"
            );
            config.settings.tcp_port = None;
            Ok(Vec::new())
        }
    }
}

async fn wait_for_signal() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watching SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching SIGTERM")?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}

/// Makes a directory in which only we can look around; another user's sessions can go through it to what is theirs.
fn make_private(dir: &Path, sessions: &Sessions) -> anyhow::Result<()> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if sessions.run_as != RunAs::Server {
            fs::set_permissions(dir, Permissions::from_mode(0o711))?;
        }
        io::Result::Ok(())
    };
    make().with_context(|| format!("making the directory {}", dir.display()))
}

/// What starts sessions. Limits that cannot be held to are no reason not to serve, but one to say so.
fn launcher(config: &Config, run_root: &Path) -> Launcher {
    let Sessions { run_as, limits, .. } = config.sessions.clone();
    let log = LogSettings { filter: config.log.clone(), json: config.log_format == LogFormat::Json };
    if run_as == RunAs::Server && rustix::process::geteuid().is_root() {
        tracing::warn!(
            "sessions run as root: name a user of theirs in sessions.user, or a range with one for each in sessions.users"
        );
    }
    let groups = limits.any().then(|| Groups::find(&limits, run_root));
    let groups = groups.transpose().unwrap_or_else(|error| {
        tracing::warn!(%error, "sessions are not held to the limits of `sessions`: no control group can be made for them");
        None
    });
    let user_processes = limits.processes.filter(|_| groups.is_none() && run_as != RunAs::Server);
    let streamer_bin = config.streamer_bin.clone();
    Launcher { streamer_bin, log, run_as, groups, user_processes }
}

/// Takes the lock, which lasts as long as the file is open: until we end, in whatever way.
fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join(LOCK_FILE);
    let what = || format!("locking {}", path.display());
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).with_context(what)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).with_context(what)?;
            return Err(Locked { dir: state_dir.to_owned(), holder: holder.trim().to_owned() }.into());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(what),
    }
    // The lock is what counts; a full disk is no reason not to serve.
    if let Err(error) = file.set_len(0).and_then(|()| write!(file, "pid {}", std::process::id())) {
        tracing::warn!(%error, "our pid cannot be written into {}", path.display());
    }
    Ok(file)
}

fn log_to_stderr(config: &Config) {
    let filter = EnvFilter::new(&config.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            builder.json().init();
            // Whoever reads the log by program must be able to read the worst of it, too.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        }
    }
}
