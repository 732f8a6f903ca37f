import type { ResponseObject } from "../api/types";

export interface AnswerProps {
  response: ResponseObject;
  streaming: boolean;
  imageHosts: string[];
}

export function Answer({ response }: AnswerProps) {
  const text = response.output.flatMap((item) => item.content ?? []).map((part) => part.text ?? "");
  return <div className="answer">{text.join("\n\n")}</div>;
}
