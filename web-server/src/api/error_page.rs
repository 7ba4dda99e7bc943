//! The page that a browser shows in place of a problem: without scripts, so that it is there whatever is wrong.

use std::cmp::Reverse;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use common::api::Problem;

use super::error_words::{WORDS, Words};
use super::pages::{Framing, frame};
use crate::http::headers::weighted;

/// The colours of the other pages, by the system's choice.
const STYLE: &str = ":root{color-scheme:light dark}body{margin:0;background:#f6f7f9;color:#14181f;\
    font:15px/1.5 system-ui,\"DejaVu Sans\",sans-serif}main{display:grid;place-content:center;justify-items:center;min-height:100vh;\
    box-sizing:border-box;padding:2em;text-align:center;overflow-wrap:anywhere}h1{margin:0;font-size:1.35rem}a{color:#1f5fd0}\
    small{color:#525c6b}@media(prefers-color-scheme:dark){body{background:#0c0e12;color:#e6e9ef}a{color:#8ab4ff}small{color:#97a1b0}}";

/// The language that a browser likes best of those that we have (RFC 9110 §12.5.4).
fn words(asked: &HeaderMap) -> &'static Words {
    let mut known: Vec<(u16, &Words)> = Vec::new();
    for (tag, weight) in weighted(asked, header::ACCEPT_LANGUAGE).filter(|(_, weight)| *weight > 0) {
        let language = tag.split('-').next().unwrap_or_default();
        let words = WORDS.iter().find(|words| words.language.eq_ignore_ascii_case(language));
        known.extend(words.map(|words| (weight, words)));
    }
    // Of those that are liked as much, the first.
    known.sort_by_key(|(weight, _)| Reverse(*weight));
    known.first().map_or(&WORDS[0], |(_, words)| words)
}

/// Gives `response` a small page about `problem` as its body. `path`: below our root; `asked`: the headers of the request.
pub fn with_error(response: HttpResponse, problem: &Problem, path: &str, asked: &HeaderMap) -> HttpResponse {
    let words = words(asked);
    let nothing = problem.code == "route_not_found";
    let title = if nothing { words.no_page } else { &problem.title };
    let text = if nothing { words.misspelt } else { &problem.detail };
    // Relative, as everywhere: a proxy may have put us below any path.
    let root = match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        depth => "../".repeat(depth - 1),
    };
    let body = format!(
        "<!doctype html><html lang={language}><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title} – Oriel</title><style>{STYLE}</style><main><h1>{title}</h1><p>{text}</p>\
         <p><a href=\"{root}\">{all_sessions}</a></p><p><small>{request} {id}</small></p></main>\n",
        title = escaped(title),
        text = escaped(text),
        language = words.language,
        all_sessions = words.all_sessions,
        request = words.request,
        id = escaped(&problem.request_id),
    );
    let mut response = response.set_body(BoxBody::new(body));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept, accept-language"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    frame(&mut response, Framing::Ourselves, &[]);
    response
}

/// Text as text in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_page_shows_text_as_text_and_leads_back() {
        let problem = Problem {
            kind: "about:blank".into(),
            title: "Bad Request".into(),
            status: 400,
            detail: "not <script>\"x\"&".into(),
            code: "invalid_field".into(),
            field: None,
            request_id: "r".into(),
        };
        for (path, root) in [("/a", "\"./\""), ("/s/a%20b/c", "\"../../\"")] {
            let response = with_error(HttpResponse::BadRequest().finish(), &problem, path, &HeaderMap::new());
            let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
            let page = std::str::from_utf8(&body).unwrap();
            assert!(page.contains("not &lt;script&gt;&quot;x&quot;&amp;"), "{page}");
            assert!(page.contains(&format!("href={root}")), "{page}");
        }
    }

    #[test]
    fn its_words_are_of_the_language_that_is_liked_best() {
        for (asked, language) in [
            ("", "en"),
            ("nl", "en"),
            ("de-AT", "de"),
            ("nl, fr;q=0.5, es;q=0.9", "es"),
            ("zh-TW,zh;q=0.8,en;q=0.5", "zh"),
            ("de;q=0, fr", "fr"),
            ("de;q=much, fr;q=0.1", "fr"),
            ("FR, de", "fr"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(asked).unwrap());
            assert_eq!(words(&headers).language, language, "{asked}");
        }
    }
}
