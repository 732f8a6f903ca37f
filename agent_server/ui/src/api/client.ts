/** Calls of the server. Every failure is an `ApiError` whose message is a sentence to show. */

/** Where `npm run dev` finds the running server. The built page is served by the server itself. */
export const SERVER_PORT = 8000;

const REQUEST_SECONDS = 30;

export class ApiError extends Error {
  /** 0 where there was no answer at all. */
  readonly status: number;
  readonly code: string;

  constructor(message: string, status: number, code: string = "") {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  /** Whether the same request can succeed later. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export function apiUrl(path: string): string {
  return new URL(`api/${path}`, document.baseURI).href;
}

/** The answer once its headers are there. Its body has no time limit here. */
export async function apiFetch(path: string, init: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(apiUrl(path), { credentials: "same-origin", redirect: "manual", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. Check your connection and try again.", 0);
  }
  if (answer.type === "opaqueredirect") {
    throw new ApiError("Your session has ended. Reload the page to sign in again.", 401);
  }
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

async function errorOf(answer: Response): Promise<ApiError> {
  let message = "";
  let code = "";
  try {
    const body = (await answer.json()) as { error?: { message?: unknown; code?: unknown } };
    if (typeof body.error?.message === "string") message = body.error.message;
    if (typeof body.error?.code === "string") code = body.error.code;
  } catch {
    // Not from the server itself: a proxy's page, for example.
  }
  return new ApiError(message || `The server answered with the status ${answer.status}. Try again.`, answer.status, code);
}

export async function apiJson<T>(path: string, init: RequestInit = {}, seconds = REQUEST_SECONDS): Promise<T> {
  const limit = AbortSignal.timeout(seconds * 1000);
  const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
  try {
    const answer = await apiFetch(path, { ...init, signal });
    return (answer.status === 204 ? undefined : await answer.json()) as T;
  } catch (error) {
    if (error instanceof ApiError || init.signal?.aborted) throw error;
    throw new ApiError("The server did not answer in time. Try again.", 0);
  }
}

export function jsonBody(method: string, body: unknown): RequestInit {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}
