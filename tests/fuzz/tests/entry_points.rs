//! Each target for a short time; `scripts/soak` gives them longer.

use fuzz::targets::TARGETS;

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    fuzz::fuzz(target.unwrap_or_else(|| panic!("there is no target {name}")), &fuzz::corpus());
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn none_is_left_out() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets!(ipc signalling channels rest config streams sdp candidates datagrams framing handover media_socket whole_units rtp published rtsp h264 mpegts host_video host_fec host_sound host_messages
    host_rtsp host_answers host_pairing host_pictures);
