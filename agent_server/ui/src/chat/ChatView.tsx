import { useCallback, useEffect, useRef } from "react";
import type { Me } from "../api/types";
import { ConversationMenu } from "../conversations/ConversationMenu";
import { DownIcon } from "../controls/icons";
import { useStore } from "../shell/Store";
import type { Workspace } from "../shell/Workspace";
import { PROMPTS } from "../theme";
import type { ChatSession } from "./ChatSession";
import { Composer, COMPOSER_ID } from "./Composer";
import { type Question, question } from "./requests";
import { TurnView } from "./TurnView";
import { useThreadScroll } from "./useThreadScroll";
import "./chat.css";

const MAX_TITLE_CHARACTERS = 80;

export interface ChatViewProps {
  workspace: Workspace;
  session: ChatSession;
  me: Me;
  /** What the page is called. */
  product: string;
}

export function ChatView({ workspace, session, me, product }: ChatViewProps) {
  const state = useStore(session);
  const { conversations } = useStore(workspace.conversations);
  const { conversationId, turns, runningKey, loading, loadError } = state;
  const listed = conversations.find(({ id }) => id === conversationId);
  const title = listed?.title || state.title || turns[0]?.question.text.slice(0, MAX_TITLE_CHARACTERS) || "New chat";
  const isRunning = runningKey !== null;
  const isUnnamed = conversationId === null && turns.length === 0;
  const isNew = turns.length === 0 && !loading && !loadError;

  const heading = useRef<HTMLHeadingElement>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const { isAtEnd, keepInView } = useThreadScroll(scroller, content);

  const onAsking = useCallback(
    (place: "after" | "here") => {
      keepInView(place === "after" ? "question" : "end");
      // On a phone the keyboard would cover the answer.
      if (window.matchMedia("(pointer: coarse)").matches) document.getElementById(COMPOSER_ID)?.blur();
      else focusComposer();
    },
    [keepInView],
  );
  const ask = (asked: Question) => {
    onAsking("after");
    void session.ask(asked);
  };

  useEffect(() => {
    if (session.state.conversationId === null) focusComposer();
    else heading.current?.focus();
  }, [session]);

  useEffect(() => {
    document.title = isUnnamed ? product : `${title} – ${product}`;
    return () => {
      document.title = product;
    };
  }, [title, product, isUnnamed]);

  useEffect(() => {
    if (!isRunning) return undefined;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open], :popover-open")) {
        void session.stop();
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [session, isRunning]);

  return (
    <div className={isNew ? "chat new" : "chat"}>
      <header className="chat-header">
        <h1 ref={heading} tabIndex={-1}>
          {isUnnamed ? product : title}
        </h1>
        {conversationId !== null && <ConversationMenu workspace={workspace} id={conversationId} title={title} />}
      </header>
      <div ref={scroller} className="thread">
        <div ref={content} className="thread-content">
          {loading && <p className="quiet-text">Opening the conversation…</p>}
          {loadError && (
            <p className="notice danger" role="alert">
              <span>{loadError}</span>
              <button type="button" className="button small" onClick={() => void session.load()}>
                Try again
              </button>
            </p>
          )}
          {isNew && <Welcome onChosen={(prompt) => ask(question(prompt))} />}
          {turns.map((turn, index) => (
            <TurnView
              key={turn.key}
              session={session}
              turn={turn}
              isLast={index === turns.length - 1}
              connection={turn.key === runningKey ? state.connection : null}
              isBusy={isRunning}
              imageHosts={me.image_hosts}
              takesFeedback={me.features.feedback}
              onAsking={onAsking}
            />
          ))}
        </div>
      </div>
      <div className="chat-foot">
        {!isAtEnd && (
          <button
            type="button"
            className="icon-button to-end"
            aria-label="Go to the newest text"
            title="Go to the newest text"
            onClick={() => keepInView("end")}
          >
            <DownIcon />
          </button>
        )}
        <p className="visually-hidden" role="status" aria-live="polite">
          {state.announcement}
        </p>
        <Composer
          key={session.key}
          isRunning={isRunning}
          isStopping={state.stopping}
          blocked={loading || loadError ? "This conversation is not open" : ""}
          acceptsFiles={me.features.files}
          maxFileBytes={me.max_file_bytes}
          onAsk={ask}
          onStop={() => void session.stop()}
        />
        <p className="disclaimer">AI-generated answers can be wrong. Check what matters.</p>
      </div>
    </div>
  );
}

function focusComposer(): void {
  document.getElementById(COMPOSER_ID)?.focus();
}

function Welcome({ onChosen }: { onChosen: (prompt: string) => void }) {
  return (
    <section className="welcome" aria-labelledby="welcome-title">
      <h2 id="welcome-title">What would you like to know?</h2>
      <ul className="plain-list prompts" aria-label="Suggested questions">
        {PROMPTS.map((prompt) => (
          <li key={prompt}>
            <button type="button" className="prompt" onClick={() => onChosen(prompt)}>
              {prompt}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
