import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "./client";
import { type Connection, ResponseClient } from "./ResponseClient";
import type { ResponseEvent, ResponseObject } from "./types";

type Answer = (signal: AbortSignal) => Promise<Response>;

const RESPONSE: ResponseObject = { id: "resp_1", status: "in_progress", output: [] };
const MESSAGE = { type: "message", id: "msg_1", role: "assistant", content: [] };
const EVENTS: ResponseEvent[] = [
  { type: "response.created", response: RESPONSE },
  { type: "response.output_item.added", output_index: 0, item: MESSAGE },
  { type: "response.output_text.delta", output_index: 0, content_index: 0, delta: "Hello " },
  { type: "response.output_text.delta", output_index: 0, content_index: 0, delta: "there" },
  { type: "response.completed", response: finished("Hello there") },
].map((event, index) => ({ ...event, sequence_number: index }));

function finished(text: string): ResponseObject {
  const content = [{ type: "output_text", text }];
  return { ...RESPONSE, status: "completed", output: [{ ...MESSAGE, content }] };
}

/** `end`: whether the connection is closed, lost, or says nothing more. */
function stream(events: ResponseEvent[], end: "closed" | "lost" | "open" = "closed"): Answer {
  return async (signal) => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const event of events) controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
        if (end === "closed") controller.close();
        if (end === "open") signal.addEventListener("abort", () => controller.error(signal.reason));
      },
      pull(controller) {
        if (end === "lost") controller.error(new TypeError("network error"));
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
}

function json(body: unknown, status = 200): Answer {
  return async () => new Response(JSON.stringify(body), { status });
}

const unreachable: Answer = async () => {
  throw new TypeError("Failed to fetch");
};

function silent(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

let keys: string[] = [];

function server(...answers: Answer[]): string[] {
  const asked: string[] = [];
  keys = [];
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const key = new Headers(init.headers).get("Idempotency-Key");
    if (key) keys.push(key);
    asked.push(`${init.method ?? "GET"} ${new URL(url).pathname.replace("/api/", "")}${new URL(url).search}`);
    const answer = answers[Math.min(asked.length, answers.length) - 1] ?? unreachable;
    return answer(init.signal ?? new AbortController().signal);
  });
  return asked;
}

function following() {
  const connections: Connection[] = [];
  const texts: string[] = [];
  const abort = new AbortController();
  return {
    abort,
    connections,
    texts,
    signal: abort.signal,
    onResponse: (response: ResponseObject) => texts.push(response.output[0]?.content?.[0]?.text ?? ""),
    onConnection: (connection: Connection) => {
      if (connections.at(-1) !== connection) connections.push(connection);
    },
  };
}

async function settled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  await vi.runAllTimersAsync();
  return promise;
}

const REQUEST = { input: [], conversation: "conv_1" };
const KEY = "key-1";

