//! What each `code` of a problem means, for the documentation that the server serves: `type` of a problem leads to its entry.

use common::api::Problem;

use super::site::Site;

/// Path of the documentation, below the base path.
pub const DOCS: &str = "/api/docs";

/// Every code with what it means and what helps, in order of codes.
pub const PROBLEMS: &[(&str, &str)] = &[
    ("already_shared", "Another slot shows this already."),
    ("already_started", "The session has been started before."),
    ("app_not_found", "The host has no such app; `GET /api/hosts/{id}/apps` lists them."),
    ("bad_answer", "The SDP of the answer cannot be used; `detail` says why."),
    ("bad_fragment", "The fragment of Trickle ICE cannot be used."),
    ("bad_offer", "The SDP of the offer cannot be used; `detail` says why."),
    (
        "bad_pass",
        "A request claims to come from another node of the cluster, and does not. Do all nodes have the same key and the right time?",
    ),
    ("bad_path", "The path leads out of the session's home, or is none. Send plain names, percent-encoded."),
    ("bad_request", "The request is malformed in a way that HTTP itself forbids."),
    ("body_too_large", "The body is longer than this request takes; `detail` has the limit."),
    ("body_too_slow", "The body did not come in time."),
    ("busy", "The session has too much to do at the moment. Try again after `Retry-After`."),
    ("clipboard_failed", "The session's clipboard cannot be reached."),
    ("clipboard_timeout", "The program that owns the clipboard does not answer."),
    ("clipboard_too_long", "The content is longer than a clipboard carries."),
    (
        "cluster_unreachable",
        "NATS cannot be reached, so nothing is created; what runs goes on. Try again after `Retry-After`.",
    ),
    (
        "command_failed",
        "The desktop's command ended within its first second, or there is no such program. `detail` has its output.",
    ),
    (
        "control_is_shared",
        "All controllers steer; there is no control to be given. Set `mode` to `exclusive` first.",
    ),
    ("directory_not_empty", "Remove what is in the directory, too, with `recursive=true`."),
    ("directory_too_large", "The directory has too many entries, or too deep ones, to be handled at once."),
    ("file_exists", "A file of this name is there, and the request said not to replace it."),
    ("file_failed", "The file system fails; the server's log says more."),
    ("file_forbidden", "The session's user may not do this."),
    ("file_not_found", "There is no such file or directory in the session's home."),
    ("file_too_large", "An upload is longer than `files.max_upload_mb` allows."),
    ("files_off", "The configuration does not allow this access to files (`files.access`)."),
    (
        "forbidden",
        "The token does not permit this. `GET /api/docs` names the role that each operation needs.",
    ),
    ("host_app_ended", "The app on the Moonlight host has ended."),
    ("host_busy", "The Moonlight host streams something else, or is being paired."),
    (
        "host_certificate_changed",
        "The host has another certificate than when it was paired. Pair it again if it was installed anew.",
    ),
    ("host_codec_unsupported", "The host does not encode the codec that was asked for."),
    (
        "host_has_no_mac",
        "The host's MAC address is not known, so it cannot be woken. It is learnt when the host is paired.",
    ),
    ("host_not_allowed", "The server is not known by the name in `Host` (`http.allowed_hosts`)."),
    ("host_not_found", "There is no Moonlight host of this id."),
    ("host_not_paired", "Pair the Moonlight host first: `POST /api/hosts/{id}/pair`."),
    ("host_protocol", "The Moonlight host answered something that is not understood."),
    ("host_refused", "The Moonlight host refuses; `detail` has its words."),
    ("host_timeout", "The Moonlight host does not answer. Does it run, and can this server reach it?"),
    ("hosts_failed", "What is known of Moonlight hosts cannot be kept; the server's log says more."),
    (
        "ice_session_mismatch",
        "The ICE session was restarted meanwhile; send the `ETag` of the newest response.",
    ),
    (
        "incomplete_body",
        "The connection ended before the body was complete. What has come of an upload in parts is kept.",
    ),
    ("input_failed", "The session's display takes no input."),
    ("internal_error", "The server has a fault; its log says more, by `request_id`."),
    (
        "invalid_field",
        "A field of the body, a parameter, or a header breaks a rule: `field` names it, `detail` says the rule.",
    ),
    ("invalid_input", "A command of input breaks a rule; `detail` says which."),
    ("invalid_message", "A message of signalling breaks a rule."),
    ("invalid_source", "The source cannot be made of this spec."),
    ("is_a_directory", "A directory is where a file is meant."),
    ("is_a_link", "The path is or leads through a symbolic link, and links are not followed."),
    ("join_failed", "No connection can be made for this peer."),
    ("main_source", "The main source cannot be removed: the session is its. Delete the streamer."),
    ("malformed_json", "The body is not JSON, or not an object."),
    ("may_not_publish", "The peer does not have the right to publish."),
    ("method_not_allowed", "The path has other methods; `Allow` names them."),
    ("name_too_long", "A name or path is longer than a file system takes."),
    ("no_camera", "The session's programs have no camera that a peer's could be."),
    ("no_capacity", "No node of the cluster has room that fits `placement`."),
    ("no_clipboard", "What the slot shows has no clipboard."),
    ("no_cluster", "The server is in no cluster (`cluster.nats`)."),
    ("no_desktop", "The streamer has no desktop."),
    ("no_free_slot", "Every slot shows something. Clear one, or create the streamer with more."),
    ("no_home", "The streamer has no home: only desktops have one, once they have started."),
    ("no_input", "What the slot shows takes no input."),
    ("no_media_sockets", "Media by WebSocket is turned off (`webrtc.websocket_media`)."),
    ("no_microphone", "The session's programs have no microphone."),
    ("no_space", "The disk is full."),
    ("no_user_left", "Every id of `sessions.users` is taken. Delete a streamer, or configure more."),
    ("node_not_found", "There is no node of this name in the cluster."),
    ("node_unreachable", "The node that has the streamer does not answer. Try again after `Retry-After`."),
    ("not_a_controller", "Only a controller can have control."),
    ("not_a_directory", "Something else is where a directory is meant."),
    ("not_a_file", "A pipe, socket or device is there, which is never opened."),
    ("not_a_png", "The body is no PNG."),
    ("not_acceptable", "`Accept` excludes what this request is answered with."),
    (
        "not_allowed",
        "An admin may do this, but the configuration does not allow it; `field` and `detail` say what does.",
    ),
    (
        "not_durable",
        "It was done, but that could not be written to the disk: after a restart it may not count.",
    ),
    ("not_in_control", "Another peer has control."),
    ("not_on_clipboard", "The clipboard holds nothing of this type."),
    ("not_ready", "The server cannot take on work; `detail` says why."),
    (
        "origin_not_allowed",
        "The page that asks is of another site, which is not allowed (`http.allowed_origins`).",
    ),
    (
        "over_quota",
        "The session's home would hold more than `files.quota_mb` allows. Delete something first.",
    ),
    ("peer_not_found", "There is no such peer, or it has left."),
    (
        "precondition_failed",
        "`If-Match` or `If-None-Match` does not hold any more. Read again, and decide anew.",
    ),
    ("precondition_required", "Send `If-Match` with the `ETag` of the response, or `*`."),
    ("range_not_satisfiable", "`Range` begins after the end; `Content-Range` has the length."),
    ("reply_failed", "The streamer's reply cannot be sent."),
    ("resize_failed", "The display does not take this size."),
    ("revocation_not_kept", "The token could not be written among the revoked ones."),
    ("room_full", "The room has as many participants as it may have."),
    ("room_not_found", "There is no such room."),
    ("route_not_found", "Nothing is at this path."),
    ("session_not_found", "There is no such session."),
    ("shutting_down", "The server is ending. Try again soon."),
    (
        "size_too_large",
        "The desktop cannot become so large; `max_width` and `max_height` of its spec are the limit.",
    ),
    ("slot_busy", "The slot is being changed by another request."),
    ("slot_inactive", "The slot shows nothing."),
    ("slot_not_found", "The streamer has no such slot."),
    ("snapshot_failed", "No picture could be made."),
    ("source_exists", "There is a source of this name."),
    ("source_failed", "The source cannot be started; `detail` says why."),
    ("source_not_found", "There is no source of this name."),
    ("source_offline", "The source gives no pictures at the moment. It is retried."),
    ("stalled", "The session does not get on; a program of it may hold its display."),
    ("state_failed", "The cluster's state cannot be written to the disk."),
    ("state_unreadable", "The server's database cannot be read; its log says more."),
    ("stream_not_found", "There is no stream of this name."),
    ("streamer_busy", "The streamer has too many requests waiting. Try again after `Retry-After`."),
    ("streamer_exists", "The id is taken by a streamer with another spec."),
    ("streamer_failed", "The streamer has ended; `POST …/restart` starts it again, `GET …/logs` says why."),
    ("streamer_gone", "The streamer's process ended while it was asked."),
    (
        "streamer_immovable",
        "The streamer cannot be moved: it is being created, or its spec is too long for a record.",
    ),
    ("streamer_moved", "The streamer goes to another node at this moment. Try again after `Retry-After`."),
    ("streamer_not_found", "There is no streamer of this id."),
    ("streamer_protocol", "The streamer answered something unexpected; its log says more."),
    ("streamer_restarting", "The streamer's process is being started again."),
    (
        "streamer_starting",
        "The streamer is still starting. Create it with `wait=running`, or listen to its events.",
    ),
    ("streamer_stopped", "The streamer was stopped as nobody used it; `POST …/restart` starts it again."),
    ("streamer_stopping", "The streamer is ending."),
    ("streamer_timeout", "The streamer did not answer in time."),
    ("too_many_failed_logins", "Too many wrong tokens from this address. Valid ones are still taken."),
    ("too_many_hosts", "No more Moonlight hosts are kept."),
    ("too_many_joins", "Too many viewers join from this address (`limits.joins_per_minute`)."),
    ("too_many_listeners", "Too many listen to events."),
    ("too_many_messages", "Too many messages wait for the streamer."),
    ("too_many_mixes", "As many mixes of sound are made for single peers as may be (`audio=mix`)."),
    ("too_many_peers", "The streamer has as many peers as it may (`max_peers`)."),
    ("too_many_requests", "Too many requests from this address (`limits.requests_per_second`)."),
    ("too_many_revocations", "No more tokens can be revoked; some expire by themselves."),
    ("too_many_snapshots", "Too many snapshots for one token at once."),
    ("too_many_sources", "The streamer has as many sources as it may."),
    ("too_many_streamers", "There are as many streamers as there may be (`max_streamers`)."),
    (
        "too_many_transfers",
        "Too many uploads or archives of one streamer at once. Try again after `Retry-After`.",
    ),
    ("unauthorized", "The request needs a token, or its token is wrong, expired or revoked."),
    ("unreadable_body", "The body could not be read."),
    ("unsupported", "What the slot shows cannot do this."),
    ("unsupported_media_type", "Send the body as `detail` says (`Content-Type`)."),
    ("upload_busy", "Another request sends the same file."),
    ("websocket_required", "Connect to this path by WebSocket."),
    ("window_not_found", "There is no such window any more."),
    ("windows_failed", "The windows of the desktop cannot be listed."),
    (
        "wrong_offset",
        "A part does not begin where the last one ended. Ask with `Content-Range: bytes */TOTAL`.",
    ),
];

