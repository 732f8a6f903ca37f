import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../api/client";
import type { Follower } from "../api/ResponseClient";
import { ResponseClient } from "../api/ResponseClient";
import type { JsonObject, ResponseObject, Turn } from "../api/types";
import { fakeServer, refusal } from "../testing/fakeServer";
import { ChatSession } from "./ChatSession";
import { question } from "./requests";

/** A client whose answers the test writes. */
class ScriptedClient extends ResponseClient {
  readonly asked: JsonObject[] = [];
  readonly keys: string[] = [];
  readonly followed: string[] = [];
  readonly cancelled: string[] = [];
  follower: Follower | undefined;
  finish: (response: ResponseObject) => void = () => {};
  fail: (error: unknown) => void = () => {};

  override ask(request: JsonObject, key: string, follower: Follower): Promise<ResponseObject> {
    this.asked.push(request);
    this.keys.push(key);
    return this.pending(follower);
  }

  override follow(responseId: string, follower: Follower): Promise<ResponseObject> {
    this.followed.push(responseId);
    return this.pending(follower);
  }

  override async cancel(responseId: string): Promise<ResponseObject> {
    this.cancelled.push(responseId);
    return { ...response(responseId, "half"), status: "cancelled" };
  }

  say(id: string, text: string): void {
    this.follower?.onResponse({ ...response(id, text), status: "in_progress" });
  }

  private pending(follower: Follower): Promise<ResponseObject> {
    this.follower = follower;
    return new Promise((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
      follower.signal.addEventListener("abort", () => reject(follower.signal.reason));
    });
  }
}

function response(id: string, text: string): ResponseObject {
  return { id, status: "completed", output: [{ type: "message", content: [{ type: "output_text", text }] }] };
}

function turn(id: string, asked: string, given: Partial<ResponseObject> = {}): Turn {
  const at = 1_700_000_000;
  return { response_id: id, question: asked, files: [], created_at: at, response: { ...response(id, "x"), ...given }, feedback: null };
}

function shown(session: ChatSession): [string, string | undefined][] {
  return session.state.turns.map((each) => [each.question.text, each.response?.output[0]?.content?.[0]?.text]);
}

const settle = () => vi.advanceTimersByTimeAsync(60);

