import { type SyntheticEvent, useEffect, useState } from "react";
import { keepToken } from "../token";
import { t } from "../i18n/words";

type TokenFieldProps = {
  readonly label: string;
  /** The server does not accept the token of this tab. */
  readonly refused: boolean;
};

/** A field for the token that the server requires; reloads with it. The page around it says why. */
export function TokenField({ label, refused }: TokenFieldProps) {
  const [token, setToken] = useState("");
  useEffect(() => {
    // No other tab gets it from this one.
    if (refused) keepToken(null);
  }, [refused]);
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