/// Names the kind of a problem by its entry in our documentation (RFC 9457 §3.1.1).
pub fn with_type(mut problem: Problem, site: &Site) -> Problem {
    if PROBLEMS.binary_search_by_key(&problem.code.as_str(), |entry| entry.0).is_ok() {
        problem.kind = site.path(&format!("{DOCS}#problem-{}", problem.code));
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ipc::Code;

    #[test]
    fn every_code_is_described_once() {
        assert!(PROBLEMS.is_sorted_by(|a, b| a.0 < b.0));
        let described = |code: &str| PROBLEMS.iter().any(|(known, _)| *known == code);
        for code in Code::ALL {
            assert!(described(code.as_str()), "{code}");
        }
        // What HTTP errors are called is in one file, each beside its status.
        let source = include_str!("problem.rs");
        let source = source.split("#[cfg(test)]").next().unwrap();
        let beside = source.split("StatusCode::").skip(1).filter_map(|part| {
            let code = part.split_once('"')?.1.split_once('"')?.0;
            (part.find('"')? < 60).then_some(code)
        });
        let codes: Vec<_> =
            beside.filter(|code| !code.contains(|c: char| !c.is_ascii_lowercase() && c != '_')).collect();
        assert!(codes.len() > 60, "{codes:?}");
        for code in codes {
            assert!(described(code), "{code}");
        }
    }
}
