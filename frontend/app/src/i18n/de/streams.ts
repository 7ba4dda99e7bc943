import type { Translation } from "../catalogue";
import type { streams as english } from "../en/streams";

export const streams: Translation<typeof english> = {
  "the-cameras": "die Kameras",
  "cameras-looking": "Kameras werden gesucht …",
  "no-streams": "„{name}“ hat noch keine Streams.",
  "streams-left": {
    one: "{count} weiterer lässt sich mit seinem Namen zeigen: ?streams=a,b,c",
    other: "{count} weitere lassen sich mit ihren Namen zeigen: ?streams=a,b,c",
  },
  "which-stream": "Welcher Stream? Ergänzen Sie die Adresse um ?src=NAME.",
  "stream-connecting": "Verbindet …",
  "stream-waiting": "Warten auf das erste Bild …",
  "stream-nothing": "Hier wird nichts gezeigt",
  "stream-offline": "Die Quelle ist offline",
  "stream-cannot": "Es kann nicht gezeigt werden",
  "stream-missing": "Einen Stream mit diesem Namen gibt es nicht",
  "stream-undecodable": "Dieser Browser kann ihn nicht dekodieren",
  "stream-lost": "Verbindung verloren, neuer Versuch …",
  "stream-failed": "Die Quelle ist fehlgeschlagen",
  "stream-sound-on": "Ton an",
  "stream-sound-off": "Ton aus",
  "stream-click-sound": "Klicken für Ton",
  "stream-click-mute": "Klicken für stumm",
  "stream-back": "Zurück zum Raster",
  "stream-enlarge": "{label} – klicken vergrößert, ziehen ordnet um",
};
