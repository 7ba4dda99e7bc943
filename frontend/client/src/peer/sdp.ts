/** The few changes made to session descriptions, line by line and with no parser of the rest. */

/**
 * Asks for stereo in every Opus format of an answer. Browsers decode Opus as mono unless their own answer
 * says `stereo=1` (RFC 7587 §6.1), and have no other way to say it.
 */
export function withStereo(sdp: string): string {
  const lines = sdp.split("\r\n");
  const opus = new Set(lines.flatMap((line) => /^a=rtpmap:(\d+) opus\/48000/i.exec(line)?.[1] ?? []));
  return lines
    .map((line) => {
      const payloadType = /^a=fmtp:(\d+) /.exec(line)?.[1];
      const wanted = payloadType !== undefined && opus.has(payloadType) && !/[ ;]stereo=/.test(line);
      return wanted ? `${line};stereo=1` : line;
    })
    .join("\r\n");
}

/**
 * Puts the sound of an offer into streams of its own. A browser delays the video of a stream until it is in
 * step with the sound of the same stream, which costs a steered session some ten milliseconds of latency;
 * tracks of different streams are played as soon as they can be.
 */
export function withoutLipSync(sdp: string): string {
  return sdp
    .split(/(?=^m=)/m)
    .map((section) =>
      section.startsWith("m=audio")
        ? section.replace(/^(a=(?:ssrc:\d+ )?msid:)(\S+)/gm, "$1$2-sound")
        : section,
    )
    .join("");
}
