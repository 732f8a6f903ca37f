// What OpenAI's own client for Node makes of each server: {"task": address} comes as the argument, results go to stdout.
"use strict";
const { OpenAI } = require("openai");

const HELLO = [{ role: "user", content: "Hi" }];

async function answers(client) {
  const response = await client.responses.create({ model: "m", input: "Hi" });
  const streamed = [];
  const stream = client.responses.stream({ model: "m", input: "Hi" });
  stream.on("response.output_text.delta", (event) => streamed.push(event.delta));
  const final = await stream.finalResponse();
  const completion = await client.chat.completions.create({ model: "m", messages: HELLO });
  const chat = client.chat.completions.stream({ model: "m", messages: HELLO, stream_options: { include_usage: true } });
  const finalChat = await chat.finalChatCompletion();
  return {
    response: response.output_text,
    streamed: streamed.join(""),
    final: final.output_text,
    status: final.status,
    outputs: final.custom_outputs,
    completion: completion.choices[0].message.content,
    chat: finalChat.choices[0].message.content,
    usage: [response.usage, final.usage, completion.usage, finalChat.usage].map((usage) => usage.total_tokens),
  };
}

async function itemsOf(client) {
  const stream = client.responses.stream({ model: "m", input: "Hi" });
  const kinds = [];
  stream.on("event", (event) => kinds.push(event.type));
  const final = await stream.finalResponse();
  const chat = client.chat.completions.stream({ model: "m", messages: HELLO });
  const choice = (await chat.finalChatCompletion()).choices[0];
  return {
    items: final.output.map((item) => item.type),
    annotations: final.output.flatMap((item) => item.content ?? []).flatMap((part) => part.annotations ?? []).length,
    kinds: [...new Set(kinds)],
    finish: choice.finish_reason,
    calls: choice.message.tool_calls.map((call) => call.function.name),
  };
}

async function failuresOf(client) {
  const failures = {};
  for (const [name, ask] of Object.entries({
    responses: () => client.responses.create({ model: "m", input: "Hi" }),
    chat: () => client.chat.completions.create({ model: "m", messages: HELLO }),
    chatStream: () => client.chat.completions.stream({ model: "m", messages: HELLO }).finalChatCompletion(),
    parameter: () => client.responses.create({ model: "m", input: [{ role: "wizard", content: "Hi" }] }),
  })) {
    try {
      await ask();
      failures[name] = null;
    } catch (error) {
      failures[name] = { status: error.status ?? null, message: error.message, param: error.param ?? null };
    }
  }
  // Its helper rejects with the event `error` itself.
  const helper = client.responses.stream({ model: "m", input: "Hi" });
  failures.helper = await helper.finalResponse().then(() => null, (event) => event.message);
  const kinds = [];
  for await (const event of await client.responses.create({ model: "m", input: "Hi", stream: true })) kinds.push(event.type);
  failures.stream = kinds;
  return failures;
}

async function main() {
  const results = {};
  for (const [name, address] of Object.entries(JSON.parse(process.argv[2]))) {
    const client = new OpenAI({ baseURL: address, apiKey: "none", timeout: 10_000 });
    const ask = { items: itemsOf, failing: failuresOf }[name] ?? answers;
    results[name] = await ask(client);
  }
  process.stdout.write(JSON.stringify(results));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
