"""scikit-learn, LightGBM and mord in `cargo xtask bench --training`: training.py FOLDER THREADS.

Answers each line `SET MODEL PEER FILE` with the nanoseconds that one fit took and what it chose, and writes the
probabilities of the rows held out into the file. A model is fitted as often, to as many rows, as ours is: a penalty is
chosen from the same numbers on a fifth of the members, then all rows are used.
"""

import json
import sys
import warnings
from pathlib import Path
from time import perf_counter_ns

import lightgbm
import mord
import numpy as np
import sklearn
from scipy.special import softmax
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

warnings.filterwarnings("ignore")  # a network that is told how many epochs to do has not "converged"

PENALTIES = [1e-4, 1e-3, 1e-2, 3e-2]
RIDGE_PENALTIES = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0]
MOST_COMPARED = 20_000
ROUNDS, EPOCHS = 100, 10


class Set:
    """One set of rows, in the shapes that a Python user would have them in."""

    def __init__(self, folder):
        sizes = json.loads((folder / "set.json").read_text())
        self.tiers, self.thresholds = sizes["tiers"], np.array(sizes["thresholds"][1:], float)
        read = lambda name, kind: np.fromfile(folder / name, kind)
        self.dense, self.held_dense = (read(f"{n}.dense", np.float32).reshape(-1, sizes["dense"]) for n in ("train", "held"))
        self.plain, self.held_plain = (read(f"{n}.plain", np.float32).reshape(-1, sizes["plain"]) for n in ("train", "held"))
        self.tier = read("train.tier", np.uint8).astype(np.int64)
        self.root = np.sqrt(np.maximum(read("train.spend", np.int64), 0).astype(float))
        self.draw = (read("train.member", np.uint32).astype(np.uint64) * 2654435761 % 2**32) / 2**32

    def part(self, share, most=None):
        """Places of the rows of about that share of the members, and of the others."""
        rows = np.flatnonzero(self.draw < most / len(self.draw)) if most and len(self.draw) > most else np.arange(len(self.draw))
        aside = self.draw[rows] / self.draw[rows].max() < share
        return rows[aside], rows[~aside]


def whole(set, probabilities, classes):
    """Columns for the tiers that no training row has."""
    all = np.full((len(probabilities), set.tiers), 1e-6)
    all[:, np.asarray(classes, int) - 1] = probabilities
    return all


def within(mean, spread, cuts):
    """The chances of a normal distribution between cuts."""
    reached = norm.cdf((cuts - mean[:, None]) / spread)
    return np.diff(np.hstack([np.zeros((len(mean), 1)), reached, np.ones((len(mean), 1))]), axis=1)


def choose(set, make, loss):
    """The penalty with the least loss on members aside, the strongest first, so that a warm start is near."""
    aside, inner = set.part(0.2, MOST_COMPARED)
    model, tried = None, []
    for penalty in reversed(PENALTIES):
        model = make(model, penalty, len(inner)).fit(set.dense[inner], set.tier[inner])
        tried.append((loss(model, set.dense[aside], set.tier[aside]), penalty))
    penalty = min(tried)[1]
    return make(model, penalty, len(set.dense)).fit(set.dense, set.tier), penalty


def linear(set):
    make = lambda _, penalty, n: Ridge(alpha=penalty * n)
    model, penalty = choose(set, make, lambda m, x, y: np.mean((m.predict(x) - y) ** 2))
    spread = np.std(set.tier - model.predict(set.dense))
    return lambda: within(model.predict(set.held_dense), spread, np.arange(1, set.tiers) + 0.5), penalty


def ridge(set):
    fold = np.minimum((set.draw * 5).astype(int), 4)
    errors = np.zeros(len(RIDGE_PENALTIES))
    for k in range(5):
        x, y, xk, yk = set.dense[fold != k], set.root[fold != k], set.dense[fold == k], set.root[fold == k]
        for at, penalty in enumerate(RIDGE_PENALTIES):
            errors[at] += np.sum((Ridge(alpha=penalty * len(x)).fit(x, y).predict(xk) - yk) ** 2)
    penalty = RIDGE_PENALTIES[np.argmin(errors)]
    model, spread = Ridge(alpha=penalty * len(set.dense)).fit(set.dense, set.root), np.sqrt(errors.min() / len(set.root))
    return lambda: within(model.predict(set.held_dense), spread, np.sqrt(set.thresholds)), penalty


def log_loss(model, x, y):
    p = model.predict_proba(x)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -np.mean(np.log(np.maximum(p, 1e-15)))


