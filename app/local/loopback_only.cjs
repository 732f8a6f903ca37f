// Loaded before the Agents Playground, which has no option for any of this: it would listen on every network interface,
// whatever web page is open in the developer's browser could ask the bot and read its answers, and it would stay when
// `dev.py run` is killed.
"use strict";
const http = require("node:http");
const net = require("node:net");

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  const [first] = args;
  if (first !== null && typeof first === "object" && "port" in first && !first.host) {
    args[0] = { ...first, host: "127.0.0.1" };
  } else if (typeof first === "number" || (typeof first === "string" && /^\d+$/.test(first))) {
    if (typeof args[1] !== "string") args.splice(1, args[1] == null ? 1 : 0, "127.0.0.1");
  }
  return listen.apply(this, args);
};

// Whole names: 127.0.0.1.example.com may lead here too, and belongs to others (DNS rebinding).
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;
const REFUSAL = "The Agents Playground answers to its own page on this machine alone.\n";

// https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
function isOurs({ headers }) {
  const host = headers.host ?? "";
  if (!LOOPBACK.test(host)) return false;
  if (headers.origin !== undefined) return headers.origin.toLowerCase() === `http://${host.toLowerCase()}`;
  // Without an Origin it is a program such as the bot, our own page, or an image, script or frame of another page.
  const site = headers["sec-fetch-site"];
  const followsALink = headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document";
  return site === undefined || site === "same-origin" || site === "none" || followsALink;
}

function refuse(response) {
  response.writeHead(403, { "Content-Type": "text/plain", "Content-Length": REFUSAL.length, Connection: "close" });
  response.end(REFUSAL);
}

function drop(socket) {
  // Without a listener an error of the socket would end the Playground.
  socket.on("error", () => {});
  socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  socket.destroySoon();
}

const REFUSALS = { request: refuse, checkContinue: refuse, checkExpectation: refuse, upgrade: drop, connect: drop };
const emit = http.Server.prototype.emit;

http.Server.prototype.emit = function (event, ...args) {
  if (!Object.hasOwn(REFUSALS, event) || isOurs(args[0])) return emit.call(this, event, ...args);
  REFUSALS[event](args[1]);
  return true;
};

const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 1000).unref();
