//! The words of [`super::error_page`], in the languages of the other pages.

/// What the page says itself, in one language. What a problem says is in English, as in the API.
pub(super) struct Words {
    /// RFC 5646, its first part.
    pub(super) language: &'static str,
    pub(super) no_page: &'static str,
    pub(super) misspelt: &'static str,
    pub(super) all_sessions: &'static str,
    pub(super) request: &'static str,
}

/// The languages of the other pages; the first one where the browser asks for none of them.
pub(super) const WORDS: [Words; 5] = [
    Words {
        language: "en",
        no_page: "There is no such page",
        misspelt: "The address may be misspelt, or old.",
        all_sessions: "All sessions",
        request: "Request",
    },
    Words {
        language: "de",
        no_page: "Diese Seite gibt es nicht",
        misspelt: "Die Adresse ist vielleicht falsch geschrieben oder veraltet.",
        all_sessions: "Alle Sitzungen",
        request: "Anfrage",
    },
    Words {
        language: "fr",
        no_page: "Cette page n’existe pas",
        misspelt: "L’adresse est peut-être mal écrite ou périmée.",
        all_sessions: "Toutes les sessions",
        request: "Requête",
    },
    Words {
        language: "es",
        no_page: "Esta página no existe",
        misspelt: "Puede que la dirección esté mal escrita o sea antigua.",
        all_sessions: "Todas las sesiones",
        request: "Solicitud",
    },
    Words {
        language: "zh",
        no_page: "没有这个页面",
        misspelt: "地址可能有误或已失效。",
        all_sessions: "所有会话",
        request: "请求",
    },
];
