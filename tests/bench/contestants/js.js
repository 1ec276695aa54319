// What a person writes who wants no dependency: plain loops over typed arrays, buffers made once.

export const name = "hand-written JS";

export async function load(assets, model) {
  const { inputs, outputs, weights } = await assets.json(`${model}.json`);
  const w = Object.fromEntries(Object.entries(weights).map(([key, { data }]) => [key, Float32Array.from(data)]));
  const score = { mlp, trees, conv1d, gru }[model](w, inputs, outputs);
  const row = new Float32Array(outputs);
  const one = (features) => {
    score(features, 0, row, 0);
    return row;
  };
  const many = (rows, count) => {
    const out = new Float32Array(count * outputs);
    for (let i = 0; i < count; i++) score(rows, i * inputs, out, i * outputs);
    return out;
  };
  return { one, many, sync: true };
}

function dense(w, b, from, at, to, to_at) {
  const n = w.length / b.length;
  for (let o = 0; o < b.length; o++) {
    let sum = b[o];
    for (let i = 0; i < n; i++) sum += w[o * n + i] * from[at + i];
    to[to_at + o] = sum;
  }
}

function rectify(x) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
}

const relu = (x) => (x > 0 ? x : 0);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function softmax(x, at, n) {
  let [top, sum] = [-Infinity, 0];
  for (let i = at; i < at + n; i++) top = Math.max(top, x[i]);
  for (let i = at; i < at + n; i++) sum += x[i] = Math.exp(x[i] - top);
  for (let i = at; i < at + n; i++) x[i] /= sum;
}

function mlp(w) {
  const [a, b] = [new Float32Array(64), new Float32Array(32)];
  return (x, at, out, out_at) => {
    dense(w.w0, w.b0, x, at, a, 0);
    rectify(a);
    dense(w.w1, w.b1, a, 0, b, 0);
    rectify(b);
    dense(w.w2, w.b2, b, 0, out, out_at);
    softmax(out, out_at, 5);
  };
}

function trees({ features, thresholds, leaves }) {
  const columns = Uint8Array.from(features);
  const [inner, ends] = [63, 64];
  const count = leaves.length / ends;
  return (x, at, out, out_at) => {
    out.fill(0, out_at, out_at + 5);
    for (let t = 0; t < count; t++) {
      let node = 0;
      while (node < inner) {
        const i = t * inner + node;
        node = 2 * node + (x[at + columns[i]] <= thresholds[i] ? 1 : 2);
      }
      out[out_at + (t % 5)] += leaves[t * ends + node - inner];
    }
    softmax(out, out_at, 5);
  };
}

/** Same-padded convolution of [steps, channels], then ReLU, then the maximum of each two steps. */
function convolve(w, b, from, at, steps, channels, to) {
  const outs = b.length;
  const size = w.length / outs / channels;
  const half = (size - 1) / 2;
  for (let t = 0; t < steps; t++) {
    const [first, last] = [Math.max(0, half - t), Math.min(size, steps + half - t)];
    for (let o = 0; o < outs; o++) {
      let sum = b[o];
      for (let k = first; k < last; k++) {
        const x = at + (t + k - half) * channels;
        const y = (o * size + k) * channels;
        for (let c = 0; c < channels; c++) sum += w[y + c] * from[x + c];
      }
      const i = (t >> 1) * outs + o;
      to[i] = t & 1 ? Math.max(to[i], relu(sum)) : relu(sum);
    }
  }
}

/** [outs, channels, size] to [outs, size, channels], so that the inner loop runs over neighbours. */
function channelsLast(w, outs, channels) {
  const size = w.length / outs / channels;
  const turned = new Float32Array(w.length);
  for (let o = 0; o < outs; o++)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < size; k++) turned[(o * size + k) * channels + c] = w[(o * channels + c) * size + k];
  return turned;
}

function conv1d(w) {
  const [w0, w1, w2] = [channelsLast(w.w0, 32, 16), channelsLast(w.w1, 32, 32), channelsLast(w.w2, 32, 32)];
  const [a, b] = [new Float32Array(50 * 32), new Float32Array(25 * 32)];
  return (x, at, out, out_at) => {
    convolve(w0, w.b0, x, at, 100, 16, a);
    convolve(w1, w.b1, a, 0, 50, 32, b);
    dense(w2, w.b2, b, 0, out, out_at);
    for (let i = out_at; i < out_at + 32; i++) out[i] = Math.tanh(out[i]);
  };
}

function gru(w) {
  const [steps, width, hidden] = [20, 16, 64];
  const [wb, rb] = [w.b.subarray(0, 192), w.b.subarray(192)];
  const [h, x_gates, h_gates] = [new Float32Array(hidden), new Float32Array(192), new Float32Array(192)];
  return (x, at, out, out_at) => {
    h.fill(0);
    for (let t = 0; t < steps; t++) {
      dense(w.w, wb, x, at + t * width, x_gates, 0);
      dense(w.r, rb, h, 0, h_gates, 0);
      for (let i = 0; i < hidden; i++) {
        const z = sigmoid(x_gates[i] + h_gates[i]);
        const r = sigmoid(x_gates[64 + i] + h_gates[64 + i]);
        h[i] = (1 - z) * Math.tanh(x_gates[128 + i] + r * h_gates[128 + i]) + z * h[i];
      }
    }
    dense(w.w1, w.b1, h, 0, out, out_at);
    softmax(out, out_at, 5);
  };
}
