import { describe, expect, it } from "vitest";
import { readEvents } from "./sse";

function bodyOf(pieces: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
      controller.close();
    },
  });
}

async function read(...pieces: (string | Uint8Array)[]): Promise<unknown[]> {
  const events: unknown[] = [];
  for await (const event of readEvents(bodyOf(pieces))) events.push(event);
  return events;
}

describe("an event stream", () => {
  it.each([
    ["LF", 'data: {"type":"a"}\n\ndata: {"type":"b"}\n\n'],
    ["CR LF", 'data: {"type":"a"}\r\n\r\ndata: {"type":"b"}\r\n\r\n'],
    ["CR", 'data: {"type":"a"}\r\rdata: {"type":"b"}\r\r'],
    ["no space after the colon", 'data:{"type":"a"}\n\ndata:{"type":"b"}\n\n'],
    ["comments, event names and ids between", ': keep-alive\n\nevent: a\nid: 1\ndata: {"type":"a"}\n\n: x\n\ndata: {"type":"b"}\n\n'],
    ["[DONE] and more after it", 'data: {"type":"a"}\n\ndata: {"type":"b"}\n\ndata: [DONE]\n\ndata: {"type":"c"}\n\n'],
    ["data on two lines", 'data: {"type":\ndata: "a"}\n\ndata: {"type":"b"}\n\n'],
    ["an event that was cut off at its end", 'data: {"type":"a"}\n\ndata: {"type":"b"}\n\ndata: {"type":"c"'],
  ])("is read with %s, wherever it is cut", async (_, text) => {
    const expected = [{ type: "a" }, { type: "b" }];
    expect(await read(text)).toEqual(expected);
    expect(await read(...text)).toEqual(expected);
    for (let cut = 1; cut < text.length; cut += 1) {
      expect(await read(text.slice(0, cut), text.slice(cut))).toEqual(expected);
    }
  });

  it("keeps a character whose bytes arrive one at a time", async () => {
    const bytes = new TextEncoder().encode('data: {"type":"ä€😀"}\n\n');
    expect(await read(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual([{ type: "ä€😀" }]);
  });

  it("reads a long event in many pieces without slowing down", async () => {
    const text = "x".repeat(1_000_000);
    const whole = `data: ${JSON.stringify({ type: text })}\n\n`;
    const pieces = whole.match(/[^]{1,100}/g) ?? [];
    expect(await read(...pieces)).toEqual([{ type: text }]);
  });

  it("refuses data that is not JSON", async () => {
    await expect(read("data: {nope\n\n")).rejects.toThrow(SyntaxError);
  });
});
