import { useId, useState } from "react";
import type { OutputItem } from "../api/types";
import { ShieldIcon } from "../controls/icons";

export interface ApprovalsProps {
  requests: readonly OutputItem[];
  /** Whether a later turn shows that they were decided. */
  areDecided: boolean;
  isBusy: boolean;
  onDecide: (requestId: string, approve: boolean) => void;
}

export function Approvals({ requests, areDecided, isBusy, onDecide }: ApprovalsProps) {
  const [decisions, setDecisions] = useState<Record<string, boolean>>({});
  return requests.map((request) => {
    const id = request.id ?? "";
    return (
      <ApprovalRequest
        key={id}
        request={request}
        decision={decisions[id]}
        isDecided={areDecided}
        isBusy={isBusy}
        onDecide={(approve) => {
          setDecisions((before) => ({ ...before, [id]: approve }));
          onDecide(id, approve);
        }}
      />
    );
  });
}

interface RequestProps {
  request: OutputItem;
  decision: boolean | undefined;
  isDecided: boolean;
  isBusy: boolean;
  onDecide: (approve: boolean) => void;
}

function ApprovalRequest({ request, decision, isDecided, isBusy, onDecide }: RequestProps) {
  const id = useId();
  const name = request.name || "a tool";
  const isOpen = !isDecided && decision === undefined;
  return (
    <section className="approval" aria-labelledby={id}>
      <h3 id={id}>
        <ShieldIcon />
        {isOpen ? `May the agent use “${name}”?` : `The agent asked to use “${name}”`}
      </h3>
      {request.server_label && <p className="quiet-text">From {request.server_label}</p>}
      <ArgumentList text={request.arguments ?? ""} />
      {isOpen ? (
        <div className="approval-buttons">
          <button type="button" className="button primary" disabled={isBusy} onClick={() => onDecide(true)}>
            Approve
          </button>
          <button type="button" className="button" disabled={isBusy} onClick={() => onDecide(false)}>
            Decline
          </button>
        </div>
      ) : (
        <p className="approval-outcome">{decision === undefined ? "Decided" : decision ? "Approved" : "Declined"}</p>
      )}
    </section>
  );
}

/** What the tool would be called with, value by value. */
function ArgumentList({ text }: { text: string }) {
  const values = argumentsOf(text);
  if (values.length === 0) return null;
  return (
    <dl className="arguments">
      {values.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function argumentsOf(text: string): [string, string][] {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    return text.trim() ? [["Arguments", text]] : [];
  }
  if (typeof values !== "object" || values === null) return [["Arguments", text]];
  return Object.entries(values).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value, null, 2),
  ]);
}
