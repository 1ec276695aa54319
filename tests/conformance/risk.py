"""ROC AUC, average precision and precision-recall curves of made-up rows, and mean path lengths of isolation trees, by scikit-learn.

    pip install -r requirements-risk.txt
    python risk.py > risk.json

training/models/src/risk/tests.rs holds ours against the file, to 1e-9.
"""

import json

import numpy
from sklearn.ensemble._iforest import _average_path_length
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

random = numpy.random.default_rng(20_261_129)


def case(name, rows, share, digits):
    fraud = random.uniform(size=rows) < share
    # Both kinds, whatever was drawn.
    fraud[:2] = [True, False]
    scores = (random.standard_normal(rows) + 1.2 * fraud).round(digits)
    times = random.poisson(1.0, rows).astype(float)
    times[:2] = 1
    precision, recall, thresholds = precision_recall_curve(fraud, scores)
    assert len(thresholds) == len(numpy.unique(scores))
    numbers = lambda x: [float(number) for number in x]
    return {
        "name": name,
        "scores": numbers(scores),
        "fraud": [bool(one) for one in fraud],
        "times": numbers(times),
        "auc": float(roc_auc_score(fraud, scores)),
        "average_precision": float(average_precision_score(fraud, scores)),
        "weighted_auc": float(roc_auc_score(fraud, scores, sample_weight=times)),
        "weighted_average_precision": float(average_precision_score(fraud, scores, sample_weight=times)),
        # From the highest score on, without the point of no row.
        "precision": numbers(precision[:-1][::-1]),
        "recall": numbers(recall[:-1][::-1]),
    }


curves = [
    case("no ties", 60, 0.3, 12),
    case("some ties", 60, 0.3, 1),
    case("many ties", 60, 0.3, 0),
    case("few frauds", 80, 0.05, 12),
    case("few frauds and ties", 80, 0.05, 0),
    case("mostly frauds", 40, 0.9, 1),
]
rows = [1, 2, 3, 10, 255, 256, 100_000]
paths = [[n, float(c)] for n, c in zip(rows, _average_path_length(numpy.array(rows)))]
print(json.dumps({"curves": curves, "paths": paths}))
