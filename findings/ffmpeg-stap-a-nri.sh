#!/usr/bin/env bash
# ffmpeg 7.0.2 (imageio-ffmpeg 0.6.0): every aggregation packet of its RTP output says that nobody needs it.
#
# Expected: the NRI of a STAP-A is the highest of the NAL units in it (RFC 6184 §5.7.1: MUST), so 3 where it has the parameter sets
#   and IDR slices.
# Seen: NRI is 0 in each of them: "not needed to reconstruct reference pictures". Whoever drops what is least important first,
#   or takes NRI 0 for pictures that others do not refer to (temporal layers), drops parameter sets and keyframes.
# Matters to: servers and middleboxes that are given RTP by ffmpeg (`-f rtp`, `-f rtsp`), with small pictures above all.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
cat > "$dir/probe.py" <<'PYTHON'
import socket
import subprocess

import imageio_ffmpeg

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(20)
exe = imageio_ffmpeg.get_ffmpeg_exe()
print(subprocess.run([exe, "-version"], capture_output=True, text=True).stdout.split("Copyright")[0])
sender = subprocess.Popen(
    [exe, "-loglevel", "error", "-f", "lavfi", "-i", "color=gray:size=160x120:rate=10", "-frames:v", "20"]
    + "-c:v libx264 -preset ultrafast -tune zerolatency -g 5 -bsf:v dump_extra=freq=keyframe -f rtp".split()
    + [f"rtp://127.0.0.1:{receiver.getsockname()[1]}?pkt_size=1200"],
    stdout=subprocess.DEVNULL,
)
aggregates = []
try:
    while True:
        payload = receiver.recv(2000)[12:]
        receiver.settimeout(2)
        if payload[0] & 31 != 24:
            continue
        units, at = [], 1
        while at + 2 < len(payload):
            units.append((payload[at + 2] & 31, payload[at + 2] >> 5 & 3))
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
        aggregates.append((payload[0] >> 5 & 3, units))
except TimeoutError:
    pass
sender.wait()
nri, units = aggregates[0]
print(f"{len(aggregates)} aggregation packets; the first has NRI {nri} and holds (type, NRI) {units}")
assert any(kind == 5 and inner == 3 for kind, inner in units), "no keyframe in it"
assert all(nri == 0 for nri, _ in aggregates), "it behaves otherwise now"
PYTHON
"$dir/venv/bin/python" "$dir/probe.py"
