// The Agents Playground has no option for it and would listen on every network interface.
const { Server } = require("node:net");
const listen = Server.prototype.listen;

Server.prototype.listen = function (...args) {
  const [first] = args;
  if (first !== null && typeof first === "object" && "port" in first && !first.host) {
    args[0] = { ...first, host: "127.0.0.1" };
  } else if (typeof first === "number" || (typeof first === "string" && /^\d+$/.test(first))) {
    if (typeof args[1] !== "string") args.splice(1, args[1] == null ? 1 : 0, "127.0.0.1");
  }
  return listen.apply(this, args);
};
