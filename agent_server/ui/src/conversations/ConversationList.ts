import { type ConversationPage, dateOf, deleteConversation, listConversations, renameConversation } from "../api/conversations";
import type { Conversation } from "../api/types";
import { sentenceOf } from "../chat/ChatSession";
import { Store } from "../shell/Store";

const SEARCH_PAUSE_MS = 250;
/** How often the list is read again while an answer is being written in one of them. */
const REFRESH_MS = 4_000;

export interface ConversationListState {
  conversations: readonly Conversation[];
  /** Where the page after these begins. */
  next: string | null;
  search: string;
  loading: boolean;
  error: string;
}

/** The person's conversations, newest first, as far as they were asked for. */
export class ConversationList extends Store<ConversationListState> {
  private reading: AbortController | null = null;
  private waiting: ReturnType<typeof setTimeout> | undefined;
  /** The search that found the shown conversations. */
  private shownSearch = "";

  constructor() {
    super({ conversations: [], next: null, search: "", loading: true, error: "" });
  }

  search(text: string): void {
    this.update({ search: text });
    this.refreshIn(SEARCH_PAUSE_MS);
  }

  /** The newest again. Older ones that are shown already stay. */
  async refresh(): Promise<void> {
    const page = await this.read(null);
    if (page === null) return;
    const oldest = page.conversations.at(-1);
    const isSameSearch = this.shownSearch === this.state.search;
    const older = this.state.conversations.filter(
      ({ updated_at: at }) => isSameSearch && page.next && oldest && dateOf(at) < dateOf(oldest.updated_at),
    );
    this.shownSearch = this.state.search;
    this.show([...page.conversations, ...older], older.length > 0 ? this.state.next : page.next);
  }

  async more(): Promise<void> {
    const page = this.state.next === null ? null : await this.read(this.state.next);
    if (page !== null) this.show([...this.state.conversations, ...page.conversations], page.next);
  }

  /** Raises `ApiError`. */
  async rename(id: string, title: string): Promise<void> {
    await renameConversation(id, title);
    this.update({ conversations: this.state.conversations.map((each) => (each.id === id ? { ...each, title } : each)) });
  }

  /** Raises `ApiError`. */
  async remove(id: string): Promise<void> {
    await deleteConversation(id);
    this.update({ conversations: this.state.conversations.filter((each) => each.id !== id) });
  }

  private refreshIn(milliseconds: number): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => void this.refresh(), milliseconds);
  }

  private show(conversations: Conversation[], next: string | null): void {
    const unique = [...new Map(conversations.map((each) => [each.id, each])).values()];
    this.update({ conversations: unique, next, loading: false, error: "" });
    if (unique.some(({ running_response_id: running }) => running !== null)) this.refreshIn(REFRESH_MS);
  }

  /** Null where it failed, which the list then says, or where a later read took its place. */
  private async read(cursor: string | null): Promise<ConversationPage | null> {
    clearTimeout(this.waiting);
    this.reading?.abort();
    const reading = new AbortController();
    this.reading = reading;
    this.update({ loading: true });
    try {
      return await listConversations(this.state.search.trim(), cursor, reading.signal);
    } catch (error) {
      if (!reading.signal.aborted) this.update({ loading: false, error: sentenceOf(error) });
      return null;
    }
  }
}
