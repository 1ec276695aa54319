// TensorFlow.js: its core and wasm backend (the smallest set that scores), SIMD, one thread. It has no tree operator.
import * as tf from "@tensorflow/tfjs-core";
import * as wasm from "@tensorflow/tfjs-backend-wasm";

export const name = "tfjs";

const WASM = "/tests/bench/node_modules/@tensorflow/tfjs-backend-wasm/dist/";

export async function load(assets, model) {
  const build = { mlp, conv1d, gru }[model];
  if (!build) return undefined;
  wasm.setThreadsCount(1);
  if (assets.browser) wasm.setWasmPaths(WASM);
  if (!(await tf.setBackend("wasm"))) throw new Error("tfjs did not start its wasm backend");
  const { weights } = await assets.json(`${model}.json`);
  const w = Object.fromEntries(
    Object.entries(weights).map(([key, { shape, data }]) => [key, tf.tensor(data, shape, "float32")]),
  );
  const score = build(w);
  const many = (rows, count) =>
    tf.tidy(() => score(tf.tensor(rows, [count, rows.length / count], "float32"), count).dataSync());
  return { one: (row) => many(row, 1), many, sync: true };
}

// With `transposeB` this backend's fused kernel gives wrong numbers (4.22.0), so matrices are turned once, at load.
const dense = (x, w, bias, activation) => tf.fused.matMul({ a: x, b: w, bias, activation });

function mlp(w) {
  const [w0, w1, w2] = [w.w0, w.w1, w.w2].map((x) => tf.transpose(x));
  return (x) => {
    const a = dense(x, w0, w.b0, "relu");
    const b = dense(a, w1, w.b1, "relu");
    return tf.softmax(dense(b, w2, w.b2, "linear"));
  };
}

function conv1d(w) {
  const filter = (x) => tf.expandDims(tf.transpose(x, [2, 1, 0]), 0);
  const [f0, f1] = [filter(w.w0), filter(w.w1)];
  // The model flattens channels first; these activations are channels last.
  const w2 = tf.reshape(tf.transpose(tf.reshape(w.w2, [32, 32, 25]), [2, 1, 0]), [800, 32]);
  const layer = (x, filter, bias) =>
    tf.maxPool(
      tf.fused.conv2d({ x, filter, strides: 1, pad: "same", bias, activation: "relu" }),
      [1, 2],
      [1, 2],
      "valid",
    );
  return (x, n) => {
    const a = layer(tf.reshape(x, [n, 1, 100, 16]), f0, w.b0);
    const b = layer(a, f1, w.b1);
    return tf.tanh(dense(tf.reshape(b, [n, 800]), w2, w.b2, "linear"));
  };
}

function gru(w) {
  const [wb, rb] = tf.split(w.b, 2);
  const [wx, wh, w1] = [w.w, w.r, w.w1].map((x) => tf.transpose(x));
  return (x, n) => {
    const all = tf.reshape(dense(tf.reshape(x, [n * 20, 16]), wx, wb, "linear"), [n, 20, 192]);
    let h = tf.zeros([n, 64]);
    for (const step of tf.unstack(all, 1)) {
      const [xz, xr, xh] = tf.split(step, 3, 1);
      const [hz, hr, hh] = tf.split(dense(h, wh, rb, "linear"), 3, 1);
      const z = tf.sigmoid(tf.add(xz, hz));
      const next = tf.tanh(tf.add(xh, tf.mul(tf.sigmoid(tf.add(xr, hr)), hh)));
      h = tf.add(next, tf.mul(z, tf.sub(h, next)));
    }
    return tf.softmax(dense(h, w1, w.b1, "linear"));
  };
}
