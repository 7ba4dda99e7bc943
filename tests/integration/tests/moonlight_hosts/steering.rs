//! Gamepads where one peer at a time has control: the streamer refuses those of others, whatever their clients send.

use std::time::{Duration, Instant};

use common::id::PeerId;
use common::signal::{Role, ServerMessage};
use harness::{Server, eventually};
use native_peer::{Channel, Event, Media, Options, Swarm};
use serde_json::{Value, json};

use crate::host::Known;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A controller whose channel for keys is open.
struct Player {
    swarm: Swarm,
    id: PeerId,
}

impl Player {
    #[track_caller]
    fn join(server: &Server) -> Self {
        let role = Role::Controller;
        let media = Media::Headers;
        let mut swarm =
            Swarm::new(Options { server: server.address(), streamer: "game".into(), role, media }).unwrap();
        swarm.join().unwrap();
        let mut id = None;
        let mut open = false;
        while id.is_none() || !open {
            match swarm.next(Instant::now() + PATIENCE).unwrap().expect("it joins").1 {
                Event::Signal(ServerMessage::Welcome { peer_id, .. }) => id = Some(peer_id),
                Event::Open(Channel::Keys) => open = true,
                Event::Closed(reason) => panic!("closed: {reason}"),
                _ => {}
            }
        }
        Self { swarm, id: id.unwrap() }
    }

    /// Presses this button of its gamepad, by its bit, or none.
    #[track_caller]
    fn press(&mut self, buttons: u32) {
        let state = json!({ "buttons": buttons, "triggers": [0, 0], "sticks": [0, 0, 0, 0] });
        let message = json!({ "type": "pad", "slot": 0, "pad": 0, "kind": "xbox", "state": state });
        assert!(self.swarm.send_text(0, Channel::Keys, &message.to_string()));
    }

    /// Waits until the streamer has told it something with this in it.
    #[track_caller]
    fn told(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.swarm.next(deadline).unwrap().expect(what).1 {
                Event::Message(_, text) if text.contains(what) => return,
                _ => {}
            }
        }
    }
}

/// What the host has got of gamepads, oldest first: buttons and the mask of those that are there.
fn pads(host: &Known) -> Vec<(u64, u64)> {
    let number = |input: &Value, name: &str| input[name].as_u64().unwrap();
    let pads = host.fake.inputs().into_iter().filter(|input| input["kind"] == "pad");
    pads.map(|input| (number(&input, "buttons"), number(&input, "mask"))).collect()
}

#[test]
fn a_gamepad_without_control_comes_to_rest_and_is_refused() {
    /// Bits of the standard mapping, and what they are for hosts.
    const A: (u32, u64) = (1, 0x1000);
    const B: (u32, u64) = (2, 0x2000);
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    host.stream(&server, "game").expect(201);
    let mut first = Player::join(&server);
    let mut second = Player::join(&server);
    // What comes before the host listens goes nowhere.
    eventually("a press at the host", || {
        second.press(0);
        second.press(A.0);
        pads(&host).iter().any(|(buttons, _)| *buttons == A.1).then_some(())
    });
    let exclusive = json!({ "mode": "exclusive", "holder": first.id });
    server.put("/api/streamers/game/control", &exclusive).expect(200);
    eventually("it comes to rest", || (pads(&host).last()?.0 == 0).then_some(()));
    second.press(B.0);
    second.told("not_in_control");
    first.press(B.0);
    // The second player's gamepad is still plugged in, and the only press is that of the first one's.
    eventually("the first player's press", || pads(&host).contains(&(B.1, 3)).then_some(()));
    assert_eq!(pads(&host).iter().filter(|(buttons, _)| *buttons == B.1).count(), 1);
    server.put("/api/streamers/game/control", &json!({ "mode": "shared" })).expect(200);
    second.press(A.0);
    eventually("both play", || (pads(&host).last()? == &(A.1, 3)).then_some(()));
}
