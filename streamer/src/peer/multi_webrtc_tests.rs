use super::*;

const SIZE: (u32, u32) = (1920, 1080);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// What a new page's only message is.
#[track_caller]
fn alone(label: &str, hex: &str) -> Option<Input> {
    let channel = Channel::of(label).expect(label);
    Client::default().take(Instant::now(), channel, &bytes(hex), SIZE)
}

fn key(code: &str, down: bool) -> Option<Input> {
    let code = KeyCode::parse(code).unwrap();
    Some(Input::Keys(KeysMessage::Key { slot: 0, code, down }))
}

fn text(text: &str) -> Option<Input> {
    Some(Input::Keys(KeysMessage::Text { slot: 0, text: text.into() }))
}

fn pointer(x: f64, y: f64) -> Option<Input> {
    Some(Input::Motion(MotionMessage::Pointer { slot: 0, seq: 1, at: Position { x, y } }))
}

fn button(number: u8, down: bool) -> Option<Input> {
    let button = Button::new(number).unwrap();
    Some(Input::Keys(KeysMessage::Button { slot: 0, button, down, at: None }))
}

fn wheel_of(dx: f64, dy: f64) -> Option<Input> {
    Some(Input::Keys(KeysMessage::Wheel { slot: 0, dx, dy }))
}

#[test]
fn keys_and_texts() {
    for (hex, expected) in [
        ("00 01 01 00 A0", key("ShiftLeft", true)),
        ("00 01 01 00 41", key("KeyA", true)),
        ("00 00 01 00 41", key("KeyA", false)),
        ("00 00 00 00 A0", key("ShiftLeft", false)),
        ("00 01 00 00 2E", key("Delete", true)),
        ("00 01 00 00 87", key("F24", true)),
        ("01 01 C3 A9", text("é")),
        ("01 02 F0 9F 98 80", text("😀")),
        // One unit of the two that a character needs.
        ("01 01 F0 9F 98 80", None),
        ("01 00", None),
        // What the page itself spoils: the rest of another message before a text, or another text behind it.
        ("00 00 80 00 FF FF 01 01 61", None),
        ("01 01 78 01 01 79", text("x")),
        ("01 02 78 FF 79", text("x")),
        ("00 01 00 00 07", None),
        ("02 01", None),
    ] {
        assert_eq!(alone("keyboard", hex), expected, "{hex}");
    }
}

#[test]
fn the_mouse_is_the_same_on_all_of_its_channels() {
    for (hex, expected) in [
        ("01 08 00 08 00 10 00 10 00", pointer(960.0, 540.0)),
        ("01 10 00 10 00 10 00 10 00", pointer(1920.0, 1080.0)),
        ("01 00 05 00 02 00 0A 00 04", pointer(960.0, 540.0)),
        ("01 FF FF 00 00 10 00 10 00", pointer(0.0, 0.0)),
        ("01 08 00 08 00 00 00 10 00", None),
        ("02 01 01", button(1, true)),
        ("02 00 01", button(1, false)),
        ("02 01 03", button(3, true)),
        ("02 01 02", button(2, true)),
        ("02 01 04", button(8, true)),
        ("02 01 05", button(9, true)),
        ("02 01 06", None),
        ("03 00 00 FF 9C", wheel_of(0.0, 100.0 / 120.0)),
        ("03 00 64 00 78", wheel_of(100.0 / 120.0, -1.0)),
        ("04 00 01", wheel_of(0.0, -1.0)),
        ("04 00 9C", wheel_of(0.0, 100.0 / 120.0)),
    ] {
        for label in ["mouse", "mouseClicks", "mouseAbsolute", "mouseRelative"] {
            assert_eq!(alone(label, hex), expected, "{label} {hex}");
        }
    }
}

#[test]
fn relative_motion_is_summed_up_and_a_press_is_where_the_pointer_was_put() {
    let (mut client, now) = (Client::default(), Instant::now());
    let mut take = |hex: &str| client.take(now, Channel::Mouse, &bytes(hex), SIZE);
    let moved = |seq, total_x, total_y| {
        Some(Input::Motion(MotionMessage::Relative { slot: 0, seq, total_x, total_y }))
    };
    assert_eq!(take("00 00 14 FF F6"), moved(1, 20.0, -10.0));
    assert_eq!(take("00 00 14 FF F6"), moved(2, 40.0, -20.0));
    take("01 08 00 08 00 10 00 10 00");
    let at = Some(Position { x: 960.0, y: 540.0 });
    let press = |at| Some(Input::Keys(KeysMessage::Button { slot: 0, button: Button::LEFT, down: true, at }));
    assert_eq!(take("02 01 01"), press(at));
    take("00 00 01 00 01");
    assert_eq!(take("02 01 01"), press(None));
}

#[test]
fn fingers_are_put_on_the_picture() {
    let down = "00 00000000 3F000000 3F000000 3F000000 41380000 41380000 0000";
    let up = "02 00000000 3F400000 3F000000 00000000 41380000 41380000 0000";
    let touch = |down, x| {
        Some(Input::Keys(KeysMessage::Touch { slot: 0, touch: 0, down, at: Position { x, y: 540.0 } }))
    };
    assert_eq!(alone("touch", down), touch(true, 960.0));
    assert_eq!(alone("touch", up), touch(false, 1440.0));
    assert_eq!(alone("touch", &format!("01{}", &down[2..])), None, "it was never put down");
    assert_eq!(alone("touch", &down.replacen("3F000000", "7FC00000", 1)), None, "not a number");
    assert_eq!(Client::default().take(Instant::now(), Channel::Touch, &bytes(down), (0, 0)), None);
}

