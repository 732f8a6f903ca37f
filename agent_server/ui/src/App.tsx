import { useState } from "react";
import { ChatView } from "./chat/ChatView";
import { COMPOSER_ID } from "./chat/Composer";
import { Dialog } from "./controls/Dialog";
import { CloseIcon, PanelIcon } from "./controls/icons";
import { Sidebar } from "./conversations/Sidebar";
import { JobsTab } from "./jobs/JobsTab";
import { AccountPanel } from "./shell/AccountPanel";
import "./shell/shell.css";
import { useStore } from "./shell/Store";
import { useMediaQuery } from "./shell/useMediaQuery";
import { hashOf, useRoute } from "./shell/useRoute";
import type { Workspace } from "./shell/Workspace";

export function App({ workspace }: { workspace: Workspace }) {
  const { me, meError, session } = useStore(workspace);
  const { conversationId } = useStore(session);
  const route = useRoute();
  const isNarrow = useMediaQuery("(max-width: 800px)");
  const [hasSidebar, setSidebar] = useState(true);
  const [hasDrawer, setDrawer] = useState(false);
  const isChat = route.tab === "chat";
  const [ownTitle] = useState(document.title);
  const product = me?.title || ownTitle;

  if (me === null) return <Start error={meError} onRetry={() => void workspace.loadMe()} />;
  const chatHash = hashOf({ tab: "chat", conversationId });
  const skip = () => document.getElementById(isChat ? COMPOSER_ID : "main")?.focus();
  const isOpen = isNarrow ? hasDrawer : hasSidebar;
  return (
    <div className="shell">
      <button type="button" className="skip-link" onClick={skip}>
        {isChat ? "Skip to the question" : "Skip to the content"}
      </button>
      <header className="top-bar">
        {isChat && (
          <button
            type="button"
            className="icon-button"
            aria-label="Conversations"
            title="Conversations"
            aria-expanded={isOpen}
            onClick={() => (isNarrow ? setDrawer(true) : setSidebar(!hasSidebar))}
          >
            <PanelIcon />
          </button>
        )}
        <img className="logo" src="./icon.svg" alt="" width="24" height="24" />
        <span className="product">{product}</span>
        <nav className="tabs" aria-label="Sections">
          <a href={chatHash} aria-current={isChat ? "page" : undefined}>
            Chat
          </a>
          <a href={hashOf({ tab: "jobs" })} aria-current={isChat ? undefined : "page"}>
            Jobs
          </a>
        </nav>
        <AccountPanel me={me} />
      </header>
      <div className="below">
        {isChat && !isNarrow && hasSidebar && (
          <aside aria-label="Your conversations">
            <Sidebar workspace={workspace} openId={conversationId} onChosen={() => {}} />
          </aside>
        )}
        {isChat && isNarrow && hasDrawer && (
          <Dialog title="Conversations" className="drawer" onClose={() => setDrawer(false)}>
            <button
              type="button"
              className="icon-button drawer-close"
              aria-label="Close the conversations"
              onClick={() => setDrawer(false)}
            >
              <CloseIcon />
            </button>
            <Sidebar workspace={workspace} openId={conversationId} onChosen={() => setDrawer(false)} />
          </Dialog>
        )}
        <main id="main" tabIndex={-1}>
          {isChat ? <ChatView key={session.key} workspace={workspace} session={session} me={me} product={product} /> : <JobsTab />}
        </main>
      </div>
    </div>
  );
}

function Start({ error, onRetry }: { error: string; onRetry: () => void }) {
  return (
    <main className="start">
      <img src="./icon.svg" alt="" width="48" height="48" />
      <h1>{document.title}</h1>
      {error ? (
        <>
          <p role="alert">{error}</p>
          <button type="button" className="button primary" onClick={onRetry}>
            Try again
          </button>
        </>
      ) : (
        <p className="quiet-text" role="status">
          Connecting…
        </p>
      )}
    </main>
  );
}
