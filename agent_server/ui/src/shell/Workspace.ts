import { getMe } from "../api/conversations";
import { ResponseClient } from "../api/ResponseClient";
import type { Me } from "../api/types";
import { ChatSession, sentenceOf } from "../chat/ChatSession";
import { ConversationList } from "../conversations/ConversationList";
import { Store } from "./Store";
import { goTo, type Route, routeOf } from "./useRoute";

export interface WorkspaceState {
  me: Me | null;
  meError: string;
  session: ChatSession;
}

type ConversationChanged = (session: ChatSession, conversationId: string) => void;

/** Who is signed in, their conversations, and the one that is open. */
export class Workspace extends Store<WorkspaceState> {
  readonly conversations = new ConversationList();
  private readonly client: ResponseClient;
  private readonly conversationChanged: ConversationChanged;

  constructor(client = new ResponseClient()) {
    const conversationChanged: ConversationChanged = (session, id) => {
      void this.conversations.refresh();
      const isShown = session === this.state.session && this.route.tab === "chat";
      if (isShown) goTo({ tab: "chat", conversationId: id }, { replace: true });
    };
    super({ me: null, meError: "", session: new ChatSession(client, null, conversationChanged) });
    this.client = client;
    this.conversationChanged = conversationChanged;
  }

  /** Once, when the page is opened. */
  start(): void {
    window.addEventListener("hashchange", () => this.open(this.route));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.state.me !== null) void this.conversations.refresh();
    });
    this.open(this.route);
    void this.loadMe();
  }

  async loadMe(): Promise<void> {
    this.update({ meError: "" });
    try {
      this.update({ me: await getMe() });
      await this.conversations.refresh();
    } catch (error) {
      this.update({ meError: sentenceOf(error) });
    }
  }

  newChat(): void {
    goTo({ tab: "chat", conversationId: null });
  }

  /** Raises `ApiError`. */
  async rename(id: string, title: string): Promise<void> {
    await this.conversations.rename(id, title);
    if (this.state.session.state.conversationId === id) this.state.session.retitle(title);
  }

  /** Raises `ApiError`. */
  async remove(id: string): Promise<void> {
    await this.conversations.remove(id);
    if (this.state.session.state.conversationId === id) this.newChat();
  }

  private get route(): Route {
    return routeOf(window.location.hash);
  }

  private open(route: Route): void {
    const { session } = this.state;
    if (route.tab !== "chat" || route.conversationId === session.state.conversationId) return;
    session.close();
    const opened = new ChatSession(this.client, route.conversationId, this.conversationChanged);
    this.update({ session: opened });
    void opened.load();
  }
}
