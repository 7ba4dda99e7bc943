import type { Translation } from "../catalogue";
import type { streams as english } from "../en/streams";

export const streams: Translation<typeof english> = {
  "the-cameras": "les caméras",
  "cameras-looking": "Recherche de caméras…",
  "no-streams": "« {name} » n’a pas encore de flux.",
  "streams-left": {
    one: "{count} autre peut être montré par son nom : ?streams=a,b,c",
    other: "{count} autres peuvent être montrés par leur nom : ?streams=a,b,c",
  },
  "which-stream": "Quel flux ? Ajoutez ?src=NOM à l’adresse.",
  "stream-connecting": "Connexion…",
  "stream-waiting": "En attente de la première image…",
  "stream-nothing": "Rien n’est montré ici",
  "stream-offline": "La source est hors ligne",
  "stream-cannot": "Impossible à montrer",
  "stream-missing": "Aucun flux ne porte ce nom",
  "stream-undecodable": "Ce navigateur ne sait pas le décoder",
  "stream-lost": "Connexion perdue, nouvel essai…",
  "stream-failed": "La source a échoué",
  "stream-sound-on": "Activer le son",
  "stream-sound-off": "Couper le son",
  "stream-click-sound": "Cliquer pour le son",
  "stream-click-mute": "Cliquer pour couper",
  "stream-back": "Retour à la grille",
  "stream-enlarge": "{label} – cliquer pour agrandir, glisser pour réordonner",
};
