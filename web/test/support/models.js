// What the models of tests/fixtures/models.py compute, in plain JavaScript. Weights are eighths: every sum is exact.

const weight = (i) => (((7 * i) % 11) - 5) / 8;

/** Rows of inputs in eighths, the same on every run. */
export function rowsOf(width, count) {
  return Float32Array.from({ length: width * count }, (_, i) => (((13 * i) % 29) - 14) / 8);
}

export function dense(row) {
  const hidden = [0, 1, 2].map((j) => Math.max(0, weight(j) + row.reduce((sum, x, i) => sum + x * weight(3 * i + j), 0)));
  return [0, 1].map((k) => hidden.reduce((sum, h, j) => sum + h * weight(2 * j + k), 0));
}

export function conv(row) {
  return Array.from({ length: 12 }, (_, at) => {
    const [out, x] = [Math.floor(at / 4), at % 4];
    let sum = 0;
    for (let channel = 0; channel < 2; channel++) {
      for (let k = 0; k < 3; k++) sum += row[6 * channel + x + k] * weight(6 * out + 3 * channel + k);
    }
    return sum;
  });
}

/** The answers for many rows, one after the other. */
export function answers(model, rows, width) {
  return Array.from({ length: rows.length / width }, (_, i) => model(rows.subarray(i * width, (i + 1) * width))).flat();
}
