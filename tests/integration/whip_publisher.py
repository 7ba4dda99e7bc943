"""Publishes a moving picture by WHIP (RFC 9725) with aiortc, and checks what the server responds. Arguments: URL, token."""

import asyncio
import sys

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from yarl import URL

SECONDS = 8


async def main(url, token):
    pc = RTCPeerConnection()
    transceiver = pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    await pc.setLocalDescription(await pc.createOffer())
    bearer = {"authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=bearer) as http:

        async def status(method, where, expected, headers=None, body=None):
            async with http.request(method, where, headers=headers, data=body) as response:
                text = await response.text()
                assert response.status == expected, (method, where, response.status, text)
                return response.headers, text

        sdp = {"content-type": "application/sdp"}
        headers, answer = await status("POST", url, 201, sdp, pc.localDescription.sdp)
        assert headers["content-type"] == "application/sdp", headers
        resource = str(URL(url).join(URL(headers["location"])))
        etag = headers["etag"]
        connected = asyncio.get_running_loop().create_future()

        @pc.on("connectionstatechange")
        def changed():
            if pc.connectionState == "connected" and not connected.done():
                connected.set_result(None)

        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.wait_for(connected, 20)

        lines = pc.localDescription.sdp.splitlines()
        credentials = [line for line in lines if line.startswith(("a=ice-ufrag:", "a=ice-pwd:"))][:2]
        candidates = [line for line in lines if line.startswith("a=candidate:")]
        mline = next(line for line in lines if line.startswith("m="))
        fragment = "\r\n".join([*credentials, mline, "a=mid:0", *candidates, "a=end-of-candidates", ""])
        kind = {"content-type": "application/trickle-ice-sdpfrag"}
        await status("PATCH", resource, 204, {**kind, "if-match": etag}, fragment)
        await status("PATCH", resource, 428, kind, fragment)
        await status("PATCH", resource, 412, {**kind, "if-match": '"another"'}, fragment)
        await status("PATCH", resource, 415, {"content-type": "text/plain", "if-match": etag}, fragment)
        await asyncio.sleep(SECONDS)
        await status("DELETE", resource, 200)
        await status("DELETE", resource, 404)
    await pc.close()


asyncio.run(main(*sys.argv[1:]))
