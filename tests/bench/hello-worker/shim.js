// Hello world's entry class, with what every Worker in Rust needs: after a panic the next request starts afresh.
import { WorkerEntrypoint } from "cloudflare:workers";
import * as worker from "./index.js";

const state = worker.__worker_init_state();

export default class extends WorkerEntrypoint {
  async fetch(request) {
    if (state.criticalError) {
      worker.__wbg_reset_state();
      state.criticalError = false;
    }
    try {
      return await worker.fetch(request, this.env, this.ctx);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
      throw error;
    }
  }
}
