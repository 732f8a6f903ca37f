import { type FormEvent, useState } from "react";
import { exportUrl } from "../api/conversations";
import { sentenceOf } from "../chat/ChatSession";
import { Dialog } from "../controls/Dialog";
import { MoreIcon } from "../controls/icons";
import { Menu } from "../controls/Menu";
import type { Workspace } from "../shell/Workspace";

export interface ConversationMenuProps {
  workspace: Workspace;
  id: string;
  title: string;
}

/** Rename, export and delete one conversation. */
export function ConversationMenu({ workspace, id, title }: ConversationMenuProps) {
  const [dialog, setDialog] = useState<"rename" | "delete" | null>(null);
  const close = () => setDialog(null);
  return (
    <>
      <Menu
        label={`Actions for “${title}”`}
        face={<MoreIcon />}
        className="icon-button"
        items={[
          { label: "Rename…", onSelect: () => setDialog("rename") },
          { label: "Export as Markdown", href: exportUrl(id, "markdown") },
          { label: "Export as JSON", href: exportUrl(id, "json") },
          { label: "Delete…", onSelect: () => setDialog("delete"), isDangerous: true },
        ]}
      />
      {dialog === "rename" && (
        <RenameDialog title={title} onClose={close} onRename={(newTitle) => workspace.rename(id, newTitle)} />
      )}
      {dialog === "delete" && <DeleteDialog title={title} onClose={close} onDelete={() => workspace.remove(id)} />}
    </>
  );
}

function useSubmit(work: () => Promise<void>, onDone: () => void) {
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await work();
      onDone();
    } catch (raised) {
      setError(sentenceOf(raised));
      setBusy(false);
    }
  };
  return { error, isBusy, submit };
}

interface RenameProps {
  title: string;
  onClose: () => void;
  onRename: (title: string) => Promise<void>;
}

function RenameDialog({ title, onClose, onRename }: RenameProps) {
  const [text, setText] = useState(title);
  const { error, isBusy, submit } = useSubmit(() => onRename(text.trim()), onClose);
  return (
    <Dialog title="Rename conversation" onClose={onClose}>
      <form onSubmit={submit}>
        <label className="field">
          Title
          <input
            value={text}
            maxLength={200}
            autoFocus
            onFocus={(event) => event.target.select()}
            onChange={(event) => setText(event.target.value)}
          />
        </label>
        {error && <p role="alert" className="notice danger">{error}</p>}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button primary" disabled={isBusy || !text.trim()}>
            Rename
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface DeleteProps {
  title: string;
  onClose: () => void;
  onDelete: () => Promise<void>;
}

function DeleteDialog({ title, onClose, onDelete }: DeleteProps) {
  const { error, isBusy, submit } = useSubmit(onDelete, onClose);
  return (
    <Dialog title="Delete conversation?" onClose={onClose}>
      <form onSubmit={submit}>
        <p>“{title}” and its answers are deleted for good.</p>
        {error && <p role="alert" className="notice danger">{error}</p>}
        <div className="dialog-buttons">
          <button type="button" className="button" autoFocus onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button danger" disabled={isBusy}>
            Delete
          </button>
        </div>
      </form>
    </Dialog>
  );
}
