import { chooseLanguage, isLanguage, LANGUAGES } from "../i18n/language";
import { language, t } from "../i18n/words";

/** The language of the pages; another one is another page. */
export function LanguageChoice() {
  return (
    <select
      className="language"
      aria-label={t("language")}
      value={language()}
      data-testid="language"
      onChange={({ target: { value } }) => {
        if (isLanguage(value)) chooseLanguage(value);
      }}
    >
      {Object.entries(LANGUAGES).map(([tag, name]) => (
        <option key={tag} value={tag} lang={tag}>
          {name}
        </option>
      ))}
    </select>
  );
}
