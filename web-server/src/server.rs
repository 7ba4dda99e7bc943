//! Assembly: lock the state directory, adopt what runs, serve, and on a signal end in order.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::{App, HttpServer, middleware, web};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::api::{self, edge};
use crate::config::{Config, LogFormat};
use crate::registry::store::{self, Store};
use crate::registry::{self, Registry};
use crate::signaling::multistream;
use crate::streams;
use crate::supervisor::{adopt, descriptors};

/// Holds the pid of the web-server that works in the state directory, and its lock.
const LOCK_FILE: &str = "web-server.lock";
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

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// It cannot start: the state directory or the address cannot be used.
pub fn run(config: Config) -> anyhow::Result<()> {
    log_to_stderr(&config);
    descriptors::raise();
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

async fn serve(config: Config) -> anyhow::Result<()> {
    let run_root = config.run_root();
    make_private(&config.state_dir)?;
    let _lock = lock(&config.state_dir)?;
    make_private(&run_root)?;
    let (store, remembered) = Store::open(&config.state_dir)
        .with_context(|| format!("opening {}", config.state_dir.join(store::FILE).display()))?;
    // Bound before anything is adopted: a taken port changes nothing.
    let listener = std::net::TcpListener::bind(config.listen)
        .with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr().context("reading our address")?;

    let ice_servers = config.settings.ice_servers.clone();
    let registry_config = registry::Config {
        streamer_bin: config.streamer_bin.clone(),
        run_root: run_root.clone(),
        settings: config.settings,
        max_streamers: config.max_streamers,
    };
    let (handle, mut registry) = Registry::new(registry_config, store);
    let scan = adopt::scan(&run_root, &config.streamer_bin)
        .await
        .with_context(|| format!("reading {}", run_root.display()))?;
    registry.resume(scan, remembered, &config.streams);
    let registry_task = tokio::spawn(registry.run());
    if let Some(spec) = config.streams.spec()
        && let Err(error) = streams::apply(&handle, &config.streams.streamer, &spec).await
    {
        // The other streamers must not suffer for it.
        tracing::error!(id = %config.streams.streamer, %error, "the configured streams cannot be started");
    }

    let data = web::Data::new(handle.clone());
    let multistream = web::Data::new(multistream::Config {
        configured: !config.streams.sources.is_empty(),
        streamer: config.streams.streamer,
        protocol: multistream::ProtocolConfig { max_slots: config.streams.max_slots, ice_servers },
    });
    let server = HttpServer::new(move || {
        App::new()
            .wrap(middleware::from_fn(edge::edge))
            .app_data(data.clone())
            .app_data(multistream.clone())
            .configure(api::routes)
    })
    .workers(HTTP_WORKERS)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_DEADLINE_S)
    .listen(listener)
    .context("listening")?
    .run();
    let server_handle = server.handle();
    let server_task = tokio::spawn(server);
    announce(address);

    let signal = wait_for_signal().await?;
    tracing::info!(signal, stop_streamers = config.stop_streamers, "shutting down");
    let done = tokio::time::timeout(STOP_STREAMERS_DEADLINE, handle.shutdown(config.stop_streamers)).await;
    if done.is_err() {
        tracing::error!("some streamers did not end; the next start will find them");
    }
    server_handle.stop(true).await;
    server_task.await.context("the HTTP server panicked")?.context("the HTTP server failed")?;
    registry_task.abort();
    Ok(())
}

/// One line on standard output, for people and for programs that start us with port 0.
fn announce(address: SocketAddr) {
    tracing::info!(%address, "listening");
    // Whoever started us may have closed standard output; the log has it too.
    let _ = writeln!(io::stdout(), "Oriel is ready at http://{address}/");
}

async fn wait_for_signal() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watching SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching SIGTERM")?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("making the directory {}", dir.display()))
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
    file.set_len(0).with_context(what)?;
    write!(file, "pid {}", std::process::id()).with_context(what)?;
    Ok(file)
}

fn log_to_stderr(config: &Config) {
    let filter = EnvFilter::new(&config.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}
