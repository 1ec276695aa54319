"""Alternating least squares, ours and implicit's in turns, on the same matrices and threads.

Usage: factors.py PROGRAM CACHE [TURNS]

PROGRAM is `factors` of tiercast-tests (feature `training`). CACHE holds the data: complete-journey/ as `tiercast data fetch`
leaves it, and ml-100k/ml-100k.inter of recbole's examples. One purchase, or film, of each member is held out, the latest;
NDCG@10 is of it among all that the member does not have.
"""

import os
import subprocess
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks for
import implicit
import numpy
import pandas
import scipy.sparse

THREADS, FACTORS, ITERATIONS, ALPHA = 2, 64, 15, 10.0


def complete_journey(cache):
    lines = pandas.read_parquet(f"{cache}/complete-journey/transactions.parquet", columns=["household_id", "product_id", "transaction_timestamp"])
    return lines.set_axis(["row", "column", "time"], axis=1)


def movielens(cache):
    lines = pandas.read_csv(f"{cache}/ml-100k/ml-100k.inter", sep="\t")
    return lines.iloc[:, [0, 1, 3]].set_axis(["row", "column", "time"], axis=1)


def split(lines):
    """A matrix of counts without each row's latest new column, and those columns."""
    lines = lines.assign(row=pandas.factorize(lines.row)[0], column=pandas.factorize(lines.column)[0])
    shape = (lines.row.max() + 1, lines.column.max() + 1)
    pairs = lines.groupby(["row", "column"]).agg(count=("time", "size"), first=("time", "min")).reset_index()
    held = pairs.sort_values(["first", "column"]).groupby("row").tail(1)
    rest = pairs.drop(held.index)
    values = ALPHA * numpy.log1p(rest["count"].to_numpy(numpy.float32))
    return scipy.sparse.csr_matrix((values, (rest.row, rest.column)), shape), dict(zip(held.row, held.column))


def ndcg(matrix, held, rows, columns):
    gains = 0.0
    for row, column in held.items():
        scores = columns @ rows[row]
        scores[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] = -numpy.inf
        # What scores as much comes before: a vector of zeros is no answer.
        rank = int((scores >= scores[column]).sum()) - 1
        gains += 1 / numpy.log2(rank + 2) if rank < 10 else 0.0
    return gains / len(held)


def theirs(matrix, seed):
    # implicit takes confidences, ours what they are above one.
    confidences = matrix.copy()
    confidences.data += 1
    model = implicit.als.AlternatingLeastSquares(
        factors=FACTORS, iterations=ITERATIONS, regularization=1.0, alpha=1.0, num_threads=THREADS, random_state=seed
    )
    start = time.perf_counter()
    model.fit(confidences, show_progress=False)
    return time.perf_counter() - start, model.user_factors, model.item_factors


def main(program, cache, turns=5):
    print(f"implicit {implicit.__version__}, {FACTORS} factors, {ITERATIONS} iterations, {THREADS} threads, {turns} turns")
    for name, read in [("MovieLens-100k", movielens), ("Complete Journey", complete_journey)]:
        matrix, held = split(read(cache))
        with tempfile.TemporaryDirectory() as folder:
            path, out = f"{folder}/matrix", f"{folder}/out"
            entries = matrix.tocoo()
            numpy.savetxt(path, numpy.column_stack([entries.row, entries.col, entries.data]), fmt="%d %d %.7g",
                          header=f"{matrix.shape[0]} {matrix.shape[1]}", comments="")
            ours = subprocess.Popen([program, path, str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            ratios, times, quality = [], [], ([], [])
            for seed in range(turns + 1):
                ours.stdin.write(f"{FACTORS} {ITERATIONS} {seed} {out}\n")
                ours.stdin.flush()
                our_time = int(ours.stdout.readline()) / 1e9
                both = numpy.fromfile(out, numpy.float32).reshape(-1, FACTORS)
                their_time, users, items = theirs(matrix, seed)
                ratios.append(their_time / our_time)
                times.append((our_time, their_time))
                quality[0].append(ndcg(matrix, held, both[: matrix.shape[0]], both[matrix.shape[0] :]))
                quality[1].append(ndcg(matrix, held, users, items))
            ours.stdin.close()
            ours.wait()
        # The first turn warms caches up.
        ratios, times = ratios[1:], numpy.median(times[1:], axis=0)
        print(
            f"{name}: {matrix.shape[0]:,} × {matrix.shape[1]:,}, {matrix.nnz:,} entries; implicit's time / ours "
            f"{numpy.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}), {times[1]:.2f} s / {times[0]:.2f} s; "
            f"NDCG@10 ours {numpy.mean(quality[0]):.4f}, implicit {numpy.mean(quality[1]):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
