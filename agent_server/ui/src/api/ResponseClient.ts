import { applyEvent, isFinished } from "./applyEvent";
import { ApiError, apiFetch, apiJson, jsonBody } from "./client";
import { readEvents } from "./sse";
import type { JsonObject, ResponseEvent, ResponseObject } from "./types";
import { pause } from "./pause";

const SILENCE_MS = 20_000;
/** A proxy that held back one stream is likely to hold back the next. */
const SILENCE_WHERE_BUFFERED_MS = 3_000;
const POLL_MS = 2_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;
const STREAM_FAILURES_BEFORE_POLLING = 3;
const ASK_FAILURES = 2;

export type Connection = "streaming" | "reconnecting" | "polling";

export interface Follower {
  signal: AbortSignal;
  onResponse: (response: ResponseObject) => void;
  onConnection: (connection: Connection) => void;
}

/**
 * Asks, and follows responses to their end over streams that are cut, held back or lost.
 *
 * A background response goes on without its stream: after a cut it is followed from the last event that was read; where no
 * byte arrives for 20 seconds, its state is polled.
 */
export class ResponseClient {
  private buffered = false;

  /**
   * Asks and follows. The same `key` names the same question: where the connection is lost before the response is known, it is
   * asked again, and the server answers it once. Raises `ApiError` where it was refused, or did not arrive.
   */
  async ask(request: JsonObject, key: string, follower: Follower): Promise<ResponseObject> {
    const following = new Following(follower);
    for (let failures = 0; ; ) {
      try {
        const outcome = await this.stream(following, "responses", post(request, key, true));
        if (outcome === "finished") return following.finished();
        if (following.response !== null) return await this.resume(following, following.response.id, outcome);
        if (outcome === "silent") {
          following.replace(await apiJson<ResponseObject>("responses", post(request, key, false)));
          return await this.resume(following, following.finished().id, "silent");
        }
      } catch (error) {
        if (following.response !== null || !mayHaveArrived(error) || failures >= ASK_FAILURES) throw error;
      }
      failures += 1;
      if (failures > ASK_FAILURES) throw new ApiError("The server did not answer. Try again.", 0);
      follower.onConnection("reconnecting");
      await pause(FIRST_RETRY_MS * 2 ** failures, follower.signal);
    }
  }

  /** Follows a response that was asked for earlier; `shown` is what the person sees of it already. */
  async follow(responseId: string, follower: Follower, shown: ResponseObject | null = null): Promise<ResponseObject> {
    return this.resume(new Following(follower, shown), responseId, "cut");
  }

  /** Stops the server's work too. */
  async cancel(responseId: string): Promise<ResponseObject> {
    return apiJson<ResponseObject>(`responses/${encodeURIComponent(responseId)}/cancel`, { method: "POST" });
  }

  private async resume(following: Following, id: string, outcome: Outcome): Promise<ResponseObject> {
    const path = `responses/${encodeURIComponent(id)}`;
    let failures = 0;
    for (let next: Outcome = outcome; next !== "finished"; ) {
      if (next === "silent" || failures >= STREAM_FAILURES_BEFORE_POLLING) {
        return this.poll(following, path);
      }
      if (failures > 0) {
        following.follower.onConnection("reconnecting");
        await pause(Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS), following.follower.signal);
      }
      const before = following.lastSequence;
      const after = before === null ? "" : `&starting_after=${before}`;
      try {
        next = await this.stream(following, `${path}?stream=true${after}`, {});
      } catch (error) {
        if (!isTemporary(error)) throw error;
        next = "cut";
      }
      failures = following.lastSequence === before ? failures + 1 : 0;
    }
    return following.finished();
  }

  private async stream(following: Following, path: string, init: RequestInit): Promise<Outcome> {
    const { signal, onConnection } = following.follower;
    const attempt = new AbortController();
    let silent = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(timer);
      const limit = this.buffered ? SILENCE_WHERE_BUFFERED_MS : SILENCE_MS;
      timer = setTimeout(() => {
        silent = true;
        attempt.abort();
      }, limit);
    };
    heard();
    try {
      const answer = await apiFetch(path, {
        ...init,
        signal: AbortSignal.any([signal, attempt.signal]),
        headers: { ...init.headers, Accept: "text/event-stream" },
      });
      if (answer.body === null) return "cut";
      const onBytes = () => {
        this.buffered = false;
        heard();
      };
      for await (const event of readEvents(answer.body, onBytes)) {
        onConnection("streaming");
        following.add(event);
        if (following.response !== null && isFinished(following.response)) return "finished";
      }
      return "cut";
    } catch (error) {
      signal.throwIfAborted();
      if (silent) {
        this.buffered = true;
        return "silent";
      }
      if (error instanceof ApiError) throw error;
      return "cut";
    } finally {
      clearTimeout(timer);
      attempt.abort();
    }
  }

  private async poll(following: Following, path: string): Promise<ResponseObject> {
    const { signal, onConnection } = following.follower;
    for (let failures = 0; ; ) {
      try {
        following.replace(await apiJson<ResponseObject>(path, { signal }));
        failures = 0;
        onConnection("polling");
        if (following.response !== null && isFinished(following.response)) return following.response;
      } catch (error) {
        signal.throwIfAborted();
        if (!isTemporary(error)) throw error;
        failures += 1;
        onConnection("reconnecting");
      }
      await pause(Math.min(POLL_MS * 2 ** Math.min(failures, 3), LONGEST_RETRY_MS), signal);
    }
  }
}

type Outcome = "finished" | "cut" | "silent";

class Following {
  response: ResponseObject | null = null;
  lastSequence: number | null = null;
  readonly follower: Follower;
  private readonly shownCharacters: number;

  constructor(follower: Follower, shown: ResponseObject | null = null) {
    this.follower = follower;
    this.shownCharacters = shown === null ? 0 : characters(shown);
  }

  /** Ignores events that were read before. A replay is shown once it has as much text as the person sees already. */
  add(event: ResponseEvent): void {
    const { sequence_number: sequence } = event;
    if (typeof sequence === "number") {
      if (this.lastSequence !== null && sequence <= this.lastSequence) return;
      this.lastSequence = sequence;
    }
    const before = this.response;
    this.response = applyEvent(before, event);
    if (this.response === null || this.response === before) return;
    if (isFinished(this.response) || characters(this.response) >= this.shownCharacters) {
      this.follower.onResponse(this.response);
    }
  }

  replace(response: ResponseObject): void {
    this.response = { ...response, output: response.output ?? [] };
    this.follower.onResponse(this.response);
  }

  finished(): ResponseObject {
    if (this.response === null) throw new ApiError("The answer is unknown to the server.", 404);
    return this.response;
  }
}

function characters(response: ResponseObject): number {
  let sum = 0;
  for (const item of response.output) {
    for (const part of item.content ?? []) sum += part.text?.length ?? 0;
  }
  return sum;
}

function isTemporary(error: unknown): boolean {
  return !(error instanceof ApiError) || error.isTemporary;
}

/** A refusal says for certain that there is no response; a lost connection, or a proxy's error, does not. */
function mayHaveArrived(error: unknown): boolean {
  return error instanceof ApiError && error.isTemporary && error.status !== 429;
}

function post(request: JsonObject, key: string, stream: boolean): RequestInit {
  const init = jsonBody("POST", { ...request, background: true, stream, store: true });
  return { ...init, headers: { ...init.headers, "Idempotency-Key": key } };
}
