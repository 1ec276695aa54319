"""scikit-learn on the card frauds that `tiercast data fetch ulb` brings, and ours beside it, on the same split.

Usage: risk.py PROGRAM CREDITCARD_CSV [SEEDS]

PROGRAM is `tiercast`. The last 20 % of the rows by time judge. scikit-learn's supervised models learn from all rows before, with the
settings that are usual for it; nothing of it was searched. Both isolation forests are grown with SEEDS seeds (5).
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROGRAM, TABLE = sys.argv[1:3]
SEEDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5


def split():
    rows = pandas.read_csv(TABLE).sort_values("Time", kind="stable")
    cut = int(len(rows) * 0.8)
    inputs = rows.drop(columns=["Time", "Class"]).astype("float32")
    fraud = rows["Class"].astype(int)
    test = inputs[cut:]
    # As ours does: rows with exactly the inputs of one that was learned from do not judge.
    seen = set(map(bytes, numpy.ascontiguousarray(inputs[:cut].to_numpy()) + numpy.float32(0)))
    fresh = [bytes(row) not in seen for row in numpy.ascontiguousarray(test.to_numpy()) + numpy.float32(0)]
    return inputs[:cut], fraud[:cut], test[fresh], fraud[cut:][fresh], fraud[cut:].sum()


def say(name, fraud, scores):
    found = average_precision_score(fraud, scores), roc_auc_score(fraud, scores)
    print(f"{name:<44} AP {found[0]:.4f}  AUC {found[1]:.4f}", flush=True)
    return found


def ours(seed):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "risk.json"
        options = ["--label", "Class", "--time", "Time", "--amount", "Amount", "--rounds", "200", "--seed", str(seed), "--json", path]
        subprocess.run([PROGRAM, "risk", "evaluate", TABLE, *options], check=True, capture_output=True)
        return json.loads(path.read_text())


train, train_fraud, test, fraud, all_frauds = split()
print(f"{len(train)} rows to learn from, {len(test)} judge with {fraud.sum()} of the test's {all_frauds} frauds")
linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, train_fraud)
say("scikit-learn, logistic regression", fraud, linear.decision_function(test))
boosted = HistGradientBoostingClassifier(random_state=0).fit(train, train_fraud)
say("scikit-learn, HistGradientBoosting", fraud, boosted.predict_proba(test)[:, 1])
for trees in (100, 400):
    figures = []
    for seed in range(SEEDS):
        forest = IsolationForest(n_estimators=trees, max_samples=256, random_state=seed, n_jobs=-1).fit(train)
        figures.append(say(f"scikit-learn, isolation forest, {trees} trees, seed {seed}", fraud, -forest.score_samples(test)))
    print("  mean AP {:.4f}, AUC {:.4f}".format(*numpy.mean(figures, axis=0)))
means = {}
for seed in range(SEEDS):
    report = ours(seed)
    assert report["test"]["rows"] == len(test) and report["test"]["frauds"] == fraud.sum()
    for model in report["models"]:
        figures = [model["figures"][which]["value"] for which in ("averagePrecision", "auc", "recall")]
        means.setdefault(model["title"], []).append(figures)
    print(f"ours, seed {seed}: {report['chosen']} chosen")
for title, figures in means.items():
    print("ours, {:<38} AP {:.4f}  AUC {:.4f}  recall {:.4f}  (AP {:.4f} to {:.4f})".format(
        title, *numpy.mean(figures, axis=0), min(f[0] for f in figures), max(f[0] for f in figures)))
