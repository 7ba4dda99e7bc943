/** How loud a microphone is, for a meter. */

/** Quieter than this is nothing, in dB below full scale. */
const FLOOR_DB = -60;
/** How much of the meter goes back within one reading, after a peak. */
const FALL = 0.85;

/** From 0 to 1, as people hear it: the root mean square of samples on a scale of decibels. Pure. */
export function levelOf(samples: Float32Array): number {
  if (samples.length === 0) return 0;
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / samples.length);
  return db <= FLOOR_DB ? 0 : Math.min(1, 1 - db / FLOOR_DB);
}

/** Calls back with the level of a track some times a second, until the returned function is called. */
export function measure(track: MediaStreamTrack, show: (level: number) => void): () => void {
  const context = new AudioContext();
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  // Before the person has touched the page, browsers may let it wait.
  void context.resume().catch(() => undefined);
  const samples = new Float32Array(analyser.fftSize);
  let level = 0;
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    level = Math.max(levelOf(samples), level * FALL);
    show(level);
  }, 60);
  return () => {
    clearInterval(timer);
    source.disconnect();
    void context.close().catch(() => undefined);
  };
}
