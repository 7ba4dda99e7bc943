import type { Translation } from "../catalogue";
import type { devices as english } from "../en/devices";

export const devices: Translation<typeof english> = {
  "device-number": "Número {number}",
  "device-insecure":
    "El navegador solo da la cámara y el micrófono a páginas que llegan por https o de localhost. Abra esta página por https.",
  "camera-refused": "El navegador no permite la cámara a esta página. Permítala junto a la dirección y reintente.",
  "microphone-refused": "El navegador no permite el micrófono a esta página. Permítalo junto a la dirección y reintente.",
  "camera-missing": "No se ha encontrado ninguna cámara. Conecte una y reintente.",
  "microphone-missing": "No se ha encontrado ningún micrófono. Conecte uno y reintente.",
  "screen-missing": "No hay ninguna pantalla que mostrar.",
  "camera-busy": "No se puede leer la cámara: quizá la use otro programa. Ciérrelo y reintente.",
  "microphone-busy": "No se puede leer el micrófono: quizá lo use otro programa. Ciérrelo y reintente.",
  "screen-busy": "No se puede leer la pantalla: quizá la use otro programa. Ciérrelo y reintente.",
  "camera-changed": "La cámara elegida ya no está. Elija otra.",
  "microphone-changed": "El micrófono elegido ya no está. Elija otro.",
  "screen-changed": "La pantalla elegida ya no está. Elija otra.",
  "screen-unsupported": "Este navegador no puede mostrar una pantalla.",
  "camera-unusable": "No se puede usar la cámara ({why}).",
  "microphone-unusable": "No se puede usar el micrófono ({why}).",
  "screen-unusable": "No se puede usar la pantalla ({why}).",
  "camera-gone": "La cámara se ha detenido. Quizá la hayan desconectado.",
  "microphone-gone": "El micrófono se ha detenido. Quizá lo hayan desconectado.",
};
