// workerd processes that a bench starts: which they are, what they use, and how they are asked.
import { readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";

/** The workerd processes that this process started. */
export function children() {
  return readdirSync("/proc").filter((pid) => {
    try {
      const [, name, , parent] = readFileSync(`/proc/${pid}/stat`, "utf8").match(/\((.*)\) (.) (\d+)/);
      return name.startsWith("workerd") && Number(parent) === process.pid;
    } catch {
      return false; // Not a process, or one that has ended meanwhile.
    }
  });
}

/** Processor milliseconds of all threads of a process so far, to the nanosecond. */
export function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const spent = threads.map((id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]));
  return spent.reduce((sum, ns) => sum + ns, 0) / 1e6;
}

/** Bytes of memory that a process has in use. */
export function memory(pid) {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/);
  return Number(kilobytes) * 1024;
}

/** An HTTP request as bytes. */
export function request(method, path, headers = {}, body = "") {
  const head = [`${method} ${path} HTTP/1.1`, "Host: 127.0.0.1", ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  if (body) head.push("Content-Type: application/json", `Content-Length: ${Buffer.byteLength(body)}`);
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

/**
 * Sends requests over one connection, each after the answer to the one before: `bytes` so many `times`, or what it
 * returns for each. The last answer's body.
 */
export function ask(port, bytes, times) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const next = typeof bytes === "function" ? bytes : () => bytes;
    let [done, seen] = [0, ""];
    const answered = () => {
      const end = seen.indexOf("\r\n\r\n") + 4;
      const length = seen.match(/\r\ncontent-length: (\d+)\r\n/i);
      if (end < 4 || (length && seen.length < end + Number(length[1]))) return;
      if (!length || !seen.startsWith("HTTP/1.1 200 ")) return socket.destroy(new Error(seen));
      const last = seen.slice(end);
      seen = "";
      if ((done += 1) < times) return socket.write(next(done));
      socket.end();
      resolve(last);
    };
    socket.setEncoding("latin1").on("data", (chunk) => {
      seen += chunk;
      answered();
    });
    // After the last answer nobody is told any more.
    socket.on("close", () => reject(new Error(`the connection ended after ${done} of ${times} answers: ${seen}`)));
    socket.on("error", reject).write(next(0));
  });
}
