import { useEffect, useState } from "react";
import { Blocks } from "../rendering/BlockView";
import { blocksOf } from "../rendering/blocks";
import { useStore } from "../shell/Store";
import { IncidentView } from "./IncidentView";
import type { IncidentSummary } from "./incidents";
import "./jobs.css";
import { JobsState } from "./JobsState";

const NO_HOSTS: readonly string[] = [];

/** What the job watch found, what was decided, and what became of it. */
export function JobsTab() {
  const [jobs] = useState(() => new JobsState());
  const { open, closed, summary, next, says, isLoaded, isLoadingClosed, error, isErrorTemporary } = useStore(jobs);
  useEffect(() => {
    jobs.start();
    return () => jobs.stop();
  }, [jobs]);
  const waiting = open.filter((each) => each.waits_for_decision).length;

  return (
    <div className="jobs">
      <h1>Jobs</h1>
      {says && <p className="quiet-text">{says}</p>}
      {error && (
        <p className={isErrorTemporary ? "notice" : "notice danger"} role="alert">
          <span>{error}</span>
          <button type="button" className="button small" onClick={jobs.refresh}>
            Try again
          </button>
        </p>
      )}
      {!isLoaded && !error && (
        <p className="quiet-text" role="status">
          Reading the incidents…
        </p>
      )}
      {isLoaded && (
        <>
          {summary && <Tiles summary={summary} />}
          <section aria-labelledby="open-incidents">
            <h2 id="open-incidents">Open incidents</h2>
            <p className="visually-hidden" role="status">
              {waiting === 1 ? "1 incident waits for a decision." : `${waiting} incidents wait for a decision.`}
            </p>
            {open.length === 0 && <p className="quiet-text">Nothing is open: no watched job has failed.</p>}
            {open.map((incident) => (
              <IncidentView key={incident.id} incident={incident} jobs={jobs} />
            ))}
          </section>
          <section aria-labelledby="closed-incidents">
            <h2 id="closed-incidents">Closed incidents</h2>
            {closed.map((incident) => (
              <IncidentView key={incident.id} incident={incident} jobs={jobs} />
            ))}
            {next ? (
              <button type="button" className="button small" disabled={isLoadingClosed} onClick={jobs.loadClosed}>
                {closed.length === 0 ? "Show closed incidents" : "Show earlier ones"}
              </button>
            ) : (
              <p className="quiet-text">{closed.length === 0 ? "There are none." : "These are all."}</p>
            )}
          </section>
          {summary && (
            <section aria-labelledby="job-history">
              <h2 id="job-history">The last {summary.days} days</h2>
              {summary.failed_runs === 0 && <p className="quiet-text">No failed run was decided about in this time.</p>}
              <div className="job-charts">
                <Blocks blocks={blocksOf(summary.blocks)} imageHosts={NO_HOSTS} />
              </div>
            </section>
          )}
        </>
      )}
    </div>
  );
}

function Tiles({ summary }: { summary: IncidentSummary }) {
  const known = summary.retries_succeeded + summary.retries_failed;
  const tiles: [name: string, value: string, note: string][] = [
    ["Failed runs", String(summary.failed_runs), `in ${summary.days} days`],
    [
      "Retries that succeeded",
      summary.success_percent === null ? "–" : `${summary.success_percent} %`,
      `${summary.retries_succeeded} of ${known}`,
    ],
    ["Escalated", String(summary.escalated), shareOf(summary.escalated, summary.failed_runs)],
    ["Decided by a model", String(summary.decided_by_model), shareOf(summary.decided_by_model, summary.failed_runs)],
    ["Wrong diagnoses", String(summary.wrong_diagnoses), "as people said"],
  ];
  return (
    <dl className="tiles">
      {tiles.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <span className="tile-value">{value}</span> <span className="quiet-text">{note}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function shareOf(count: number, total: number): string {
  return total === 0 ? "" : `${Math.round((100 * count) / total)} %`;
}
