import { vi } from "vitest";

export interface Asked {
  method: string;
  path: string;
  body: unknown;
}

type Answer = unknown | ((asked: Asked) => unknown);

/**
 * Answers `METHOD path` (the path after `/api/`, without its query) in place of the server. A value is sent as JSON; a
 * `Response` as it is; what is thrown is thrown. Gives everything that was asked.
 */
export function fakeServer(answers: Record<string, Answer>): Asked[] {
  const all: Asked[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit = {}) => {
    const path = new URL(url).pathname.replace(/^\/api\//, "");
    const method = init.method ?? "GET";
    const asked: Asked = { method, path, body: typeof init.body === "string" ? JSON.parse(init.body) : init.body };
    all.push(asked);
    const name = `${method} ${path}`;
    if (!(name in answers)) throw new Error(`nothing was said about ${name}`);
    const answer = answers[name];
    const value: unknown = typeof answer === "function" ? await (answer as (asked: Asked) => unknown)(asked) : answer;
    return value instanceof Response ? value : new Response(JSON.stringify(value));
  });
  return all;
}

export function refusal(status: number, message: string): Response {
  return new Response(JSON.stringify({ error: { message } }), { status });
}
