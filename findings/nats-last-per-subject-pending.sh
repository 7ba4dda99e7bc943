#!/usr/bin/env bash
# nats-server 2.9.10: a consumer of the last message of each subject that is made while messages are overwritten tells with every message
# that one more is pending, for ever.
#
# Expected: the message with which a consumer has been sent all that the stream has says that nothing is pending: this is how key-value
#   clients know that they have read the whole bucket.
# Seen: of a thousand consumers that are made while six subjects are written once each, about a hundred are sent everything, and are told of
#   one pending message. So says each of eighteen further messages, although each is sent at once. Asking for the consumer's information
#   says 0, and puts it right.
# Matters to: whoever lists a key-value bucket by a watch until nothing is pending, while others write: that list does not end, and no
#   time-out between messages ends it either, as long as there is one now and then.
#
# Needs Debian 12's mirror and PyPI. A server and clients on loopback.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
(cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download nats-server=2.9.10-1+b3 && dpkg-deb -x nats-server_*.deb root)
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nats-py==2.12.0
"$dir/root/usr/sbin/nats-server" --version
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$dir/root/usr/sbin/nats-server" -a 127.0.0.1 -p "$port" -js -sd "$dir/data" > "$dir/log" 2>&1 &
server=$!
until (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do kill -0 "$server"; sleep 0.1; done
cat > "$dir/probe.py" <<'PYTHON'
import asyncio
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

SUBJECTS = 6
CONSUMERS = 1000
FURTHER = 18


async def main(url):
    connections = [await nats.connect(url) for _ in range(SUBJECTS + 1)]
    js = connections[0].jetstream()
    await js.add_stream(StreamConfig(name="S", subjects=["s.>"], max_msgs_per_subject=1))
    writers = [connection.jetstream() for connection in connections[1:]]
    never, informed = 0, set()
    for n in range(CONSUMERS):
        got = []

        async def on(message, got=got):
            got.append(message.metadata)

        await js.purge_stream("S")
        await writers[0].publish("s.0", b"x")
        subscription = await connections[0].subscribe(f"d.{n}", cb=on)
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=AckPolicy.NONE,
            deliver_subject=f"d.{n}",
            filter_subject="s.>",
            inactive_threshold=60,
        )
        made = asyncio.create_task(js.add_consumer("S", config))
        await asyncio.gather(*(writer.publish(f"s.{key}", b"x") for key, writer in enumerate(writers)))
        name = (await made).name
        last = (await js.stream_info("S")).state.last_seq
        while not got or got[-1].sequence.stream < last:
            await asyncio.sleep(0.002)
        if got[-1].num_pending:
            before = len(got)
            for key in range(FURTHER):
                await writers[key % SUBJECTS].publish(f"s.{key % SUBJECTS}", b"x")
            while len(got) < before + FURTHER:
                await asyncio.sleep(0.002)
            if all(message.num_pending for message in got[before:]):
                never += 1
                informed.add((await js.consumer_info("S", name)).num_pending)
        await subscription.unsubscribe()
        await js.delete_consumer("S", name)
    print(f"of {CONSUMERS} consumers, {never} tell of a pending message with each of {FURTHER} messages after they were sent everything")
    print(f"pending in their information then: {informed}")
    assert never > 0 and informed == {0}, "it behaves otherwise now"
    for connection in connections:
        await connection.close()


asyncio.run(main(sys.argv[1]))
PYTHON
"$dir/venv/bin/python" "$dir/probe.py" "nats://127.0.0.1:$port"