#[test]
fn gamepads_have_the_standard_mapping() {
    let (mut client, now) = (Client::default(), Instant::now());
    assert_eq!(client.take(now, Channel::Controllers, &bytes("00 00 00 00 F7 FF 00 02"), SIZE), None);
    let hex = "00 00 00 20 00 7F FF 7F FF 7F FF 00 00 C0 01";
    let Some(Input::Keys(KeysMessage::Pad { pad: 0, state, .. })) =
        client.take(now, Channel::Controller(0), &bytes(hex), SIZE)
    else {
        panic!("no gamepad")
    };
    assert_eq!((state.buttons, state.sticks[..3].to_vec()), (1 << 1, vec![1.0, -1.0, 0.0]));
    assert!((state.triggers[0] - 0.5).abs() < 0.01 && state.triggers[1] > 0.999, "{state:?}");
    assert!((state.sticks[3] - 0.5).abs() < 0.01, "{state:?}");
    // Each frame brings the same: what has not changed is told twice a second, and axes alone need no reliable way.
    assert_eq!(client.take(now, Channel::Controller(0), &bytes(hex), SIZE), None);
    let moved = hex.replacen("7F FF 7F FF", "00 00 7F FF", 1);
    let motion = client.take(now, Channel::Controller(0), &bytes(&moved), SIZE);
    assert!(matches!(motion, Some(Input::Motion(MotionMessage::Pad { pad: 0, .. }))), "{motion:?}");
    let later = client.take(now + REPEAT, Channel::Controller(0), &bytes(&moved), SIZE);
    assert!(matches!(later, Some(Input::Keys(KeysMessage::Pad { .. }))), "{later:?}");
    let gone = client.take(now, Channel::Controllers, &bytes("01 00"), SIZE);
    assert_eq!(gone, Some(Input::Keys(KeysMessage::PadGone { slot: 0, pad: 0 })));
    assert_eq!(client.take(now, Channel::Controllers, &bytes("01 00"), SIZE), None);
    assert_eq!(pad_buttons(0xf7ff).count_ones(), 15);
}

#[test]
fn rumble_is_told_and_nothing_else_is() {
    let rumble = GeneralMessage::Rumble { slot: 0, pad: 0, strong: 0.5, weak: 1.0 };
    let text = serde_json::to_string(&rumble).unwrap();
    assert_eq!(translate(&text), Some(bytes("00 00 80 00 FF FF")));
    let pong = serde_json::to_string(&GeneralMessage::Pong { token: 1 }).unwrap();
    assert_eq!(translate(&pong), None);
}

#[test]
fn labels_have_channels() {
    assert_eq!(Channel::of("controller15"), Some(Channel::Controller(15)));
    for unknown in ["", "general", "controller", "controller16", "controller01", "controller-1", "Mouse"] {
        assert_eq!(Channel::of(unknown), None, "{unknown}");
    }
}

#[test]
fn what_is_held_is_repeated_until_it_is_let_go() {
    let (mut client, now) = (Client::default(), Instant::now());
    assert_eq!(client.deadline(), None);
    client.take(now, Channel::Keyboard, &bytes("00 01 01 00 A0"), SIZE);
    client.take(now, Channel::Mouse, &bytes("02 01 01"), SIZE);
    assert_eq!(client.repeat(now), None);
    assert_eq!(client.deadline(), Some(now + REPEAT));
    let held = client.repeat(now + REPEAT).unwrap();
    let KeysMessage::Held { codes, buttons, .. } = held else { panic!("{held:?}") };
    assert_eq!((codes[0].as_str(), buttons), ("ShiftLeft", vec![Button::LEFT]));
    client.take(now, Channel::Keyboard, &bytes("00 00 00 00 A0"), SIZE);
    client.take(now, Channel::Mouse, &bytes("02 00 01"), SIZE);
    assert!(client.repeat(now + 2 * REPEAT).is_some(), "once more: of nothing");
    assert_eq!(client.deadline(), None);
}

#[test]
fn a_finger_that_says_nothing_more_is_lifted() {
    let (mut client, start) = (Client::default(), Instant::now());
    let down = "00 00000007 3F000000 3F000000 3F000000 41380000 41380000 0000";
    client.take(start, Channel::Touch, &bytes(down), SIZE);
    let held = |client: &mut Client, now| match client.repeat(now) {
        Some(KeysMessage::Held { touches, .. }) => touches,
        other => panic!("{other:?}"),
    };
    assert_eq!(held(&mut client, start + REPEAT), [7]);
    assert!(held(&mut client, start + TOUCH_SILENCE).is_empty());
    assert_eq!(client.deadline(), None);
}

#[test]
fn what_is_cut_short_is_ignored_and_nothing_panics() {
    let whole = [
        ("keyboard", "00 01 01 00 A0"),
        ("mouse", "00 00 14 FF F6"),
        ("mouse", "01 08 00 08 00 10 00 10 00"),
        ("mouse", "02 01 01"),
        ("mouse", "03 00 00 FF 9C"),
        ("mouse", "04 00 9C"),
        ("touch", "00 00000000 3F000000 3F000000 3F000000 41380000 41380000 0000"),
        ("controllers", "01 00"),
        ("controller0", "00 00 00 20 00 7F FF 7F FF 7F FF 00 00 C0 01"),
    ];
    for (label, hex) in whole {
        let bytes = bytes(hex);
        for len in 0..bytes.len() {
            let channel = Channel::of(label).unwrap();
            let taken = Client::default().take(Instant::now(), channel, &bytes[..len], SIZE);
            assert_eq!(taken, None, "{label} {hex} {len}");
        }
        for kind in 0..=255u8 {
            let mut changed = bytes.clone();
            changed[0] = kind;
            changed.extend([0xff; 40]);
            Client::default().take(Instant::now(), Channel::of(label).unwrap(), &changed, SIZE);
        }
    }
}
