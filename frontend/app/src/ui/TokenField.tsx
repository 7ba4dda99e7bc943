import { type SyntheticEvent, useState } from "react";
import { keepToken } from "../token";
import { t } from "../i18n/words";

/** A field for the token that the server requires; reloads with it. The page around it says why. */
export function TokenField({ label }: { readonly label: string }) {
  const [token, setToken] = useState("");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    keepToken(token.trim());
    location.reload();
  };
  return (
    <form className="token-form" onSubmit={submit}>
      <label>
        {label}{" "}
        <input
          type="password"
          name="token"
          autoComplete="current-password"
          required
          value={token}
          data-testid="token"
          onChange={(event) => {
            setToken(event.target.value);
          }}
        />
      </label>
      <button className="button primary" type="submit">
        {t("enter")}
      </button>
    </form>
  );
}
