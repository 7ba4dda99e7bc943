//! Removes passwords from the output of programs.

use common::spec::{SecretUrl, redact_urls};

/// Texts that must not be shown, and their replacements.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

/// Shorter texts would match everywhere; the longer text that contains them is replaced as a whole.
const MIN_LEN: usize = 3;
const HIDDEN: &str = "***";

impl Secrets {
    /// The secrets of an address: all of it, and every part that is not shown.
    pub fn of(url: &SecretUrl) -> Self {
        let mut all = Self::default();
        if url.redacted() != *url {
            all.hide(url.expose(), &url.to_string());
        }
        for secret in url.secrets() {
            all.hide_word(secret);
        }
        all
    }

    /// Adds the secrets of another one.
    pub fn add(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Adds this word, and its percent-decoded form.
    pub fn hide_word(&mut self, word: &str) {
        self.hide(word, HIDDEN);
        self.hide(&percent_decoded(word), HIDDEN);
    }

    fn hide(&mut self, text: &str, shown: &str) {
        if text.len() >= MIN_LEN {
            self.0.push((text.to_owned(), shown.to_owned()));
        }
    }

    /// The text without secrets, and with every URL redacted: a program may print URLs that it was not given.
    pub fn clean(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, (secret, shown)| text.replace(secret, shown));
        redact_urls(&text)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Percent-decodes a text; invalid sequences stay.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neither_url_nor_password_is_shown() {
        let url = SecretUrl::new("rtsp://admin:p%40ss%3Aw@10.0.0.7/a");
        let secrets = Secrets::of(&url);
        for line in [
            "rtsp://admin:p%40ss%3Aw@10.0.0.7/a: Connection refused",
            "tcp://admin:p%40ss%3Aw@10.0.0.7:554",
            "wrong password p@ss:w for admin",
            "wrong password p%40ss%3Aw",
        ] {
            let shown = secrets.clean(line);
            assert!(!shown.contains("p@ss") && !shown.contains("p%40"), "{shown}");
        }
        assert_eq!(secrets.clean("rtsp://admin:p%40ss%3Aw@10.0.0.7/a: no"), "rtsp://***@10.0.0.7/***: no");
        assert!(!format!("{secrets:?}").contains("ss"));
        assert_eq!(Secrets::of(&SecretUrl::new("a.mp4")).clean("a.mp4: no"), "a.mp4: no");
    }

    #[test]
    fn parts_of_path_and_query_are_secrets() {
        let secrets =
            Secrets::of(&SecretUrl::new("http://127.0.0.1:9/live/K3YK3YK3Y/flv?user=admin&password=Geh%21m"));
        for line in [
            "http://127.0.0.1:9/live/K3YK3YK3Y/flv?user=admin&password=Geh%21m: Connection refused",
            "[http @ 0x55] GET /live/K3YK3YK3Y/flv?user=admin&password=Geh%21m failed",
            "wrong password Geh!m for admin",
            "no stream K3YK3YK3Y",
            "redirected to http://127.0.0.1:9/other?token=Geheim",
        ] {
            let shown = secrets.clean(line);
            for secret in ["K3Y", "Geh", "admin"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    proptest! {
        #[test]
        fn anything_is_decoded(text in "\\PC*") {
            let decoded = percent_decoded(&text);
            if !text.contains('%') {
                prop_assert_eq!(decoded, text);
            }
        }

        #[test]
        fn a_password_is_never_shown(password in "[a-z0-9]{8,20}", line in "\\PC{0,20}") {
            let secrets = Secrets::of(&SecretUrl::new(format!("http://u:{password}@h/x")));
            let shown = secrets.clean(&format!("{line}{password}{line}"));
            prop_assert!(!shown.contains(&password));
        }
    }
}
