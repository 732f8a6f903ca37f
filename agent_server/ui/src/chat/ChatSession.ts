import { isFinished } from "../api/applyEvent";
import { ApiError } from "../api/client";
import { createConversation, getConversation, sendFeedback } from "../api/conversations";
import type { Connection, Follower, ResponseClient } from "../api/ResponseClient";
import type { FeedbackValue, JsonObject, ResponseObject, Turn } from "../api/types";
import { Store } from "../shell/Store";
import { decision, nextRequest, question, type Question, replacingRequest } from "./requests";

/** The time between two drawings of a growing answer. */
const DRAWING_MS = 50;

export interface ChatTurn {
  /** Stays the same from the question to the end of its answer. */
  key: string;
  question: Question;
  /** With it the server answers the question once, however often it arrives. */
  requestKey: string;
  responseId: string | null;
  response: ResponseObject | null;
  /** The response that this one is asked instead of. */
  replacedId: string | null;
  /** Why there is no response: a sentence. */
  error: string;
  feedback: FeedbackValue | null;
}

export interface ChatState {
  conversationId: string | null;
  title: string;
  loading: boolean;
  loadError: string;
  turns: readonly ChatTurn[];
  /** Of the turn that is being answered. */
  runningKey: string | null;
  stopping: boolean;
  connection: Connection;
  /** What a screen reader says. */
  announcement: string;
}

/**
 * One conversation as the page shows it. Nothing of one session reaches another: `close` ends what is on its way for this
 * one. The answer goes on at the server, and is followed again when the conversation is opened again.
 */
export class ChatSession extends Store<ChatState> {
  readonly key = crypto.randomUUID();
  private readonly client: ResponseClient;
  private readonly conversationChanged: (session: ChatSession, conversationId: string) => void;
  private readonly closing = new AbortController();
  private running = new AbortController();
  private stopped: ResponseObject | null = null;
  private closed = false;

  /** `conversationChanged` is called when the conversation was made, and whenever an answer begins or ends. */
  constructor(
    client: ResponseClient,
    conversationId: string | null,
    conversationChanged: (session: ChatSession, conversationId: string) => void,
  ) {
    super({
      conversationId,
      title: "",
      loading: conversationId !== null,
      loadError: "",
      turns: [],
      runningKey: null,
      stopping: false,
      connection: "streaming",
      announcement: "",
    });
    this.client = client;
    this.conversationChanged = conversationChanged;
  }

  /** A question that is on its way still reaches the server. */
  close(): void {
    this.closed = true;
    const isAsking = this.state.runningKey !== null && this.turn(this.state.runningKey)?.responseId === null;
    if (!isAsking) this.closing.abort();
  }

  /** Reads the conversation, and goes on with an answer that is still being written. */
  async load(): Promise<void> {
    const id = this.state.conversationId;
    if (id === null) return;
    this.update({ loading: true, loadError: "" });
    try {
      const { title, turns } = await getConversation(id, this.closing.signal);
      this.update({ loading: false, title, turns: turns.map((turn) => this.shown(turn)) });
    } catch (error) {
      if (!this.closing.signal.aborted) this.update({ loading: false, loadError: sentenceOf(error) });
      return;
    }
    const last = this.state.turns.at(-1);
    if (last?.response && !isFinished(last.response)) {
      const { response } = last;
      await this.answer(last, (follower) => this.client.follow(response.id, follower, response));
    }
  }

  retitle(title: string): void {
    this.update({ title });
  }

  async ask(asked: Question): Promise<void> {
    await this.askAfter(this.state.turns, this.newTurn(asked), (id) => nextRequest(id, asked));
  }

  /** Approves or declines a tool that the turn's response asks for. The answer goes on in a turn without a question. */
  async decide(key: string, requestId: string, approve: boolean): Promise<void> {
    const { responseId } = this.turn(key) ?? {};
    if (!responseId) return;
    await this.askAfter(this.state.turns, this.newTurn(question("")), () => decision(responseId, requestId, approve));
  }

  /** Asks again from this turn on, with another question or the same: what came after it is no longer shown. */
  async replace(key: string, asked: Question): Promise<void> {
    const index = this.state.turns.findIndex((turn) => turn.key === key);
    const replaced = this.state.turns[index];
    if (replaced === undefined) return;
    const replacedId = replaced.responseId ?? replaced.replacedId;
    const turn = { ...this.newTurn(asked), replacedId };
    // The lost question may have arrived: the same key keeps it from being answered twice.
    if (replaced.responseId === null && replaced.question === asked) turn.requestKey = replaced.requestKey;
    await this.askAfter(this.state.turns.slice(0, index), turn, (id) =>
      replacedId === null ? nextRequest(id, asked) : replacingRequest(id, asked, replacedId),
    );
  }

