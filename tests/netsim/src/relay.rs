//! Carries the packets of one peer connection over two links.
//!
//! Like a home router it keeps a port towards the session for each address that the browser sends from,
//! so that the session can answer each of them.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use crate::link::{Counters, Link};
use crate::rules::Rules;

/// Without any packet for this long, the relay ends: a peer connection says something every few seconds.
const IDLE: Duration = Duration::from_secs(60);
/// Packets read but not yet in a link. When full, readers wait, and then the kernel drops.
const ARRIVALS: usize = 256;
/// Most addresses of a browser; packets from more are ignored.
const MAX_FLOWS: usize = 64;
/// Longest packet over UDP.
const MAX_PACKET: usize = 65_536;

/// Gets a relay's counters whenever they change.
pub trait Observe: Send + 'static {
    /// What has been added to them since the last time.
    fn add(&mut self, down: Counters, up: Counters);
}

enum Arrival {
    FromBrowser { front: usize, source: SocketAddr, packet: Bytes },
    FromSession { flow: usize, packet: Bytes },
}

/// One address of the browser at one port of ours.
struct Flow {
    front: usize,
    source: SocketAddr,
    back: Arc<UdpSocket>,
}

struct Relay {
    /// Where browsers send to, and which address of the session that stands for.
    fronts: Vec<(Arc<UdpSocket>, SocketAddrV4)>,
    flows: Vec<Flow>,
    known: HashMap<(usize, SocketAddr), usize>,
    arrivals: mpsc::Sender<Arrival>,
    down: Link<(usize, Bytes)>,
    up: Link<(usize, Bytes)>,
}

/// Starts a relay for these addresses of a session; where it stands for each. It ends by itself.
pub async fn start(
    session: Vec<SocketAddrV4>,
    rules: watch::Receiver<Rules>,
    seed: u64,
    observer: impl Observe,
) -> io::Result<HashMap<SocketAddrV4, SocketAddrV4>> {
    let (arrivals, incoming) = mpsc::channel(ARRIVALS);
    let mut fronts = Vec::new();
    let mut places = HashMap::new();
    for address in session {
        let socket = Arc::new(UdpSocket::bind((*address.ip(), 0)).await?);
        let SocketAddr::V4(place) = socket.local_addr()? else { continue };
        let front = fronts.len();
        let receiver = Arc::clone(&socket);
        let wrap = move |source, packet| Arrival::FromBrowser { front, source, packet };
        tokio::spawn(receive(receiver, arrivals.downgrade(), wrap));
        places.insert(address, place);
        fronts.push((socket, address));
    }
    let now = *rules.borrow();
    let relay = Relay {
        fronts,
        flows: Vec::new(),
        known: HashMap::new(),
        arrivals,
        down: Link::new(now.down, seed),
        up: Link::new(now.up, seed ^ 1),
    };
    tokio::spawn(relay.run(incoming, rules, observer));
    Ok(places)
}

