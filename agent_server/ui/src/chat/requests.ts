import type { JsonObject, UploadedFile } from "../api/types";

export interface Question {
  text: string;
  files: readonly UploadedFile[];
  /** Ids of approval requests, and whether each is approved. Where there are some, nothing else is asked. */
  approvals: Readonly<Record<string, boolean>>;
}

export function question(text: string, files: readonly UploadedFile[] = []): Question {
  return { text, files, approvals: {} };
}

function inputOf({ text, files, approvals }: Question): JsonObject[] {
  const decided = Object.entries(approvals);
  if (decided.length > 0) {
    return decided.map(([id, approve]) => ({ type: "mcp_approval_response", approval_request_id: id, approve }));
  }
  const content: JsonObject[] = files.map(({ id }) => ({ type: "input_file", file_id: id }));
  if (text) content.push({ type: "input_text", text });
  return [{ type: "message", role: "user", content }];
}

export function nextRequest(conversationId: string, question: Question): JsonObject {
  return { input: inputOf(question), conversation: conversationId };
}

export function requestAfter(responseId: string, question: Question): JsonObject {
  return { input: inputOf(question), previous_response_id: responseId };
}

/** Asked where that response stood: it and everything after it are left behind. */
export function replacingRequest(conversationId: string, question: Question, replacedId: string): JsonObject {
  return { ...nextRequest(conversationId, question), metadata: { replaces: replacedId } };
}
