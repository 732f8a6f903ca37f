import { type FormEvent, useId, useState } from "react";
import type { FeedbackValue } from "../api/types";
import { ThumbDownIcon, ThumbUpIcon } from "../controls/icons";
import { sentenceOf } from "./ChatSession";
import { GrowingTextArea } from "./GrowingTextArea";

export interface FeedbackProps {
  feedback: FeedbackValue | null;
  onFeedback: (feedback: FeedbackValue) => Promise<void>;
}

/** Two thumbs, and a form for a comment once one of them is pressed. Pressing the same one again withdraws the feedback. */
export function useFeedback({ feedback, onFeedback }: FeedbackProps) {
  const [isCommenting, setCommenting] = useState(false);
  const [said, setSaid] = useState("");
  const value = feedback?.value ?? null;

  const give = async (given: FeedbackValue, thanks: string) => {
    setSaid("");
    try {
      await onFeedback(given);
      setSaid(thanks);
    } catch (error) {
      setCommenting(false);
      setSaid(sentenceOf(error));
    }
  };
  const press = (pressed: "up" | "down") => {
    const isWithdrawn = value === pressed;
    setCommenting(!isWithdrawn);
    void give({ value: isWithdrawn ? null : pressed }, isWithdrawn ? "Feedback withdrawn." : "Thank you.");
  };
  const thumb = (name: "up" | "down", label: string, Icon: typeof ThumbUpIcon) => (
    <button
      type="button"
      className="icon-button small"
      aria-label={label}
      title={label}
      aria-pressed={value === name}
      onClick={() => press(name)}
    >
      <Icon />
    </button>
  );
  const thumbs = (
    <>
      {thumb("up", "Good answer", ThumbUpIcon)}
      {thumb("down", "Bad answer", ThumbDownIcon)}
      <span className="quiet-text" role="status">
        {said}
      </span>
    </>
  );
  const commentForm = isCommenting && value !== null && (
    <CommentForm
      comment={feedback?.comment ?? ""}
      onClose={() => setCommenting(false)}
      onComment={(comment) => {
        setCommenting(false);
        void give({ value, comment }, "Thank you for the comment.");
      }}
    />
  );
  return { thumbs, commentForm };
}

interface CommentProps {
  comment: string;
  onClose: () => void;
  onComment: (comment: string) => void;
}

function CommentForm({ comment, onClose, onComment }: CommentProps) {
  const [text, setText] = useState(comment);
  const id = useId();
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    onComment(text.trim());
  };
  return (
    <form className="comment-form" onSubmit={onSubmit}>
      <label htmlFor={id}>What was good or bad about it? (optional)</label>
      <GrowingTextArea
        id={id}
        value={text}
        maxLength={2_000}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          onClose();
        }}
      />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          Close
        </button>
        <button type="submit" className="button primary" disabled={!text.trim()}>
          Send comment
        </button>
      </div>
    </form>
  );
}
