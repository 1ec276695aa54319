//! The cells against the standard's equations in double precision.

use std::vec;

use super::{
    super::{
        Kernel,
        trial::{Trial, noise},
    },
    *,
};

const INPUTS: usize = 3;
const HIDDEN: usize = 10;
const BATCH: usize = 2;

/// Buffers: x, out, last, last cell, scratch; first states (shared by all rows) are constants.
fn trial(cell: Cell, backwards: bool, steps: u32, more: bool) -> (Trial, Vec<f32>) {
    let gates = match cell {
        Cell::Gru { .. } => 3,
        Cell::Lstm => 4,
        Cell::Elman => 1,
    };
    let small = |n: usize, by: f32| noise(n).into_iter().map(|x| x * by).collect::<Vec<f32>>();
    let (w, r) = (small(gates * HIDDEN * INPUTS, 0.2), small(gates * HIDDEN * HIDDEN, 0.1));
    let (b, peep, first) =
        (small(2 * gates * HIDDEN, 0.3), small(3 * HIDDEN, 0.4), small(4 * BATCH * HIDDEN, 0.2));
    let mut floats = Vec::new();
    let mut put = |values: &[f32]| {
        floats.extend_from_slice(values);
        (floats.len() - values.len()) as u32
    };
    let lstm = cell == Cell::Lstm;
    let kernel = Recurrent {
        cell,
        backwards,
        x: 0,
        out: Some(1),
        last: Some(2),
        last_cell: lstm.then_some(3),
        direction: 1,
        directions: 2,
        steps,
        batch: BATCH as u32,
        inputs: INPUTS as u32,
        hidden: HIDDEN as u32,
        weights: put(&pack_gates(&w, gates, HIDDEN, INPUTS)),
        recurrence: put(&pack_gates(&r, gates, HIDDEN, HIDDEN)),
        bias: put(&pack_bias(&b, gates, HIDDEN)),
        peepholes: (more && lstm).then(|| put(&peep)),
        first: more.then(|| Operand::Const(put(&first[..2 * BATCH * HIDDEN]))),
        first_cell: (more && lstm).then(|| Operand::Const(put(&first[2 * BATCH * HIDDEN..]))),
        scratch: 4,
    };
    let state = (2 * BATCH * HIDDEN) as u32;
    let scratch = Recurrent::scratch_len(gates as u32, steps, BATCH as u32, HIDDEN as u32);
    let made = vec![steps * state, state, state, scratch];
    let fed = vec![steps * (BATCH * INPUTS) as u32];
    (Trial { kernel: Kernel::Recurrent(kernel), floats, fed, made }, [w, r, b, peep, first].concat())
}

/// One sequence as the standard writes it, in double precision: hidden states by time, and the last cell state.
fn plain(cell: Cell, x: &[Vec<f64>], all: &[f32], more: bool, sequence: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let gates = all.len();
    let gates = (1..=4)
        .find(|g| g * HIDDEN * (INPUTS + HIDDEN + 2) + 3 * HIDDEN + 4 * BATCH * HIDDEN == gates)
        .unwrap();
    let all: Vec<f64> = all.iter().map(|x| f64::from(*x)).collect();
    let (w, rest) = all.split_at(gates * HIDDEN * INPUTS);
    let (r, rest) = rest.split_at(gates * HIDDEN * HIDDEN);
    let (b, rest) = rest.split_at(2 * gates * HIDDEN);
    let (peep, first) = rest.split_at(3 * HIDDEN);
    let start = |kind: usize| {
        let at = (kind * 2 + 1) * BATCH * HIDDEN + sequence * HIDDEN;
        if more { first[at..at + HIDDEN].to_vec() } else { vec![0.0; HIDDEN] }
    };
    let (mut h, mut c) = (start(0), start(1));
    let peep: Vec<f64> = if more { peep.to_vec() } else { vec![0.0; 3 * HIDDEN] };
    let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
    let input = |x: &[f64], g: usize, j: usize| {
        let at = g * HIDDEN + j;
        (0..INPUTS).map(|k| x[k] * w[at * INPUTS + k]).sum::<f64>() + b[at]
    };
    let back = |h: &[f64], g: usize, j: usize| {
        let at = g * HIDDEN + j;
        (0..HIDDEN).map(|k| h[k] * r[at * HIDDEN + k]).sum::<f64>() + b[gates * HIDDEN + at]
    };
    let mut states = Vec::new();
    for x in x {
        let old = h.clone();
        let reset: Vec<f64> = match cell {
            Cell::Gru { .. } => (0..HIDDEN).map(|j| sigmoid(input(x, 1, j) + back(&old, 1, j))).collect(),
            _ => vec![],
        };
        for j in 0..HIDDEN {
            let gate = |g: usize| input(x, g, j) + back(&old, g, j);
            h[j] = match cell {
                Cell::Elman => libm::tanh(gate(0)),
                Cell::Gru { linear_before_reset } => {
                    let z = sigmoid(gate(0));
                    let candidate = if linear_before_reset {
                        input(x, 2, j) + reset[j] * back(&old, 2, j)
                    } else {
                        let shut: Vec<f64> = old.iter().zip(&reset).map(|(h, r)| h * r).collect();
                        input(x, 2, j) + back(&shut, 2, j)
                    };
                    (1.0 - z) * libm::tanh(candidate) + z * old[j]
                }
                Cell::Lstm => {
                    let i = sigmoid(gate(0) + peep[j] * c[j]);
                    let f = sigmoid(gate(2) + peep[2 * HIDDEN + j] * c[j]);
                    c[j] = f * c[j] + i * libm::tanh(gate(3));
                    sigmoid(gate(1) + peep[HIDDEN + j] * c[j]) * libm::tanh(c[j])
                }
            };
        }
        states.push(h.clone());
    }
    (states, c)
}

