/**
 * A support desk: the customer's session, which the agent steers, beside a form for notes. `?server=https://host/&session=mine#TOKEN`,
 * where the token is of `POST /api/streamers/mine/tokens`.
 */

import { Desktop } from "@oriel/react";
import "@oriel/react/styles.css";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const server = query.get("server") ?? location.origin;
const session = query.get("session") ?? "demo";
const token = location.hash.slice(1) || null;

function SupportDesk() {
  const [state, setState] = useState("idle");
  const [typing, setTyping] = useState(false);
  return (
    <main style={{ display: "grid", gridTemplateColumns: "1fr 16rem", height: "100vh" }}>
      <Desktop
        server={server}
        session={session}
        token={token}
        displayName="Support"
        autoFocus
        onState={({ kind }) => {
          setState(kind);
        }}
        onFocusChange={setTyping}
      />
      <aside style={{ padding: "1rem" }}>
        <p>
          {session}: {state}
        </p>
        <p>{typing ? "What you type goes to the session." : "Click the picture to type there."}</p>
        <label>
          Notes
          <textarea rows={12} style={{ width: "100%" }} />
        </label>
      </aside>
    </main>
  );
}

const root = document.getElementById("root");
if (root === null) throw new Error("the document has no #root");
createRoot(root).render(
  <StrictMode>
    <SupportDesk />
  </StrictMode>,
);
