import { type SyntheticEvent, useState } from "react";
import { keepToken } from "../token";
import { Message } from "./Message";

/** Asks for the token that a server wants, and begins again with it. */
export function TokenForm({ why }: { readonly why: string }) {
  return (
    <Message title="Who is there?">
      <p className="reason" role="alert" data-testid="locked">
        {why}
      </p>
      <TokenField label="Admin secret" />
    </Message>
  );
}

/** The field of it, for pages that say themselves why they ask. */
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
        Enter
      </button>
    </form>
  );
}
