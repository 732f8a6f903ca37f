import { type KeyboardEvent, useRef, useState } from "react";
import { EditIcon, FileIcon } from "../controls/icons";
import { GrowingTextArea } from "./GrowingTextArea";
import { isSubmitKey } from "./isSubmitKey";
import type { Question } from "./requests";

export interface QuestionViewProps {
  question: Question;
  /** None where it cannot be edited now. */
  onEdit: ((text: string) => void) | null;
}

export function QuestionView({ question, onEdit }: QuestionViewProps) {
  const [isEditing, setEditing] = useState(false);
  const editButton = useRef<HTMLButtonElement>(null);
  const { text, files } = question;
  const close = () => {
    setEditing(false);
    requestAnimationFrame(() => editButton.current?.focus());
  };
  if (isEditing && onEdit) {
    const save = (edited: string) => {
      setEditing(false);
      onEdit(edited);
    };
    return <QuestionEditor text={text} onCancel={close} onSave={save} />;
  }
  return (
    <div className="question">
      <div className="question-bubble">
        <h2 className="question-text" dir="auto">
          <span className="visually-hidden">You asked: </span>
          {text || "About the attached files"}
        </h2>
        {files.length > 0 && (
          <ul className="plain-list question-files" aria-label="Attached files">
            {files.map((file) => (
              <li key={file.id}>
                <FileIcon />
                {file.name}
              </li>
            ))}
          </ul>
        )}
      </div>
      {onEdit && text && (
        <button
          ref={editButton}
          type="button"
          className="icon-button small question-edit"
          aria-label="Edit this question"
          title="Edit this question"
          onClick={() => setEditing(true)}
        >
          <EditIcon />
        </button>
      )}
    </div>
  );
}

interface EditorProps {
  text: string;
  onCancel: () => void;
  onSave: (text: string) => void;
}

function QuestionEditor({ text, onCancel, onSave }: EditorProps) {
  const [edited, setEdited] = useState(text);
  const save = () => {
    if (edited.trim()) onSave(edited.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onCancel();
    } else if (isSubmitKey(event)) {
      event.preventDefault();
      save();
    }
  };
  return (
    <form
      className="question-editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <GrowingTextArea
        aria-label="Edit your question"
        value={edited}
        autoFocus
        onFocus={(event) => event.target.setSelectionRange(text.length, text.length)}
        onChange={(event) => setEdited(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <p className="quiet-text">The answers after this question are left behind.</p>
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" className="button primary" disabled={!edited.trim()}>
          Ask again
        </button>
      </div>
    </form>
  );
}
