import { useRef, useState } from "react";
import { ApiError } from "../api/client";
import { Blocks } from "../rendering/BlockView";
import { type Action, blocksOf } from "../rendering/blocks";
import { ExternalLink } from "../rendering/ExternalLink";
import type { Incident, IncidentRetry } from "./incidents";
import type { JobsState } from "./JobsState";

const NO_HOSTS: readonly string[] = [];

interface IncidentViewProps {
  incident: Incident;
  jobs: JobsState;
}

export function IncidentView({ incident, jobs }: IncidentViewProps) {
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const [refusal, setRefusal] = useState("");
  const title = useRef<HTMLHeadingElement>(null);
  const titleId = `incident-${incident.id}`;

  async function decide(action: Action, decisionId: string, entered: Record<string, string>): Promise<void> {
    setBusy(true);
    setSaid("");
    setRefusal("");
    try {
      setSaid(await jobs.decide(incident, action, decisionId, entered));
      // The button that was pressed is gone.
      title.current?.focus();
    } catch (error) {
      setRefusal(error instanceof ApiError ? error.message : "Nothing was decided. Try again.");
    } finally {
      setBusy(false);
    }
  }

  return (
    <article className="incident" aria-labelledby={titleId} aria-busy={isBusy}>
      <header>
        <h3 id={titleId} ref={title} tabIndex={-1}>
          {incident.job} {incident.happened}
        </h3>
        <span className={`state state-${stateClass(incident)}`}>{incident.state_text}</span>
      </header>
      {incident.cause && <p>{incident.cause}</p>}
      <p className="quiet-text">
        <Moment seconds={incident.opened_at} />
        {incident.run_count > 1 && ` · ${incident.run_count} runs`}
        {incident.decided_by && ` · decided by ${incident.decided_by}`}
        {incident.run_url && (
          <>
            {" · "}
            <ExternalLink address={incident.run_url}>Run in Databricks</ExternalLink>
          </>
        )}
      </p>
      {incident.retries.length > 0 && (
        <ul className="retries">
          {incident.retries.map((retry, index) => (
            <li key={index}>{retrySentence(retry)}</li>
          ))}
        </ul>
      )}
      <div role="status">{said && <p className="notice-success">{said}</p>}</div>
      {refusal && (
        <p className="notice danger" role="alert">
          <span>{refusal}</span>
        </p>
      )}
      <details open={incident.waits_for_decision || undefined}>
        <summary>
          Details<span className="visually-hidden"> and decisions of {incident.job}</span>
        </summary>
        <Blocks blocks={blocksOf(incident.blocks)} imageHosts={NO_HOSTS} onAction={decide} isBusy={isBusy} />
      </details>
    </article>
  );
}

function stateClass({ state, waits_for_decision: waits }: Incident): string {
  if (waits) return "waits";
  return { recovered: "good", escalated: "bad" }[state] ?? "other";
}

export function retrySentence({ outcome, approved_by: by, by_us: isOurs, started_at: at }: IncidentRetry): string {
  const what = isOurs ? "A retry" : "A retry that somebody else began";
  const how = {
    running: "is running",
    succeeded: "succeeded",
    failed: "failed",
    canceled: "was canceled",
    unknown: "ended, and its outcome is not known",
  }[outcome];
  const who = isOurs ? (by ? `, approved by ${by}` : ", automatic") : "";
  return `${what} ${how} (begun ${momentText(at)}${who}).`;
}

function Moment({ seconds }: { seconds: number }) {
  return <time dateTime={new Date(seconds * 1000).toISOString()}>{momentText(seconds)}</time>;
}

const FORMAT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

function momentText(seconds: number): string {
  return FORMAT.format(seconds * 1000);
}
