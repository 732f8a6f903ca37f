// Streams of events come in as JSON; the Response objects that OpenAI's client built of them before their last event go out.
"use strict";
const { readFileSync } = require("node:fs");
const { accumulateResponse } = require("openai/lib/responses/ResponseAccumulator");

const built = JSON.parse(readFileSync(0, "utf8")).map((events) => {
  const before = events.slice(0, -1).reduce((snapshot, event) => accumulateResponse(event, snapshot), undefined);
  const { output } = before;
  accumulateResponse(events.at(-1), before);
  return output;
});
process.stdout.write(JSON.stringify(built));
