//! Ours in `tests/bench/factors.py`: alternating least squares on a matrix, on request.
//!
//! `factors MATRIX THREADS` reads a line `rows columns` and lines `row column value`, then answers each line on standard input,
//! `FACTORS ITERATIONS SEED FILE`, with the nanoseconds that one fit took, and writes the vectors of the rows and then of the columns into the file.

use std::{
    env, fs,
    io::{BufRead, Write},
    time::Instant,
};

use anyhow::{Context, Result};
use tiercast::models::{
    recommend::{Sparse, als},
    threads,
};

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [path, cores] = args.as_slice() else { anyhow::bail!("factors MATRIX THREADS") };
    let (text, cores) = (fs::read_to_string(path)?, cores.parse()?);
    let mut lines = text.lines();
    let (height, width) = lines.next().and_then(|line| line.split_once(' ')).context("there are no sizes")?;
    let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); height.parse()?];
    for line in lines {
        let mut fields = line.split(' ');
        let mut next = || fields.next().context("a line has three fields");
        let (row, column, value): (usize, u32, f32) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
        rows[row].push((column, value));
    }
    rows.iter_mut().for_each(|row| row.sort_unstable_by_key(|(column, _)| *column));
    let matrix = Sparse::of(rows, width.parse()?);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let fields: Vec<&str> = line.split(' ').collect();
        let [factors, iterations, seed, file] = fields.as_slice() else {
            anyhow::bail!("FACTORS ITERATIONS SEED FILE")
        };
        let seed = seed.parse()?;
        let params = als::Params {
            factors: factors.parse()?,
            iterations: iterations.parse()?,
            l2: 1.0,
            // The values are confidences less one already.
            alpha: 1.0,
            steps: 3,
        };
        let start = Instant::now();
        let found = threads::allow(cores, || als::fit(&matrix, &params, seed));
        let took = start.elapsed().as_nanos();
        let bytes =
            found.rows.iter().chain(&found.columns).flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        fs::write(file, bytes)?;
        println!("{took}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