fn compare(cell: Cell, backwards: bool, steps: usize, more: bool, rows: usize) {
    let (trial, all) = trial(cell, backwards, steps as u32, more);
    let x = noise(rows * steps * BATCH * INPUTS);
    let [out, last, last_cell] = [1, 2, 3].map(|slot| trial.run(rows, &[&x], slot));
    for (row, sequence) in (0..rows).flat_map(|row| (0..BATCH).map(move |b| (row, b))) {
        let mut xs: Vec<Vec<f64>> = (0..steps)
            .map(|t| ((row * steps + t) * BATCH + sequence) * INPUTS)
            .map(|at| x[at..at + INPUTS].iter().map(|x| f64::from(*x)).collect())
            .collect();
        if backwards {
            xs.reverse();
        }
        let (mut states, last_c) = plain(cell, &xs, &all, more, sequence);
        let close = |ours: &[f32], at: usize, exact: &[f64]| {
            let pairs = ours[at * HIDDEN..][..HIDDEN].iter().zip(exact);
            assert!(pairs.into_iter().all(|(a, b)| (f64::from(*a) - b).abs() < 2e-6), "{cell:?}");
        };
        let at = (row * 2 + 1) * BATCH + sequence;
        close(&last, at, states.last().unwrap());
        if cell == Cell::Lstm {
            close(&last_cell, at, &last_c);
        }
        if backwards {
            states.reverse();
        }
        for (t, state) in states.iter().enumerate() {
            close(&out, ((row * steps + t) * 2 + 1) * BATCH + sequence, state);
        }
    }
}

#[test]
fn cells_are_those_of_the_standard() {
    let gru = [true, false].map(|linear_before_reset| Cell::Gru { linear_before_reset });
    for cell in [gru[0], gru[1], Cell::Lstm, Cell::Elman] {
        for (backwards, more) in [(false, false), (true, false), (false, true), (true, true)] {
            for (steps, rows) in [(1, 1), (4, 3), (6, 2), (9, 5), (2, 33)] {
                compare(cell, backwards, steps, more, rows);
            }
        }
    }
}

#[test]
fn what_would_reach_out_of_buffers_is_refused() {
    let accepts = |change: fn(&mut Recurrent)| {
        let (mut trial, _) = trial(Cell::Lstm, false, 6, true);
        if let Kernel::Recurrent(kernel) = &mut trial.kernel {
            change(kernel);
        }
        trial.plan().is_ok()
    };
    assert!(accepts(|_| ()));
    let wrong: [fn(&mut Recurrent); 15] = [
        |k| k.cell = Cell::Elman,
        |k| k.direction = 2,
        |k| k.directions = 3,
        |k| k.steps = 7,
        |k| k.steps = 0,
        |k| k.steps = u32::MAX,
        |k| k.batch = u32::MAX,
        |k| k.hidden = u32::MAX,
        |k| k.hidden = 17,
        |k| k.inputs = 0,
        |k| k.bias = u32::MAX,
        |k| k.peepholes = Some(u32::MAX),
        |k| k.scratch = 3,
        |k| k.last = Some(1),
        |k| k.first = Some(Operand::Slot(2)),
    ];
    assert!(wrong.into_iter().all(|change| !accepts(change)));
}
