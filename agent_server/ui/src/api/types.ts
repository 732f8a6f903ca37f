/** The parts of OpenAI's Responses API, and of the server's own page API, that the page reads. */

export type JsonObject = Record<string, unknown>;

export type ResponseStatus = "queued" | "in_progress" | "completed" | "failed" | "incomplete" | "cancelled";

export interface Annotation {
  type: string;
  url?: string;
  title?: string;
  start_index?: number;
  end_index?: number;
  filename?: string;
  quote?: string;
}

export interface ContentPart {
  type: string;
  text?: string;
  refusal?: string;
  annotations?: Annotation[];
}

/** A message, a tool call, its output, an approval request, ...: `type` says which of the fields it has. */
export interface OutputItem {
  type: string;
  id?: string;
  status?: string;
  role?: string;
  content?: ContentPart[];
  name?: string;
  server_label?: string;
  call_id?: string;
  arguments?: string;
  output?: unknown;
  error?: unknown;
  [field: string]: unknown;
}

export interface ResponseObject {
  id: string;
  status: ResponseStatus;
  created_at?: number;
  output: OutputItem[];
  error?: { code?: string | null; message?: string } | null;
  incomplete_details?: { reason?: string } | null;
  /** `blocks`: tables, charts, ... as `app/content/block_json.py` writes them. */
  custom_outputs?: JsonObject | null;
  metadata?: JsonObject | null;
}

export interface ResponseEvent {
  type: string;
  sequence_number?: number;
  response?: ResponseObject;
  [field: string]: unknown;
}

export interface Me {
  owner: string;
  name: string;
  email: string;
  identity: "app" | "person" | "local";
  /** A sentence: as whom questions are answered. */
  says: string;
  storage: "sqlite" | "postgresql" | "azure";
  features: { files: boolean; jobs: boolean; feedback: boolean };
  max_file_bytes: number;
  image_hosts: string[];
  title?: string;
}

export interface Conversation {
  id: string;
  title: string;
  /** Seconds since 1970, or ISO 8601. */
  created_at: number | string;
  updated_at: number | string;
  running_response_id: string | null;
}

export interface UploadedFile {
  id: string;
  name: string;
  bytes: number;
}

export interface FeedbackValue {
  value: "up" | "down" | null;
  comment?: string;
}

export interface Turn {
  response_id: string;
  question: string;
  files: UploadedFile[];
  created_at: number | string;
  response: ResponseObject;
  feedback: FeedbackValue | null;
}
