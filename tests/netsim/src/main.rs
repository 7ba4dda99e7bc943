//! `netsim`: starts the proxy and says where it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use netsim::proxy::Proxy;
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "A bad network between a browser and a session; see PUT /netsim/rules")]
struct Options {
    /// The web-server, `http://127.0.0.1:PORT`.
    #[arg(long, value_parser = parse_upstream)]
    upstream: SocketAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Same seed, same losses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn parse_upstream(url: &str) -> Result<SocketAddr, String> {
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err("must be http://127.0.0.1:PORT".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.context("listening")?;
    println!("netsim is ready at http://{}/", listener.local_addr()?);
    Arc::new(Proxy::new(options.upstream, options.seed)).serve(listener).await.context("accepting")
}
