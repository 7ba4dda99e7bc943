import type { Translation } from "../catalogue";
import type { devices as english } from "../en/devices";

export const devices: Translation<typeof english> = {
  "device-number": "Numéro {number}",
  "device-insecure":
    "Le navigateur ne donne caméra et micro qu’aux pages venues par https ou de localhost. Ouvrez cette page par https.",
  "camera-refused": "Le navigateur refuse la caméra à cette page. Autorisez-la à côté de l’adresse, puis réessayez.",
  "microphone-refused": "Le navigateur refuse le micro à cette page. Autorisez-le à côté de l’adresse, puis réessayez.",
  "camera-missing": "Aucune caméra trouvée. Branchez-en une, puis réessayez.",
  "microphone-missing": "Aucun micro trouvé. Branchez-en un, puis réessayez.",
  "screen-missing": "Il n’y a pas d’écran à montrer.",
  "camera-busy": "La caméra est illisible : un autre programme s’en sert peut-être. Fermez-le, puis réessayez.",
  "microphone-busy": "Le micro est illisible : un autre programme s’en sert peut-être. Fermez-le, puis réessayez.",
  "screen-busy": "L’écran est illisible : un autre programme s’en sert peut-être. Fermez-le, puis réessayez.",
  "camera-changed": "La caméra choisie n’est plus là. Choisissez-en une autre.",
  "microphone-changed": "Le micro choisi n’est plus là. Choisissez-en un autre.",
  "screen-changed": "L’écran choisi n’est plus là. Choisissez-en un autre.",
  "screen-unsupported": "Ce navigateur ne sait pas montrer un écran.",
  "camera-unusable": "La caméra est inutilisable ({why}).",
  "microphone-unusable": "Le micro est inutilisable ({why}).",
  "screen-unusable": "L’écran est inutilisable ({why}).",
  "camera-gone": "La caméra s’est arrêtée. Elle a peut-être été débranchée.",
  "microphone-gone": "Le micro s’est arrêté. Il a peut-être été débranché.",
};