impl Relay {
    async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Arrival>,
        mut rules: watch::Receiver<Rules>,
        mut observer: impl Observe,
    ) {
        let mut told = (Counters::default(), Counters::default());
        let mut last = Instant::now();
        loop {
            let due = [self.down.next_at(), self.up.next_at()].into_iter().flatten().min();
            let wake = due.unwrap_or(last + IDLE);
            tokio::select! {
                Some(arrival) = incoming.recv() => {
                    last = Instant::now();
                    self.accept(arrival).await;
                }
                Ok(()) = rules.changed() => {
                    let rules = *rules.borrow_and_update();
                    self.down.set_rules(rules.down);
                    self.up.set_rules(rules.up);
                }
                () = sleep_until(wake.into()) => if due.is_none() && last.elapsed() >= IDLE {
                    return;
                },
            }
            self.deliver().await;
            let now = (self.down.counters(), self.up.counters());
            observer.add(difference(now.0, told.0), difference(now.1, told.1));
            told = now;
        }
    }

    async fn accept(&mut self, arrival: Arrival) {
        let now = Instant::now();
        match arrival {
            Arrival::FromSession { flow, packet } => {
                self.down.push(now, packet.len(), (flow, packet));
            }
            Arrival::FromBrowser { front, source, packet } => {
                if let Some(flow) = self.flow(front, source).await {
                    self.up.push(now, packet.len(), (flow, packet));
                }
            }
        }
    }

    async fn flow(&mut self, front: usize, source: SocketAddr) -> Option<usize> {
        if let Some(flow) = self.known.get(&(front, source)) {
            return Some(*flow);
        }
        if self.flows.len() >= MAX_FLOWS {
            return None;
        }
        let session = self.fronts[front].1;
        let back = UdpSocket::bind((*session.ip(), 0)).await.ok()?;
        back.connect(session).await.ok()?;
        let back = Arc::new(back);
        let flow = self.flows.len();
        let wrap = move |_, packet| Arrival::FromSession { flow, packet };
        tokio::spawn(receive(Arc::clone(&back), self.arrivals.downgrade(), wrap));
        self.flows.push(Flow { front, source, back });
        self.known.insert((front, source), flow);
        Some(flow)
    }

    /// Sends what has arrived at the ends of the links. That a packet cannot be sent is a loss like any other.
    async fn deliver(&mut self) {
        let now = Instant::now();
        while let Some((flow, packet)) = self.up.pop(now) {
            let _ = self.flows[flow].back.send(&packet).await;
        }
        while let Some((flow, packet)) = self.down.pop(now) {
            let Flow { front, source, .. } = self.flows[flow];
            let _ = self.fronts[front].0.send_to(&packet, source).await;
        }
    }
}

fn difference(now: Counters, before: Counters) -> Counters {
    Counters { passed: now.passed - before.passed, dropped: now.dropped - before.dropped }
}

/// Reads until the relay is gone.
async fn receive(
    socket: Arc<UdpSocket>,
    arrivals: mpsc::WeakSender<Arrival>,
    wrap: impl Fn(SocketAddr, Bytes) -> Arrival,
) {
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let received = timeout(IDLE, socket.recv_from(&mut buffer)).await;
        let Some(arrivals) = arrivals.upgrade() else { return };
        // Anything else is silence, or an ICMP error: the other end is not there at the moment.
        if let Ok(Ok((length, source))) = received {
            let packet = Bytes::copy_from_slice(&buffer[..length]);
            if arrivals.send(wrap(source, packet)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::LinkRules;

    struct Nobody;

    impl Observe for Nobody {
        fn add(&mut self, _: Counters, _: Counters) {}
    }

    async fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 100];
        let received = timeout(Duration::from_secs(10), socket.recv_from(&mut buffer)).await;
        let (length, source) = received.expect("a packet in time").unwrap();
        (buffer[..length].to_vec(), source)
    }

    #[tokio::test]
    async fn each_address_of_a_browser_gets_its_own_answers_and_rules_change_at_once() {
        let session = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = session.local_addr().unwrap() else { panic!("not IPv4") };
        let (set, rules) = watch::channel(Rules::default());
        let places = start(vec![address], rules, 1, Nobody).await.unwrap();
        let place = places[&address];

        let browsers =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        for (n, browser) in browsers.iter().enumerate() {
            browser.send_to(&[n as u8], place).await.unwrap();
            let (packet, source) = receive_from(&session).await;
            assert_eq!(packet, [n as u8]);
            session.send_to(&[n as u8 + 10], source).await.unwrap();
            assert_eq!(receive_from(browser).await, (vec![n as u8 + 10], place.into()));
        }

        let stopped = LinkRules { drop: true, ..LinkRules::default() };
        set.send(Rules { up: stopped, ..Rules::default() }).unwrap();
        // Packets and rules reach the relay in any order, so each change is waited for by what it does.
        let mut sent = 0u8;
        loop {
            browsers[0].send_to(&[sent], place).await.unwrap();
            let mut buffer = [0; 10];
            match timeout(Duration::from_millis(200), session.recv_from(&mut buffer)).await {
                Ok(_) => sent += 1,
                Err(_) => break,
            }
            assert!(sent < 100, "the link is stopped");
        }
        set.send(Rules::default()).unwrap();
        loop {
            browsers[0].send_to(b"again", place).await.unwrap();
            let mut buffer = [0; 10];
            if timeout(Duration::from_millis(200), session.recv_from(&mut buffer)).await.is_ok() {
                break;
            }
        }
    }
}
