import { useId } from "react";
import type { Conversation } from "../api/types";
import { NewIcon, SearchIcon } from "../controls/icons";
import { useStore } from "../shell/Store";
import { hashOf } from "../shell/useRoute";
import type { Workspace } from "../shell/Workspace";
import { ConversationMenu } from "./ConversationMenu";
import { dateGroups } from "./dateGroups";
import "./conversations.css";

export interface SidebarProps {
  workspace: Workspace;
  openId: string | null;
  /** Called when a conversation, or a new one, was chosen. */
  onChosen: () => void;
}

export function Sidebar({ workspace, openId, onChosen }: SidebarProps) {
  const { conversations: list } = workspace;
  const { conversations, next, search, loading, error } = useStore(list);
  const newChat = () => {
    workspace.newChat();
    onChosen();
  };
  return (
    <div className="sidebar">
      <button type="button" className="button new-chat" onClick={newChat}>
        <NewIcon /> New chat
      </button>
      <label className="search">
        <span className="visually-hidden">Search conversations</span>
        <SearchIcon />
        <input
          type="search"
          placeholder="Search conversations"
          value={search}
          maxLength={200}
          onChange={(event) => list.search(event.target.value)}
        />
      </label>
      <nav className="conversations" aria-label="Conversations" aria-busy={loading}>
        {dateGroups(conversations, new Date()).map((group) => (
          <Group key={group.title} title={group.title}>
            {group.conversations.map((conversation) => (
              <Entry
                key={conversation.id}
                conversation={conversation}
                isOpen={conversation.id === openId}
                workspace={workspace}
                onChosen={onChosen}
              />
            ))}
          </Group>
        ))}
        {next !== null && (
          <button type="button" className="button quiet" disabled={loading} onClick={() => void list.more()}>
            Show older conversations
          </button>
        )}
      </nav>
      <p className="sidebar-status" role="status">
        {error || (!loading && conversations.length === 0 && (search ? "Nothing found." : "No conversations yet."))}
      </p>
    </div>
  );
}

function Group({ title, children }: { title: string; children: React.ReactNode }) {
  const id = useId();
  return (
    <section aria-labelledby={id}>
      <h2 id={id} className="group-title">
        {title}
      </h2>
      <ul className="plain-list">{children}</ul>
    </section>
  );
}

interface EntryProps {
  conversation: Conversation;
  isOpen: boolean;
  workspace: Workspace;
  onChosen: () => void;
}

function Entry({ conversation, isOpen, workspace, onChosen }: EntryProps) {
  const { id, running_response_id: running } = conversation;
  const title = conversation.title || "New conversation";
  return (
    <li className={isOpen ? "conversation open" : "conversation"}>
      <a
        href={hashOf({ tab: "chat", conversationId: id })}
        aria-current={isOpen ? "true" : undefined}
        title={title}
        onClick={onChosen}
      >
        {title}
      </a>
      {running !== null && (
        <span className="running-mark" title="An answer is being written">
          <span className="visually-hidden">An answer is being written</span>
        </span>
      )}
      <ConversationMenu workspace={workspace} id={id} title={title} />
    </li>
  );
}
