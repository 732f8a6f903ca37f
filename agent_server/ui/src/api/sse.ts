import type { ResponseEvent } from "./types";

/** More than the largest event the server sends: a whole response with its tables. */
const MAX_EVENT_CHARACTERS = 16_000_000;

/**
 * The events of a stream of `data:` lines, in order, up to `[DONE]` or the end. `onBytes` is called for every piece that
 * arrives, comments too. Raises what the body raises, and `SyntaxError` for data that is not JSON.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  onBytes: () => void = () => {},
): AsyncGenerator<ResponseEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let length = 0;
  let data: string[] = [];
  let afterReturn = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      let text = decoder.decode(value, { stream: true });
      // A line may end in CR LF, with a cut between the two.
      if (afterReturn && text.startsWith("\n")) text = text.slice(1);
      if (text) afterReturn = text.endsWith("\r");
      const lines = text.split(/\r\n|\n|\r/);
      const rest = lines.pop() ?? "";
      for (const end of lines) {
        const line = pieces.length ? pieces.join("") + end : end;
        pieces = [];
        if (line === "") {
          const whole = data.join("\n");
          data = [];
          length = 0;
          if (whole === "[DONE]") return;
          if (whole) yield JSON.parse(whole) as ResponseEvent;
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        }
      }
      if (rest) pieces.push(rest);
      length += text.length;
      if (length > MAX_EVENT_CHARACTERS) throw new SyntaxError("an event of the stream is too long");
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