  /** Stops the answer, on the server too. */
  async stop(): Promise<void> {
    const running = this.state.runningKey === null ? undefined : this.turn(this.state.runningKey);
    if (running === undefined) return;
    this.update({ stopping: true });
    if (running.responseId === null) return; // `answer` stops it as soon as its id is known
    try {
      const response = await this.client.cancel(running.responseId);
      if (isFinished(response) && this.state.runningKey === running.key) {
        this.stopped = response;
        this.running.abort();
      }
    } catch (error) {
      if (this.state.runningKey === running.key) this.update({ stopping: false, announcement: sentenceOf(error) });
    }
  }

  /** Raises `ApiError`; then what was shown before is shown again. */
  async giveFeedback(key: string, feedback: FeedbackValue): Promise<void> {
    const turn = this.turn(key);
    if (!turn?.responseId) return;
    this.change(key, { feedback });
    try {
      await sendFeedback(turn.responseId, feedback);
    } catch (error) {
      this.change(key, { feedback: turn.feedback });
      throw error;
    }
  }

  private async askAfter(
    before: readonly ChatTurn[],
    turn: ChatTurn,
    request: (conversationId: string) => JsonObject,
  ): Promise<void> {
    if (this.state.runningKey !== null) return;
    this.update({ turns: [...before, turn] });
    await this.answer(turn, async (follower) => {
      const id = this.state.conversationId ?? (await this.begin());
      return this.client.ask(request(id), turn.requestKey, follower);
    });
  }

  private async begin(): Promise<string> {
    const { id } = await createConversation();
    this.update({ conversationId: id });
    this.tellChange();
    return id;
  }

  private async answer(turn: ChatTurn, run: (follower: Follower) => Promise<ResponseObject>): Promise<void> {
    const { key } = turn;
    this.running = new AbortController();
    this.stopped = null;
    const signal = AbortSignal.any([this.closing.signal, this.running.signal]);
    this.update({ runningKey: key, stopping: false, connection: "streaming", announcement: "The agent is responding." });
    let newest = turn.response;
    let drawing: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      drawing = undefined;
      if (newest !== null) this.change(key, { response: newest, responseId: newest.id });
    };
    const onResponse = (response: ResponseObject) => {
      if (signal.aborted) return;
      const isFirst = newest === null;
      newest = response;
      if (!isFirst) {
        drawing ??= setTimeout(draw, DRAWING_MS);
        return;
      }
      draw();
      this.tellChange();
      if (this.state.stopping) void this.stop();
      if (this.closed) this.closing.abort();
    };
    const onConnection = (connection: Connection) => {
      if (!signal.aborted && connection !== this.state.connection) this.update({ connection });
    };
    let error = "";
    try {
      newest = await run({ signal, onResponse, onConnection });
    } catch (raised) {
      if (this.stopped !== null) newest = this.stopped;
      else error = sentenceOf(raised);
    }
    clearTimeout(drawing);
    if (this.closed) return;
    draw();
    if (error) this.change(key, { error });
    const announcement = error || (newest === null ? "" : ending(newest));
    this.update({ runningKey: null, stopping: false, connection: "streaming", announcement });
    this.tellChange();
  }

  private tellChange(): void {
    const { conversationId } = this.state;
    if (conversationId !== null) this.conversationChanged(this, conversationId);
  }

  private turn(key: string): ChatTurn | undefined {
    return this.state.turns.find((turn) => turn.key === key);
  }

  private change(key: string, change: Partial<ChatTurn>): void {
    this.update({ turns: this.state.turns.map((turn) => (turn.key === key ? { ...turn, ...change } : turn)) });
  }

  private shown(turn: Turn): ChatTurn {
    return {
      ...this.newTurn(question(turn.question, turn.files ?? [])),
      responseId: turn.response_id,
      response: { ...turn.response, output: turn.response.output ?? [] },
      feedback: turn.feedback,
    };
  }

  private newTurn(asked: Question): ChatTurn {
    return {
      key: crypto.randomUUID(),
      question: asked,
      requestKey: crypto.randomUUID(),
      responseId: null,
      response: null,
      replacedId: null,
      error: "",
      feedback: null,
    };
  }
}

export function asksForApproval(response: ResponseObject): boolean {
  return response.output.some((item) => item.type === "mcp_approval_request");
}

function ending(response: ResponseObject): string {
  switch (response.status) {
    case "completed":
      return asksForApproval(response) ? "The agent asks for your approval." : "The answer is complete.";
    case "cancelled":
      return "The answer was stopped.";
    case "incomplete":
      return "The answer ended early.";
    default:
      return response.error?.message ?? "The answer failed.";
  }
}

export function sentenceOf(error: unknown): string {
  return error instanceof ApiError ? error.message : "Something went wrong in this page. Reload it and try again.";
}