def logistic(set):
    def make(model, penalty, n):
        model = model or LogisticRegression(max_iter=1000, warm_start=True)
        return model.set_params(C=1 / (penalty * n))

    model, penalty = choose(set, make, log_loss)
    return lambda: whole(set, model.predict_proba(set.held_dense), model.classes_), penalty


def svm(set):
    def loss(model, x, y):
        sides = np.where(y[:, None] == model.classes_, 1, -1)
        return np.mean(np.maximum(0, 1 - sides * model.decision_function(x)) ** 2)

    make = lambda _, penalty, n: LinearSVC(C=1 / (2 * penalty * n), dual=False, max_iter=1000)
    model, penalty = choose(set, make, loss)
    return lambda: whole(set, softmax(model.decision_function(set.held_dense), axis=1), model.classes_), penalty


def ordinal(set):
    make = lambda _, penalty, n: mord.LogisticAT(alpha=penalty * n)
    model, penalty = choose(set, make, log_loss)
    return lambda: whole(set, model.predict_proba(set.held_dense), model.classes_), penalty


def hist(set, **more):
    return HistGradientBoostingClassifier(
        learning_rate=0.05, max_leaf_nodes=8, max_depth=4, l2_regularization=5, max_features=0.5, random_state=7, **more
    )


def boosting(set):
    model = hist(set, max_iter=ROUNDS, early_stopping=False).fit(set.plain, set.tier)
    return lambda: whole(set, model.predict_proba(set.held_plain), model.classes_), ROUNDS


def boosting_stopped(set):
    aside, inner = set.part(0.2)
    find = hist(set, max_iter=1000, early_stopping=True, n_iter_no_change=20, tol=1e-6)
    find.fit(set.plain[inner], set.tier[inner], X_val=set.plain[aside], y_val=set.tier[aside])
    rounds = max(1, int(np.argmax(find.validation_score_)))
    model = hist(set, max_iter=rounds, early_stopping=False).fit(set.plain, set.tier)
    return lambda: whole(set, model.predict_proba(set.held_plain), model.classes_), rounds


def light(set, threads):
    return {
        "objective": "multiclass", "num_class": set.tiers, "learning_rate": 0.05, "num_leaves": 8, "max_depth": 4,
        "min_sum_hessian_in_leaf": 5, "min_data_in_leaf": 1, "lambda_l2": 5, "feature_fraction": 0.5,
        "num_threads": threads, "seed": 7, "verbosity": -1,
    }  # fmt: skip


def light_boosting(set, threads):
    data = lightgbm.Dataset(set.plain, set.tier - 1)
    model = lightgbm.train(light(set, threads), data, ROUNDS)
    return lambda: model.predict(set.held_plain), ROUNDS


def light_boosting_stopped(set, threads):
    aside, inner = set.part(0.2)
    data = lightgbm.Dataset(set.plain[inner], set.tier[inner] - 1)
    judge = lightgbm.Dataset(set.plain[aside], set.tier[aside] - 1, reference=data)
    stop = lightgbm.early_stopping(20, verbose=False)
    rounds = lightgbm.train(light(set, threads), data, 1000, valid_sets=[judge], callbacks=[stop]).best_iteration
    model = lightgbm.train(light(set, threads), lightgbm.Dataset(set.plain, set.tier - 1), rounds)
    return lambda: model.predict(set.held_plain), rounds


def mlp(**more):
    return MLPClassifier((64, 32), batch_size=32, learning_rate_init=1e-3, random_state=7, **more)


def network(set):
    model = mlp(alpha=0, max_iter=EPOCHS, tol=0, n_iter_no_change=EPOCHS + 1).fit(set.dense, set.tier)
    return lambda: whole(set, model.predict_proba(set.held_dense), model.classes_), model.n_iter_


def network_stopped(set):
    model = mlp(early_stopping=True, validation_fraction=0.15, n_iter_no_change=5, tol=0, max_iter=60)
    model.fit(set.dense, set.tier)
    return lambda: whole(set, model.predict_proba(set.held_dense), model.classes_), model.n_iter_


def main(folder, threads):
    threads = int(threads)
    sets = {}
    versions = {"scikit-learn": sklearn.__version__, "LightGBM": lightgbm.__version__, "mord": mord.__version__}
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        name, model, peer, file = line.split()
        if name not in sets:
            sets = {name: Set(Path(folder) / name)}
        function, more = (f"light_{model}", [threads]) if peer == "LightGBM" else (model, [])
        before = perf_counter_ns()
        predict, chose = globals()[function.replace("-", "_")](sets[name], *more)
        time = perf_counter_ns() - before
        predict().astype(np.float32).tofile(file)
        print(json.dumps({"ns": time, "chose": chose}), flush=True)


main(*sys.argv[1:])
