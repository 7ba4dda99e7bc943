import type { Translation } from "../catalogue";
import type { streams as english } from "../en/streams";

export const streams: Translation<typeof english> = {
  "the-cameras": "las cámaras",
  "cameras-looking": "Buscando cámaras…",
  "no-streams": "«{name}» aún no tiene flujos.",
  "streams-left": {
    one: "{count} más se puede mostrar por su nombre: ?streams=a,b,c",
    other: "{count} más se pueden mostrar por su nombre: ?streams=a,b,c",
  },
  "which-stream": "¿Qué flujo? Añada ?src=NOMBRE a la dirección.",
  "stream-connecting": "Conectando…",
  "stream-waiting": "Esperando la primera imagen…",
  "stream-nothing": "Aquí no se muestra nada",
  "stream-offline": "La fuente no está disponible",
  "stream-cannot": "No se puede mostrar",
  "stream-missing": "No hay ningún flujo con este nombre",
  "stream-undecodable": "Este navegador no puede descodificarlo",
  "stream-lost": "Conexión perdida, reintentando…",
  "stream-failed": "La fuente ha fallado",
  "stream-sound-on": "Activar el sonido",
  "stream-sound-off": "Quitar el sonido",
  "stream-click-sound": "Clic para oír",
  "stream-click-mute": "Clic para silenciar",
  "stream-back": "Volver a la cuadrícula",
  "stream-enlarge": "{label}: clic para ampliar, arrastrar para reordenar",
};
