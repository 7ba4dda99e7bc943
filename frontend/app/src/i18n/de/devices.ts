import type { Translation } from "../catalogue";
import type { devices as english } from "../en/devices";

export const devices: Translation<typeof english> = {
  "device-number": "Nummer {number}",
  "device-insecure":
    "Kamera und Mikrofon gibt der Browser nur Seiten, die über https oder von localhost kommen. Öffnen Sie diese Seite über https.",
  "camera-refused": "Der Browser erlaubt dieser Seite die Kamera nicht. Erlauben Sie sie neben der Adresse und versuchen Sie es noch einmal.",
  "microphone-refused":
    "Der Browser erlaubt dieser Seite das Mikrofon nicht. Erlauben Sie es neben der Adresse und versuchen Sie es noch einmal.",
  "camera-missing": "Keine Kamera gefunden. Schließen Sie eine an und versuchen Sie es noch einmal.",
  "microphone-missing": "Kein Mikrofon gefunden. Schließen Sie eines an und versuchen Sie es noch einmal.",
  "screen-missing": "Es gibt keinen Bildschirm, der gezeigt werden kann.",
  "camera-busy": "Die Kamera lässt sich nicht lesen: Vielleicht benutzt sie ein anderes Programm. Schließen Sie es und versuchen Sie es noch einmal.",
  "microphone-busy":
    "Das Mikrofon lässt sich nicht lesen: Vielleicht benutzt es ein anderes Programm. Schließen Sie es und versuchen Sie es noch einmal.",
  "screen-busy":
    "Der Bildschirm lässt sich nicht lesen: Vielleicht benutzt ihn ein anderes Programm. Schließen Sie es und versuchen Sie es noch einmal.",
  "camera-changed": "Die gewählte Kamera ist nicht mehr da. Wählen Sie eine andere.",
  "microphone-changed": "Das gewählte Mikrofon ist nicht mehr da. Wählen Sie ein anderes.",
  "screen-changed": "Der gewählte Bildschirm ist nicht mehr da. Wählen Sie einen anderen.",
  "screen-unsupported": "Dieser Browser kann keinen Bildschirm zeigen.",
  "camera-unusable": "Die Kamera lässt sich nicht benutzen ({why}).",
  "microphone-unusable": "Das Mikrofon lässt sich nicht benutzen ({why}).",
  "screen-unusable": "Der Bildschirm lässt sich nicht benutzen ({why}).",
  "camera-gone": "Die Kamera ist weg. Vielleicht wurde sie abgezogen.",
  "microphone-gone": "Das Mikrofon ist weg. Vielleicht wurde es abgezogen.",
  "microphone-not-allowed": "Sie dürfen nicht zu den Programmen der Sitzung sprechen",
  "microphone-heard": "Die Programme der Sitzung hören Sie: Mikrofon aus",
  "microphone-opening": "Das Mikrofon wird eingeschaltet: ausschalten",
  "microphone-offer": "Programme der Sitzung Ihr Mikrofon hören lassen",
  "microphone-ended": "Ihr Mikrofon ist aus: {reason}.",
  "camera-not-allowed": "Sie dürfen sich den Programmen der Sitzung nicht zeigen",
  "camera-seen": "Die Programme der Sitzung sehen Sie: Kamera aus",
  "camera-opening": "Die Kamera wird eingeschaltet: ausschalten",
  "camera-offer": "Programme der Sitzung Ihre Kamera sehen lassen",
  "camera-ended": "Ihre Kamera ist aus: {reason}.",
};