describe("a chat session", () => {
  let client: ScriptedClient;
  beforeEach(() => {
    vi.useFakeTimers();
    client = new ScriptedClient();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  async function opened(...turns: Turn[]): Promise<ChatSession> {
    fakeServer({ "GET conversations/conv_1": { id: "conv_1", title: "Sales", turns } });
    const session = new ChatSession(client, "conv_1", () => {});
    void session.load();
    await settle();
    return session;
  }

  it("makes a conversation for its first question, and shows the answer as it grows", async () => {
    fakeServer({ "POST conversations": { id: "conv_1" } });
    const changed = vi.fn();
    const session = new ChatSession(client, null, changed);
    void session.ask(question("How many?", [{ id: "file_1", name: "a.csv", bytes: 1 }]));
    await settle();
    expect(changed).toHaveBeenCalledWith(session, "conv_1");
    expect(session.state.announcement).toBe("The agent is responding.");
    expect(client.asked).toEqual([
      {
        conversation: "conv_1",
        input: [
          {
            type: "message",
            role: "user",
            content: [
              { type: "input_file", file_id: "file_1" },
              { type: "input_text", text: "How many?" },
            ],
          },
        ],
      },
    ]);
    client.say("resp_1", "Fo");
    client.say("resp_1", "Four");
    await settle();
    expect(shown(session)).toEqual([["How many?", "Four"]]);
    client.finish(response("resp_1", "Four."));
    await settle();
    expect(shown(session)).toEqual([["How many?", "Four."]]);
    expect(session.state).toMatchObject({ runningKey: null, announcement: "The answer is complete." });
  });

  it("goes on with an answer that is still being written when it is opened", async () => {
    const session = await opened(turn("resp_1", "One?"), turn("resp_2", "Two?", { status: "in_progress" }));
    expect(client.followed).toEqual(["resp_2"]);
    expect(session.state.runningKey).toBe(session.state.turns[1]?.key);
    client.finish(response("resp_2", "whole"));
    await settle();
    expect(shown(session)[1]).toEqual(["Two?", "whole"]);
  });

  it("asks nothing else while an answer is being written", async () => {
    const session = await opened();
    void session.ask(question("One?"));
    void session.ask(question("Two?"));
    await settle();
    expect(shown(session)).toEqual([["One?", undefined]]);
    expect(client.asked).toHaveLength(1);
  });

  it.each([
    [1, "resp_2"],
    [0, "resp_1"],
  ])("asks an edited question %i in place of the old one", async (index, replaces) => {
    const session = await opened(turn("resp_1", "One?"), turn("resp_2", "Two?"), turn("resp_3", "Three?"));
    void session.replace(session.state.turns[index]?.key ?? "", question("Other?"));
    await settle();
    expect(client.asked).toMatchObject([{ conversation: "conv_1", metadata: { replaces } }]);
    expect(shown(session).map(([asked]) => asked)).toEqual(["One?", "Two?"].slice(0, index).concat("Other?"));
  });

  it("stops at the server too, and shows what there is by then", async () => {
    const session = await opened();
    void session.ask(question("One?"));
    await settle();
    client.say("resp_1", "ha");
    await session.stop();
    await settle();
    expect(client.cancelled).toEqual(["resp_1"]);
    expect(session.state).toMatchObject({ runningKey: null, announcement: "The answer was stopped." });
    expect(shown(session)).toEqual([["One?", "half"]]);
  });

  it("stops an answer whose id is not known yet as soon as it is", async () => {
    const session = await opened();
    void session.ask(question("One?"));
    await settle();
    await session.stop();
    expect(client.cancelled).toEqual([]);
    client.say("resp_1", "");
    await settle();
    expect(client.cancelled).toEqual(["resp_1"]);
    expect(session.state.runningKey).toBeNull();
  });

  it("keeps a question that was lost, and asks it again with the same key", async () => {
    const session = await opened(turn("resp_1", "One?"));
    void session.ask(question("Two?"));
    await settle();
    client.fail(new ApiError("The server cannot be reached.", 0));
    await settle();
    expect(session.state.turns[1]).toMatchObject({ error: "The server cannot be reached.", responseId: null });
    const [, lost] = session.state.turns;
    void session.replace(lost?.key ?? "", lost?.question ?? question(""));
    await settle();
    expect(client.asked).toHaveLength(2);
    expect(client.asked[1]).toEqual(client.asked[0]);
    expect(client.keys[1]).toBe(client.keys[0]);
    expect(shown(session).map(([asked]) => asked)).toEqual(["One?", "Two?"]);
  });

  it("asks another question with another key", async () => {
    const session = await opened();
    void session.ask(question("Two?"));
    await settle();
    client.fail(new ApiError("The server cannot be reached.", 0));
    await settle();
    void session.replace(session.state.turns[0]?.key ?? "", question("Three?"));
    await settle();
    expect(new Set(client.keys).size).toBe(2);
  });

  it("sends a decision after the response that asked for them", async () => {
    const session = await opened(turn("resp_1", "One?"));
    void session.decide(session.state.turns[0]?.key ?? "", "mcpr_1", false);
    await settle();
    expect(client.asked).toEqual([
      {
        previous_response_id: "resp_1",
        input: [
          { type: "mcp_approval_response", approval_request_id: "mcpr_1", approve: false },
        ],
      },
    ]);
  });

  it("shows nothing more once it is closed, and lets a question that is on its way arrive", async () => {
    const session = await opened();
    const listener = vi.fn();
    void session.ask(question("One?"));
    await settle();
    session.close();
    expect(client.follower?.signal.aborted).toBe(false);
    client.say("resp_1", "");
    expect(client.follower?.signal.aborted).toBe(true);
    session.subscribe(listener);
    client.say("resp_1", "late");
    await settle();
    expect(listener).not.toHaveBeenCalled();
  });

  it("lets go of an answer at once where its id is known", async () => {
    const session = await opened(turn("resp_1", "One?", { status: "in_progress" }));
    session.close();
    expect(client.follower?.signal.aborted).toBe(true);
    expect(client.cancelled).toEqual([]);
  });

  it("takes feedback back from the page where the server did not take it", async () => {
    const session = await opened(turn("resp_1", "One?"));
    const key = session.state.turns[0]?.key ?? "";
    const asked = fakeServer({ "POST responses/resp_1/feedback": () => refusal(503, "Not now.") });
    await expect(session.giveFeedback(key, { value: "down", comment: "wrong" })).rejects.toThrow("Not now.");
    expect(asked[0]?.body).toEqual({ value: "down", comment: "wrong" });
    expect(session.state.turns[0]?.feedback).toBeNull();
    fakeServer({ "POST responses/resp_1/feedback": {} });
    await session.giveFeedback(key, { value: "up" });
    expect(session.state.turns[0]?.feedback).toEqual({ value: "up" });
  });

  it("says why a conversation cannot be opened", async () => {
    fakeServer({ "GET conversations/conv_9": () => refusal(404, "There is no such conversation.") });
    const session = new ChatSession(client, "conv_9", () => {});
    await session.load();
    expect(session.state).toMatchObject({ loading: false, loadError: "There is no such conversation." });
  });
});
