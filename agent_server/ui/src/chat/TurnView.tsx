import { useState } from "react";
import { ApiError } from "../api/client";
import type { Connection } from "../api/ResponseClient";
import type { FeedbackValue, ResponseObject } from "../api/types";
import { CheckIcon, CopyIcon, RetryIcon, WarningIcon } from "../controls/icons";
import { Answer } from "../rendering/Answer";
import { type Action, CALL_TOOL } from "../rendering/blocks";
import { Approvals } from "./Approvals";
import type { ChatTurn } from "./ChatSession";
import { QuestionView } from "./QuestionView";
import { question, type Question } from "./requests";
import { useFeedback } from "./useFeedback";

export interface TurnViewProps {
  turn: ChatTurn;
  isLast: boolean;
  /** Whether this turn is being answered. */
  isRunning: boolean;
  /** Whether any turn is. */
  isBusy: boolean;
  connection: Connection;
  imageHosts: string[];
  takesFeedback: boolean;
  onAsk: (question: Question) => void;
  /** Saves a result as a file. Raises `ApiError`. */
  onSave: (result: string) => Promise<void>;
  onReplace: (question: Question) => void;
  onDecide: (requestId: string, approve: boolean) => void;
  onFeedback: (feedback: FeedbackValue) => Promise<void>;
}

export function TurnView(props: TurnViewProps) {
  const { turn, isLast, isRunning, isBusy, connection, imageHosts, onAsk, onSave, onReplace, onDecide } = props;
  const [saveError, setSaveError] = useState("");
  const { response } = turn;
  const requests = (response?.output ?? []).filter(({ type }) => type === "mcp_approval_request");
  const isContinuation = !turn.question.text && turn.question.files.length === 0;
  const edit = (text: string) => onReplace(question(text, turn.question.files));

  async function press({ verb, title, data }: Action): Promise<void> {
    setSaveError("");
    if (verb === CALL_TOOL) {
      onAsk({ text: title, files: [], call: data });
      return;
    }
    try {
      await onSave(data["result"] ?? "");
    } catch (error) {
      setSaveError(error instanceof ApiError ? error.message : "The file could not be saved.");
    }
  }

  return (
    <div className="turn">
      {!isContinuation && <QuestionView question={turn.question} onEdit={isBusy ? null : edit} />}
      <div className="turn-answer" aria-busy={isRunning}>
        {response !== null && (
          <Answer
            response={response}
            streaming={isRunning}
            imageHosts={imageHosts}
            onAsk={(text) => onAsk(question(text))}
            onAction={press}
            isBusy={isBusy}
          />
        )}
        {saveError && (
          <p className="notice danger" role="alert">
            <span>{saveError}</span>
          </p>
        )}
        {isRunning && <Progress response={response} connection={connection} />}
        {requests.length > 0 && !isRunning && (
          <Approvals requests={requests} areDecided={!isLast} isBusy={isBusy} onDecide={onDecide} />
        )}
        {turn.error && (
          <p className="notice danger">
            <WarningIcon />
            <span>{turn.error}</span>
          </p>
        )}
        {!isRunning && <AnswerActions {...props} canRetry={isLast && !isBusy && !isContinuation && requests.length === 0} />}
      </div>
    </div>
  );
}

function Progress({ response, connection }: { response: ResponseObject | null; connection: Connection }) {
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

function AnswerActions({ turn, takesFeedback, onFeedback, onReplace, canRetry }: TurnViewProps & { canRetry: boolean }) {
  const { thumbs, commentForm } = useFeedback({ feedback: turn.feedback, onFeedback });
  const text = turn.response === null ? "" : textOf(turn.response);
  if (!text && !canRetry) return null;
  return (
    <>
      <div className="answer-actions" role="group" aria-label="This answer">
        {text && <CopyButton text={text} />}
        {canRetry && (
          <button
            type="button"
            className={turn.response?.status === "completed" ? "icon-button small" : "button small"}
            aria-label="Try again"
            title="Try again"
            onClick={() => onReplace(turn.question)}
          >
            <RetryIcon />
            {turn.response?.status !== "completed" && "Try again"}
          </button>
        )}
        {takesFeedback && turn.responseId !== null && thumbs}
      </div>
      {commentForm}
    </>
  );
}

function CopyButton({ text }: { text: string }) {
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("Could not copy");
    }
    setTimeout(() => setSaid(""), 2_000);
  };
  return (
    <>
      <button type="button" className="icon-button small" aria-label="Copy answer" title="Copy answer" onClick={copy}>
        {said === "Copied" ? <CheckIcon /> : <CopyIcon />}
      </button>
      <span className="visually-hidden" role="status">
        {said}
      </span>
    </>
  );
}

function textOf(response: ResponseObject): string {
  return response.output
    .flatMap((item) => (item.type === "message" ? (item.content ?? []) : []))
    .map((part) => part.text ?? part.refusal ?? "")
    .filter(Boolean)
    .join("\n\n");
}
