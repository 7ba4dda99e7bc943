import { ProblemError } from "@oriel/client";
import { language, type PlainKey, t } from "../i18n/words";

/** What the server's codes mean to people. A code that is not among them is told of in the server's own words. */
const PROBLEMS: Readonly<Record<string, PlainKey>> = {
  invalid_field: "problem-invalid",
  malformed_json: "problem-invalid",
  unauthorized: "problem-unauthorized",
  forbidden: "problem-forbidden",
  not_allowed: "problem-not-allowed",
  host_not_allowed: "problem-origin",
  origin_not_allowed: "problem-origin",
  streamer_not_found: "problem-session-missing",
  streamer_exists: "problem-session-exists",
  streamer_starting: "problem-session-starting",
  streamer_restarting: "problem-session-starting",
  streamer_stopping: "problem-session-ending",
  streamer_stopped: "problem-session-ending",
  streamer_failed: "problem-session-failed",
  streamer_gone: "problem-session-silent",
  streamer_timeout: "problem-session-silent",
  streamer_busy: "problem-session-silent",
  room_not_found: "problem-room-missing",
  too_many_requests: "problem-too-many",
  too_many_joins: "problem-too-many",
  too_many_snapshots: "problem-too-many",
  too_many_failed_logins: "problem-too-many-logins",
  too_many_streamers: "problem-full",
  too_many_hosts: "problem-full",
  no_user_left: "problem-full",
  body_too_large: "problem-too-large",
  not_ready: "problem-not-ready",
  shutting_down: "problem-not-ready",
  not_durable: "problem-storage",
  state_unreadable: "problem-storage",
  state_failed: "problem-storage",
  hosts_failed: "problem-storage",
  node_unreachable: "problem-cluster",
  cluster_unreachable: "problem-cluster-cut",
  host_not_found: "problem-host-missing",
  host_timeout: "problem-host-silent",
  host_not_paired: "problem-host-unpaired",
  host_busy: "problem-host-busy",
  host_certificate_changed: "problem-host-certificate",
  host_refused: "problem-host-refused",
  host_has_no_mac: "problem-host-no-mac",
  internal_error: "problem-internal",
  streamer_moved: "problem-session-silent",
  // Of clusters: their words come with the lists, which alone say them.
  no_capacity: "problem-no-node",
  no_cluster: "problem-no-cluster",
  node_not_found: "problem-node-missing",
  streamer_immovable: "problem-immovable",
  // Of files: their words come with the panel, which alone says them.
  no_home: "problem-no-home",
  files_off: "problem-not-allowed",
  bad_path: "problem-file-name",
  name_too_long: "problem-file-name-long",
  file_not_found: "problem-file-missing",
  is_a_directory: "problem-file-folder",
  not_a_directory: "problem-file-no-folder",
  is_a_link: "problem-file-link",
  not_a_file: "problem-file-special",
  directory_not_empty: "problem-file-not-empty",
  file_exists: "problem-file-exists",
  file_too_large: "problem-file-large",
  over_quota: "problem-file-quota",
  no_space: "problem-storage",
  too_many_transfers: "problem-too-many",
  upload_busy: "problem-file-busy",
  wrong_offset: "problem-file-broken",
  incomplete_body: "problem-file-broken",
  directory_too_large: "problem-folder-large",
  file_forbidden: "problem-file-forbidden",
  file_failed: "problem-file-failed",
};

/** Of these the server's text has facts that no other has: which rule was broken, what the host or the process has said. */
const TELLING: ReadonlySet<string> = new Set(["invalid_field", "malformed_json", "not_allowed", "streamer_failed", "host_refused", "not_durable", "file_too_large", "over_quota", "no_capacity", "streamer_immovable"]);

/** What an error says to people. */
export function messageOf(error: unknown): string {
  if (!(error instanceof ProblemError)) return t("problem-unreachable");
  return explained(error.code, withoutPath(error));
}

/**
 * What a refusal says to people.
 * @param code the server's.
 * @param detail its own words, which are English.
 */
export function explained(code: string | null, detail: string): string {
  const key = code === null ? undefined : PROBLEMS[code];
  if (code === null || key === undefined) return detail;
  const known = t(key);
  if (!TELLING.has(code) || detail === "") return known;
  // Who reads English is best told by what the server says.
  return language() === "en" ? detail : `${known} (${detail})`;
}

/** The server's text; at its field, the field's path before it or behind it says nothing new, nor where in the request it is. */
function withoutPath({ message, field }: ProblemError): string {
  const path = `${field ?? ""}: `;
  const text = message.startsWith(path) ? message.slice(path.length) : message;
  return text.replace(/ at line \d+ column \d+$| \(placement\.\w+\)$/, "");
}

/** Waits for a deletion. Somebody else may have deleted it first; it is gone either way. */
export async function ifThere(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!(error instanceof ProblemError && error.status === 404)) throw error;
  }
}
