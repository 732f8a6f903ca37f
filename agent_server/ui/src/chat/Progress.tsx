import type { Connection } from "../api/ResponseClient";
import type { ResponseObject } from "../api/types";

export function Progress({ response, connection }: { response: ResponseObject | null; connection: Connection }) {
  const isWaiting = response?.metadata?.["waiting_for"] === "sign_in";
  const note = {
    streaming: isWaiting ? "The answer goes on as you once you are signed in again: reload this page." : "",
    reconnecting: "The connection was lost. The answer goes on; connecting again…",
    polling: "Live updates are held up on their way here. New text is fetched every few seconds.",
  }[connection];
  return (
    <div className="progress">
      <span className="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {note && <span className="quiet-text">{note}</span>}
    </div>
  );
}
