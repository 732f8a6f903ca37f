import { type ClipboardEvent, type FormEvent, type KeyboardEvent, useEffect, useEffectEvent, useRef, useState } from "react";
import { AttachIcon, CloseIcon, FileIcon, SendIcon, StopIcon } from "../controls/icons";
import { GrowingTextArea } from "./GrowingTextArea";
import { isSubmitKey } from "./isSubmitKey";
import { question, type Question } from "./requests";
import { type Attachment, fileSize, useAttachments } from "./useAttachments";

/** More than that belongs in a file. */
const MAX_CHARACTERS = 100_000;
export const COMPOSER_ID = "question";

export interface ComposerProps {
  isRunning: boolean;
  isStopping: boolean;
  /** Why nothing can be asked now; empty where something can. */
  blocked: string;
  acceptsFiles: boolean;
  maxFileBytes: number;
  onAsk: (question: Question) => void;
  onStop: () => void;
}

export function Composer({ isRunning, isStopping, blocked, acceptsFiles, maxFileBytes, onAsk, onStop }: ComposerProps) {
  const [text, setText] = useState("");
  const [isDropTarget, setDropTarget] = useState(false);
  const files = useAttachments(maxFileBytes);
  const picker = useRef<HTMLInputElement>(null);
  const isEmpty = !text.trim() && files.uploaded.length === 0;
  const canAsk = !isRunning && !blocked && !isEmpty && !files.isUploading;

  const ask = () => {
    if (!canAsk) return;
    onAsk(question(text.trim(), files.uploaded));
    setText("");
    files.clear();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!isSubmitKey(event)) return;
    event.preventDefault();
    ask();
  };
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    ask();
  };
  const onPaste = (event: ClipboardEvent) => {
    const { files: pasted } = event.clipboardData;
    if (!acceptsFiles || pasted.length === 0) return;
    event.preventDefault();
    files.add(pasted);
  };
  const addFiles = useEffectEvent(files.add);
  useEffect(() => {
    if (!acceptsFiles) return undefined;
    // Anywhere in the page: a browser would open a file that is dropped beside the box, and leave the page.
    const onDrag = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setDropTarget(event.type === "dragover");
      if (event.type === "drop") addFiles(event.dataTransfer.files);
    };
    const types = ["dragover", "dragleave", "drop"] as const;
    for (const type of types) window.addEventListener(type, onDrag);
    return () => {
      for (const type of types) window.removeEventListener(type, onDrag);
    };
  }, [acceptsFiles]);

  return (
    <form className={isDropTarget ? "composer drop-target" : "composer"} onSubmit={onSubmit}>
      {files.all.length > 0 && (
        <ul className="plain-list attachments" aria-label="Files for this question">
          {files.all.map((each) => (
            <AttachmentChip key={each.key} attachment={each} onRemove={() => files.remove(each.key)} />
          ))}
        </ul>
      )}
      <label className="visually-hidden" htmlFor={COMPOSER_ID}>
        Your question
      </label>
      <GrowingTextArea
        id={COMPOSER_ID}
        placeholder={blocked || "Ask a question"}
        value={text}
        maxLength={MAX_CHARACTERS}
        autoFocus
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
        onPaste={onPaste}
      />
      <div className="composer-buttons">
        {acceptsFiles && (
          <>
            <button
              type="button"
              className="icon-button"
              aria-label="Attach files"
              title="Attach files"
              onClick={() => picker.current?.click()}
            >
              <AttachIcon />
            </button>
            <input
              ref={picker}
              type="file"
              multiple
              hidden
              aria-label="Files to attach"
              onChange={(event) => {
                files.add(event.target.files ?? []);
                event.target.value = "";
              }}
            />
          </>
        )}
        <span className="composer-hint">Enter sends, Shift+Enter begins a new line</span>
        {isRunning ? (
          <button type="button" className="send" aria-label="Stop" title="Stop (Esc)" disabled={isStopping} onClick={onStop}>
            <StopIcon />
          </button>
        ) : (
          <button type="submit" className="send" aria-label="Send" title="Send" disabled={!canAsk}>
            <SendIcon />
          </button>
        )}
      </div>
    </form>
  );
}

function AttachmentChip({ attachment, onRemove }: { attachment: Attachment; onRemove: () => void }) {
  const { name, bytes, file, error } = attachment;
  const isUploading = file === null && !error;
  return (
    <li className={error ? "attachment failed" : "attachment"}>
      {isUploading ? <span className="spinner" aria-hidden="true" /> : <FileIcon />}
      <span className="attachment-name">{name}</span>
      <span className="attachment-note" role={error ? "alert" : "status"}>
        {error || (isUploading ? "uploading…" : fileSize(bytes))}
      </span>
      <button type="button" className="icon-button small" aria-label={`Remove ${name}`} onClick={onRemove}>
        <CloseIcon />
      </button>
    </li>
  );
}
