// Runs a Python program for the steps of m365agents*.yml: `node ops/python.cjs dev.py package`.
// Node.js is wherever the toolkit is; Python is `python3`, `python` or `py -3`, depending on the system.
"use strict";
const { spawnSync } = require("node:child_process");

const OLDEST = [3, 11];
const NEWEST = [3, 13];
const SAY_VERSION = "import sys; print(*sys.version_info[:2])";
const CANDIDATES = [process.env.PYTHON, "python3", "python", "py -3", "python3.12", "python3.11", "python3.13"];

function isSupported([program, ...options]) {
  const said = spawnSync(program, [...options, "-c", SAY_VERSION], { encoding: "utf8", timeout: 30000 });
  if (said.status !== 0) return false;
  const [major, minor] = said.stdout.trim().split(" ").map(Number);
  return major === OLDEST[0] && minor >= OLDEST[1] && minor <= NEWEST[1];
}

const python = CANDIDATES.filter(Boolean).map((name) => (name === "py -3" ? ["py", "-3"] : [name])).find(isSupported);
if (!python) {
  console.error(
    `Python ${OLDEST.join(".")} to ${NEWEST.join(".")} is needed and was not found. ` +
      "Install it, or set the environment variable PYTHON to where it is."
  );
  process.exit(1);
}
const [program, ...options] = python;
const ended = spawnSync(program, [...options, ...process.argv.slice(2)], { stdio: "inherit" });
process.exit(ended.status === null ? 1 : ended.status);
