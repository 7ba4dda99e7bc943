//! What admins may start by REST: everything, unless `auth.allowed_commands` and `auth.allowed_inputs` of the
//! configuration restrict it. Directories may be homes only if `auth.allowed_homes` names them. Sources in the configuration are not restricted.

use std::path::{Component, Path};

use common::spec::{Command, Home, SourceSpec};

use crate::http::problem::ApiError;
use crate::http::site::Site;

/// Checks that this source may be started. `path` is its place in the request.
///
/// # Errors
/// It runs or reads what is not allowed.
pub fn allowed(source: &SourceSpec, path: &str, site: &Site) -> Result<(), ApiError> {
    match source {
        SourceSpec::Desktop(spec) => {
            home(&spec.home, path, site)?;
            spec.command.as_ref().map_or(Ok(()), |c| command(c, path, site))
        }
        SourceSpec::Exec(spec) => command(&spec.command, path, site),
        SourceSpec::Rtsp(spec) => input(spec.url.expose(), &format!("{path}.url"), site),
        SourceSpec::Ffmpeg(spec) => input(spec.input.expose(), &format!("{path}.input"), site),
        SourceSpec::Test(_)
        | SourceSpec::Window(_)
        | SourceSpec::Moonlight(_)
        // Refused by its own rules.
        | SourceSpec::Publish(_) => Ok(()),
    }
}

fn home(home: &Home, path: &str, site: &Site) -> Result<(), ApiError> {
    let allowed = &site.access.allowed.homes;
    if home.is_within(allowed) {
        return Ok(());
    }
    let allowed: Vec<_> = allowed.iter().map(|home| home.display().to_string()).collect();
    let message = "this directory may not be a home (auth.allowed_homes)".into();
    Err(refused(format!("{path}.home"), message, &allowed))
}

fn command(command: &Command, path: &str, site: &Site) -> Result<(), ApiError> {
    let Some(allowed) = &site.access.allowed.commands else { return Ok(()) };
    let argv = command.argv();
    let program = argv.first().map(String::as_str).unwrap_or_default();
    if allowed.iter().any(|name| name == program) {
        return Ok(());
    }
    let message = match command {
        // A shell can start anything.
        Command::Shell(_) => format!("a command line is run by {program}, which is not allowed"),
        Command::Argv(_) => format!("the program {program:?} is not allowed"),
    };
    Err(refused(format!("{path}.command"), message, allowed))
}

fn input(input: &str, path: &str, site: &Site) -> Result<(), ApiError> {
    let Some(allowed) = &site.access.allowed.inputs else { return Ok(()) };
    // A name of another source of the same streamer: that has been asked about itself.
    let reads_nothing = !input.contains([':', '/', '\\', '.']);
    let climbs = || Path::new(input).components().any(|part| part == Component::ParentDir);
    let input = &without_user(input);
    if reads_nothing || (!climbs() && allowed.iter().any(|beginning| input.starts_with(beginning.as_str()))) {
        return Ok(());
    }
    Err(refused(path.to_owned(), "this input is not allowed".into(), allowed))
}

/// A URL without its user and password, which could look like the beginning of a host.
fn without_user(input: &str) -> String {
    let Some((scheme, rest)) = input.split_once("://") else { return input.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn refused(field: String, message: String, allowed: &[String]) -> ApiError {
    let allowed = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
    ApiError::NotAllowed { field, message, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Access, Allowed};

    fn ok(json: &str, commands: Option<&[&str]>, inputs: Option<&[&str]>) -> bool {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let allowed =
            Allowed { commands: commands.map(list), inputs: inputs.map(list), homes: vec!["/srv".into()] };
        let site = Site { access: Access { allowed, ..Access::default() }, ..Site::default() };
        super::allowed(&serde_json::from_str(json).unwrap(), "source", &site).is_ok()
    }

    #[test]
    fn without_lists_admins_may_start_everything() {
        assert!(ok(r#"{"type":"exec","command":"anything"}"#, None, None));
        assert!(ok(r#"{"type":"ffmpeg","input":"/etc/passwd"}"#, None, None));
    }

    #[test]
    fn homes_must_be_in_their_list() {
        let home = |home: &str| ok(&format!(r#"{{"type":"desktop","home":"{home}"}}"#), None, None);
        assert!(home("session") && home("kept") && home("/srv/a"));
        assert!(!home("/root") && !home("/srv2"));
    }

    #[test]
    fn programs_must_be_in_their_list_and_a_shell_is_one() {
        let list = Some(&["openbox"][..]);
        assert!(ok(r#"{"type":"desktop","command":["openbox","--startup","x"]}"#, list, None));
        assert!(ok(r#"{"type":"desktop"}"#, list, None));
        assert!(!ok(r#"{"type":"desktop","command":"openbox"}"#, list, None));
        assert!(ok(r#"{"type":"desktop","command":"openbox"}"#, Some(&["/bin/sh"]), None));
        assert!(!ok(r#"{"type":"exec","command":["ffmpeg"]}"#, list, None));
        assert!(!ok(r#"{"type":"exec","command":["./openbox"]}"#, list, None));
        assert!(!ok(r#"{"type":"exec","command":["ffmpeg"]}"#, Some(&[]), None));
    }

    #[test]
    fn inputs_must_begin_as_listed_and_not_climb_out() {
        let list = Some(&["/srv/media/", "rtsp://10.0.0."][..]);
        let ffmpeg = |input: &str| ok(&format!(r#"{{"type":"ffmpeg","input":"{input}"}}"#), None, list);
        assert!(ffmpeg("/srv/media/clip.mp4") && ffmpeg("rtsp://10.0.0.7/1") && ffmpeg("camera1"));
        assert!(ffmpeg("rtsp://user:secret@10.0.0.7/1") && !ffmpeg("rtsp://10.0.0.7:x@evil.example/1"));
        for wrong in
            ["/etc/passwd", "/srv/media/../../etc/passwd", "file:/etc/passwd", "clip.mp4", "http://x"]
        {
            assert!(!ffmpeg(wrong), "{wrong}");
        }
        assert!(!ok(r#"{"type":"rtsp","url":"rtsp://192.168.0.1/x"}"#, None, list));
    }
}
