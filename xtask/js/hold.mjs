// Runs a program until standard input closes, so that it ends with whoever started it, however that ends:
//   node hold.mjs READY_URL PROGRAM [ARGUMENT…]
// Prints "ready" once READY_URL answers; what the program prints goes to standard error.
import { spawn } from "node:child_process";

const SECONDS = 60;
const [ready, program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ["ignore", 2, 2] });
child.on("error", (error) => {
  console.error(`cannot start ${program}: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code) => process.exit(code ?? 1));

// Ctrl-C reaches the program as well, which ends in order; this ends after it.
process.on("SIGINT", () => {});
process.stdin.resume();
process.stdin.on("close", end);

function end() {
  child.kill("SIGTERM");
  setTimeout(() => child.kill("SIGKILL"), 10_000);
}

const start = Date.now();
while (!(await fetch(ready).then(({ ok }) => ok, () => false)) && Date.now() - start < SECONDS * 1000) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
if (Date.now() - start < SECONDS * 1000) {
  console.log("ready");
} else {
  console.error(`${program} runs, but ${ready} does not answer after ${SECONDS} s`);
  end();
}
