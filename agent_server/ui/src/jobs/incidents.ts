import { apiJson, jsonBody } from "../api/client";
import type { Action } from "../rendering/blocks";

/** As `agent_server/page/incident_json.py` writes it. Times are in seconds since 1970. */
export interface Incident {
  id: string;
  job: string;
  job_id: string;
  happened: string;
  state: string;
  state_text: string;
  is_closed: boolean;
  waits_for_decision: boolean;
  cause: string;
  proposed: string;
  decided_by: string;
  run_url: string;
  run_count: number;
  opened_at: number;
  changed_at: number;
  retries: IncidentRetry[];
  blocks: unknown;
}

export interface IncidentRetry {
  outcome: "running" | "succeeded" | "failed" | "canceled" | "unknown";
  started_at: number;
  ended_at: number;
  approved_by: string;
  by_us: boolean;
}

export interface IncidentPage {
  incidents: Incident[];
  next: string | null;
  may_decide: boolean;
  /** As whom the server acts on jobs; empty on the developer's own machine. */
  says: string;
}

export interface IncidentSummary {
  days: number;
  failed_runs: number;
  retries_succeeded: number;
  retries_failed: number;
  success_percent: number | null;
  escalated: number;
  decided_by_model: number;
  wrong_diagnoses: number;
  blocks: unknown;
}

export interface DecisionAnswer {
  said: string;
  incident: Incident;
}

export function readIncidents(cursor: string, signal?: AbortSignal): Promise<IncidentPage> {
  return apiJson(`incidents${cursor && `?cursor=${encodeURIComponent(cursor)}`}`, { signal });
}

export function readSummary(signal?: AbortSignal): Promise<IncidentSummary> {
  return apiJson("incidents/summary", { signal });
}

export function sendDecision(
  incidentId: string,
  action: Action,
  decisionId: string,
  entered: Record<string, string>,
): Promise<DecisionAnswer> {
  const body = { verb: action.verb, decision_id: decisionId, entered };
  return apiJson(`incidents/${encodeURIComponent(incidentId)}/decision`, jsonBody("POST", body));
}
