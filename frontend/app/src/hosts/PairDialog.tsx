import type { Api, Host, Pairing } from "@oriel/client";
import { useEffect, useState } from "react";
import { Dialog } from "../ui/Dialog";
import { usePoll } from "../ui/usePoll";
import { messageOf } from "../ui/problem";
import { t } from "../i18n/words";

const POLL_MS = 500;

type PairDialogProps = { readonly api: Api; readonly host: Host; readonly onClose: () => void };

type Step =
  | { readonly kind: "asking" }
  | { readonly kind: "waiting"; readonly pin: string; readonly verifying: boolean }
  | { readonly kind: "paired" }
  | { readonly kind: "failed"; readonly why: string };

/** Shows the PIN that has to be typed on the host, and how that goes. */
export function PairDialog({ api, host, onClose }: PairDialogProps) {
  const [attempt, setAttempt] = useState(0);
  const [step, setStep] = useState<Step>({ kind: "asking" });
  useEffect(() => {
    const stop = new AbortController();
    const ask = async (): Promise<Step> => {
      try {
        const { pin } = await api.pairHost(host.id, { signal: stop.signal });
        return { kind: "waiting", pin, verifying: false };
      } catch (error) {
        return { kind: "failed", why: messageOf(error) };
      }
    };
    void ask().then((next) => {
      if (!stop.signal.aborted) setStep(next);
    });
    return () => {
      stop.abort();
    };
  }, [api, host.id, attempt]);

  const look = async (signal: AbortSignal): Promise<void> => {
    try {
      const { paired, pairing } = await api.host(host.id, { signal });
      setStep((now) => after(now, paired, pairing));
    } catch {
      // The next look may succeed; closing the dialog is always possible.
    }
  };
  usePoll(look, POLL_MS, step.kind === "waiting");

  return (
    <Dialog title={t("pair-with", { name: host.name === "" ? host.address : host.name })} testId="pair-dialog" onClose={onClose}>
      <div data-testid="pair-step" data-step={step.kind}>
        {step.kind === "asking" && <p>{t("pair-asking")}</p>}
        {step.kind === "waiting" && (
          <>
            <p>{t("pair-type-pin")}</p>
            <p className="pin" data-testid="pin">
              {step.pin}
            </p>
            <p className="quiet-text">{step.verifying ? t("pair-checking") : t("pair-waiting")}</p>
          </>
        )}
        {step.kind === "paired" && <p>{t("paired")}</p>}
        {step.kind === "failed" && (
          <p className="field-error" role="alert">
            {step.why}
          </p>
        )}
      </div>
      <div className="dialog-actions">
        {step.kind === "failed" && (
          <button
            className="button"
            type="button"
            data-testid="pair-again"
            onClick={() => {
              setStep({ kind: "asking" });
              setAttempt(attempt + 1);
            }}
          >
            {t("try-again")}
          </button>
        )}
        <button className="button primary" type="button" data-testid="pair-close" onClick={onClose}>
          {step.kind === "waiting" ? t("cancel") : t("close")}
        </button>
      </div>
    </Dialog>
  );
}

/** The step after a look at the host. */
function after(now: Step, paired: boolean, pairing: Pairing | null): Step {
  if (now.kind !== "waiting") return now;
  // A host with another certificate is paired while it is being paired again.
  if (pairing === null ? paired : pairing.state === "paired") return { kind: "paired" };
  if (pairing?.state === "failed") return { kind: "failed", why: pairing.error ?? t("pair-refused") };
  return { ...now, verifying: pairing?.state === "verifying" };
}
