import { useState } from "react";
import type { FeedbackValue, ResponseObject } from "../api/types";
import { CheckIcon, CopyIcon, RetryIcon } from "../controls/icons";
import type { ChatTurn } from "./ChatSession";
import { useFeedback } from "./useFeedback";

export interface AnswerActionsProps {
  turn: ChatTurn;
  takesFeedback: boolean;
  onFeedback: (feedback: FeedbackValue) => Promise<void>;
  /** None where the question cannot be asked again. */
  onRetry: (() => void) | null;
}

export function AnswerActions({ turn, takesFeedback, onFeedback, onRetry }: AnswerActionsProps) {
  const { thumbs, commentForm } = useFeedback({ feedback: turn.feedback, onFeedback });
  const text = turn.response === null ? "" : textOf(turn.response);
  if (!text && onRetry === null) return null;
  return (
    <>
      <div className="answer-actions" role="group" aria-label="This answer">
        {text && <CopyButton text={text} />}
        {onRetry && (
          <button
            type="button"
            className={turn.response?.status === "completed" ? "icon-button small" : "button small"}
            aria-label="Try again"
            title="Try again"
            onClick={onRetry}
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
