import type { JsonObject, UploadedFile } from "../api/types";

export interface Question {
  text: string;
  files: readonly UploadedFile[];
  /** The data of a button that calls a tool; `text` is its title. */
  call?: Readonly<Record<string, string>>;
}

export function question(text: string, files: readonly UploadedFile[] = []): Question {
  return { text, files };
}

function inputOf({ text, files }: Question): JsonObject[] {
  const content: JsonObject[] = files.map(({ id }) => ({ type: "input_file", file_id: id }));
  if (text) content.push({ type: "input_text", text });
  return [{ type: "message", role: "user", content }];
}

export function nextRequest(conversationId: string, question: Question): JsonObject {
  const request = { input: inputOf(question), conversation: conversationId };
  return question.call ? { ...request, custom_inputs: { call_tool: question.call } } : request;
}

/** `responseId` is the response that asks for the approval. */
export function decision(responseId: string, requestId: string, approve: boolean): JsonObject {
  const input = [{ type: "mcp_approval_response", approval_request_id: requestId, approve }];
  return { input, previous_response_id: responseId };
}

/** Takes the place of that response: it, and all that was asked after it, leave the conversation. */
export function replacingRequest(conversationId: string, question: Question, replacedId: string): JsonObject {
  return { ...nextRequest(conversationId, question), metadata: { replaces: replacedId } };
}
