import { apiFetch, apiJson, apiUrl, jsonBody } from "./client";
import type { Conversation, FeedbackValue, Me, Turn, UploadedFile } from "./types";

const path = (id: string) => `conversations/${encodeURIComponent(id)}`;

export const getMe = () => apiJson<Me>("me");

export interface ConversationPage {
  conversations: Conversation[];
  next: string | null;
}

export function listConversations(search: string, cursor: string | null, signal?: AbortSignal): Promise<ConversationPage> {
  const query = new URLSearchParams();
  if (search) query.set("search", search);
  if (cursor) query.set("cursor", cursor);
  return apiJson(`conversations?${query}`, signal ? { signal } : {});
}

export const createConversation = () => apiJson<{ id: string }>("conversations", jsonBody("POST", {}));

export function getConversation(id: string, signal?: AbortSignal): Promise<{ id: string; title: string; turns: Turn[] }> {
  return apiJson(path(id), signal ? { signal } : {});
}

export async function renameConversation(id: string, title: string): Promise<void> {
  await apiJson(path(id), jsonBody("PATCH", { title }));
}

export async function deleteConversation(id: string): Promise<void> {
  await apiJson(path(id), { method: "DELETE" });
}

export const exportUrl = (id: string, format: "markdown" | "json") => apiUrl(`${path(id)}/export?format=${format}`);

/** Saves a result of the conversation as a file. Raises `ApiError`. */
export async function saveResult(id: string, result: string): Promise<void> {
  const answer = await apiFetch(`${path(id)}/results/${encodeURIComponent(result)}`);
  const [, name = "result.csv"] = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "") ?? [];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export async function sendFeedback(responseId: string, feedback: FeedbackValue): Promise<void> {
  await apiJson(`responses/${encodeURIComponent(responseId)}/feedback`, jsonBody("POST", feedback));
}

/** Files of a megabyte and more take longer than other requests may. */
const UPLOAD_SECONDS = 300;

export function uploadFile(file: File, signal: AbortSignal): Promise<UploadedFile> {
  const form = new FormData();
  form.append("file", file, file.name);
  return apiJson("files", { method: "POST", body: form, signal }, UPLOAD_SECONDS);
}

/** Seconds since 1970, or ISO 8601. */
export function dateOf(time: number | string): Date {
  return new Date(typeof time === "number" ? time * 1000 : time);
}
