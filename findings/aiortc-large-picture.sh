#!/usr/bin/env bash
# aiortc 1.16.0: a picture of 512 packets or more reaches the decoder as its tail, marked as whole.
#
# Expected: a picture that is too large for the jitter buffer is dropped as a whole, and a keyframe asked for; or it is passed on whole.
# Seen: the buffer of a video receiver has 512 places. When a picture has more packets, the places of its first ones are given to the
#   later ones, and what is left is handed over as a complete frame: of 600 packets the last 88, of 1000 the last 488. One of exactly
#   512 is not handed over at all. A keyframe request is made too, and its answer, as large, has the same fate.
# Matters to: receivers of 4K or of near-lossless screens: a keyframe of 620 kB in packets of 1200 bytes is enough. Every receiver but this
#   one shows the stream.
#
# Runs the receiver's own buffer, as rtcrtpreceiver.py makes it, on pictures of 10 packets with a large one between them.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check aiortc==1.16.0
cat > "$dir/probe.py" <<'PYTHON'
import inspect
import re

import aiortc
from aiortc import rtcrtpreceiver
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

places = int(re.search(r"JitterBuffer\(capacity=(\d+), is_video=True\)", inspect.getsource(rtcrtpreceiver)).group(1))


def received(large):
    """Packets of each picture that is handed over, by its number, and how often a keyframe is asked for."""
    buffer = JitterBuffer(capacity=places, is_video=True)
    sequence, pictures, requests = 0, {}, 0
    for number, packets in enumerate([10, large, 10, 10]):
        for n in range(packets):
            packet = RtpPacket(payload_type=96, sequence_number=sequence, timestamp=3000 * number, payload=b"x")
            packet.marker = int(n == packets - 1)
            packet._data = packet.payload  # what the depacketizer leaves there
            sequence += 1
            request, frame = buffer.add(packet)
            requests += bool(request)
            if frame is not None:
                pictures[frame.timestamp // 3000] = len(frame.data)
    return pictures.get(1), requests


print(f"aiortc {aiortc.__version__}, room for {places} packets")
seen = {large: received(large) for large in (511, 512, 600, 1000)}
for large, (got, requests) in seen.items():
    print(f"a picture of {large} packets: {got} handed over, {requests} keyframe requests")
expected = {511: (511, 0), 512: (None, 1), 600: (88, 1), 1000: (488, 1)}
assert seen == expected, "it behaves otherwise now"
PYTHON
"$dir/venv/bin/python" "$dir/probe.py"
