//! Why a streamer has not done what it was asked: one error with a code, from which everything else follows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A request that was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// Stable, for programs.
    pub code: Code,
    /// A description, for people; it may change.
    pub message: String,
    /// Path of the offending field of the request or the spec, if there is one: `source.command`.
    pub field: Option<String>,
}

impl RequestError {
    /// An error with this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// The same, naming the field that is to blame.
    #[must_use]
    pub fn with_field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }
}

/// Kinds of failures: the HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// It does not fit the state: not started, already started, wrong kind of source.
    Conflict,
    /// A bound is reached.
    Limit,
    /// Something is longer than is carried.
    TooLong,
    /// It should have worked and did not.
    Failed,
    /// Somebody else, a host on the network or a program of the session, did not answer in time.
    Timeout,
}

/// Makes [`Code`]: of each kind, the codes and how clients see them.
macro_rules! codes {
    ($($kind:ident { $($code:ident = $text:literal,)* })*) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(
                #[doc = concat!("`", $text, "`")]
                $code,
            )*)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$($(Code::$code,)*)*];

            /// As clients see it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($(Code::$code => $text,)*)*
                }
            }

            /// What kind of failure it is.
            pub fn kind(self) -> ErrorKind {
                match self {
                    $($(Code::$code)|* => ErrorKind::$kind,)*
                }
            }
        }
    };
}

codes! {
    Invalid {
        InvalidInput = "invalid_input",
        NotAPng = "not_a_png",
        InvalidSource = "invalid_source",
        SizeTooLarge = "size_too_large",
        CommandFailed = "command_failed",
        BadOffer = "bad_offer",
        BadAnswer = "bad_answer",
        BadFragment = "bad_fragment",
        InvalidMessage = "invalid_message",
        HostNotPaired = "host_not_paired",
        HostCodecUnsupported = "host_codec_unsupported",
    }
    NotFound {
        PeerNotFound = "peer_not_found",
        SessionNotFound = "session_not_found",
        SlotNotFound = "slot_not_found",
        StreamNotFound = "stream_not_found",
        SourceNotFound = "source_not_found",
        WindowNotFound = "window_not_found",
        AppNotFound = "app_not_found",
    }
    Conflict {
        AlreadyStarted = "already_started",
        Unsupported = "unsupported",
        NoInput = "no_input",
        NoClipboard = "no_clipboard",
        NoDesktop = "no_desktop",
        NoMicrophone = "no_microphone",
        NoCamera = "no_camera",
        NoFreeSlot = "no_free_slot",
        SlotBusy = "slot_busy",
        SlotInactive = "slot_inactive",
        AlreadyShared = "already_shared",
        SourceOffline = "source_offline",
        SourceExists = "source_exists",
        MainSource = "main_source",
        ControlIsShared = "control_is_shared",
        NotAController = "not_a_controller",
        MayNotPublish = "may_not_publish",
        NotInControl = "not_in_control",
        NotAllowed = "not_allowed",
        IceSessionMismatch = "ice_session_mismatch",
        HostBusy = "host_busy",
        HostAppEnded = "host_app_ended",
        HostCertificateChanged = "host_certificate_changed",
    }
    Limit {
        Busy = "busy",
        TooManyPeers = "too_many_peers",
        RoomFull = "room_full",
        TooManyMessages = "too_many_messages",
        TooManySources = "too_many_sources",
        TooManyMixes = "too_many_mixes",
    }
    TooLong {
        ClipboardTooLong = "clipboard_too_long",
    }
    Failed {
        SourceFailed = "source_failed",
        InputFailed = "input_failed",
        SnapshotFailed = "snapshot_failed",
        ClipboardFailed = "clipboard_failed",
        WindowsFailed = "windows_failed",
        ResizeFailed = "resize_failed",
        JoinFailed = "join_failed",
        ReplyFailed = "reply_failed",
        HostRefused = "host_refused",
        HostProtocol = "host_protocol",
    }
    Timeout {
        ClipboardTimeout = "clipboard_timeout",
        Stalled = "stalled",
        HostTimeout = "host_timeout",
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_name_in_the_way_of_clients() {
        for code in Code::ALL {
            let name = format!("{code:?}").to_lowercase();
            assert_eq!(code.as_str().replace('_', ""), name);
        }
    }
}