describe("asking", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("shows the text as it grows, and asks in the background with a stream", async () => {
    let body: unknown;
    const asked = server(stream(EVENTS));
    const inner = fetch;
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      body = JSON.parse(String(init.body));
      return inner(url, init);
    });
    const follower = following();
    const response = await settled(new ResponseClient().ask(REQUEST, KEY, follower));
    expect(response.status).toBe("completed");
    expect(follower.texts).toEqual(["", "", "Hello ", "Hello there", "Hello there"]);
    expect(body).toEqual({ ...REQUEST, background: true, stream: true, store: true });
    expect(asked).toEqual(["POST responses"]);
  });

  it.each(["closed", "lost"] as const)("goes on after the last event where a stream is %s, and repeats no text", async (end) => {
    const asked = server(stream(EVENTS.slice(0, 3), end), stream(EVENTS.slice(1)));
    const follower = following();
    const response = await settled(new ResponseClient().ask(REQUEST, KEY, follower));
    expect(response).toEqual(finished("Hello there"));
    expect(asked).toEqual(["POST responses", "GET responses/resp_1?stream=true&starting_after=2"]);
    expect(follower.texts).toEqual(["", "", "Hello ", "Hello there", "Hello there"]);
  });

  it("polls where no byte arrives for 20 seconds", async () => {
    const asked = server(stream(EVENTS.slice(0, 3), "open"), json(RESPONSE), json(finished("Hello there")));
    const follower = following();
    const began = Date.now();
    await settled(new ResponseClient().ask(REQUEST, KEY, follower));
    expect(Date.now() - began).toBe(20_000 + 2_000);
    expect(follower.connections).toEqual(["streaming", "polling"]);
    expect(asked).toEqual(["POST responses", "GET responses/resp_1", "GET responses/resp_1"]);
  });

  it("waits three seconds alone after a stream was held back, until one is not", async () => {
    const client = new ResponseClient();
    server(silent, json(finished("Hello there")));
    const waited = async () => {
      const began = Date.now();
      await settled(client.ask(REQUEST, KEY, following()));
      return Date.now() - began;
    };
    expect(await waited()).toBe(20_000);
    server(silent, json(finished("Hello there")));
    expect(await waited()).toBe(3_000);
    server(stream(EVENTS.slice(0, 3), "open"), json(finished("Hello there")));
    expect(await waited()).toBe(20_000);
  });

  it("asks without a stream, under the same key, where the first event is held back", async () => {
    const asked = server(silent, json(RESPONSE), json(finished("Hello there")));
    const response = await settled(new ResponseClient().ask(REQUEST, KEY, following()));
    expect(response).toEqual(finished("Hello there"));
    expect(asked).toEqual(["POST responses", "POST responses", "GET responses/resp_1"]);
    expect(keys).toEqual([KEY, KEY]);
  });

  it("asks again, under the same key, where the connection was lost before the response was known", async () => {
    server(unreachable, json({}, 502), stream(EVENTS));
    const response = await settled(new ResponseClient().ask(REQUEST, KEY, following()));
    expect(response.status).toBe("completed");
    expect(keys).toEqual([KEY, KEY, KEY]);
  });

  it.each([
    ["the question is refused", json({ error: { message: "No.", code: "no" } }, 400), 400],
    ["there are too many questions", json({ error: { message: "Wait." } }, 429), 429],
  ])("fails at once where %s", async (_, answer, status) => {
    const asked = server(answer);
    const error = await settled(new ResponseClient().ask(REQUEST, KEY, following())).catch((raised: unknown) => raised);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status });
    expect(asked).toHaveLength(1);
  });

  it("fails where the server cannot be reached three times", async () => {
    const asked = server(unreachable);
    const asking = settled(new ResponseClient().ask(REQUEST, KEY, following()));
    await expect(asking).rejects.toMatchObject({ status: 0, message: expect.stringContaining("cannot be reached") });
    expect(asked).toHaveLength(3);
  });

  it("tries again while the server restarts, and polls where streams keep failing", async () => {
    const asked = server(
      stream(EVENTS.slice(0, 2)), unreachable, json({}, 503), unreachable, unreachable, json(finished("Hello there")),
    );
    const follower = following();
    const response = await settled(new ResponseClient().ask(REQUEST, KEY, follower));
    expect(response).toEqual(finished("Hello there"));
    expect(asked.slice(-2)).toEqual(["GET responses/resp_1", "GET responses/resp_1"]);
    expect(follower.connections).toEqual(["streaming", "reconnecting", "polling"]);
  });

  it("gives up where the response is gone", async () => {
    server(stream(EVENTS.slice(0, 2)), json({ error: { message: "There is no such response." } }, 404));
    await expect(settled(new ResponseClient().ask(REQUEST, KEY, following()))).rejects.toThrow("no such response");
  });

  it("asks nothing more once it is aborted", async () => {
    const asked = server(stream(EVENTS.slice(0, 2), "open"), unreachable);
    const follower = following();
    const asking = new ResponseClient().ask(REQUEST, KEY, follower);
    asking.catch(() => {});
    await vi.advanceTimersByTimeAsync(10);
    follower.abort.abort();
    await expect(settled(asking)).rejects.toThrow();
    expect(asked).toEqual(["POST responses"]);
  });
});

describe("following", () => {
  it("does not show less than the person sees already while events are replayed", async () => {
    server(stream(EVENTS));
    const follower = following();
    await new ResponseClient().follow("resp_1", follower, finished("Hello there"));
    expect(follower.texts).toEqual(["Hello there", "Hello there"]);
    vi.unstubAllGlobals();
  });
});
