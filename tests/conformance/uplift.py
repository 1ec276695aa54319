"""Qini and uplift curves of made-up rows, by scikit-uplift and, where it has no say, by their definition in NumPy.

    pip install -r requirements-uplift.txt
    python uplift.py > uplift.json

scikit-uplift knows outcomes of 0 and 1 and one chance for all; money and chances of their own follow the words of
training/models/src/uplift/qini.rs, each point from all rows anew. training/models/src/uplift/tests.rs holds ours against the file.
"""

import json

import numpy
from sklift.metrics import qini_curve, uplift_curve

random = numpy.random.default_rng(20_260_201)


def made_up(rows, ties):
    score = random.standard_normal(rows).round(ties)
    chance = random.uniform(0.2, 0.8, rows)
    treated = random.uniform(size=rows) < chance
    bought = random.uniform(size=rows) < 0.3 + 0.1 * score * treated
    return score, treated, bought.astype(int), chance


def defined(score, treated, outcome, chance):
    weight, rows = 1 / chance, len(score)
    points = [(0.0, 0.0, 0.0)]
    for level in numpy.unique(score)[::-1]:
        first = score >= level
        (n1, r1), (n0, r0) = (
            (weight[first & side].sum(), (weight * outcome)[first & side].sum()) for side in (treated, ~treated)
        )
        share = first.sum() / rows
        qini = (r1 - (r0 * n1 / n0 if n0 else 0)) / rows
        points.append((share, qini, ((r1 / n1 if n1 else 0) - (r0 / n0 if n0 else 0)) * share))
    return numpy.array(points).T


def case(source, score, treated, outcome, chance, share, qini, uplift):
    numbers = lambda x: [float(number) for number in x]
    return {
        "source": source,
        "scores": numbers(score),
        "treated": [bool(one) for one in treated],
        "outcome": numbers(outcome),
        "chance": numbers(chance),
        "share": numbers(share),
        "qini": numbers(qini),
        "uplift": numbers(uplift),
        "coefficient": float(numpy.trapezoid(qini, share) - qini[-1] / 2),
        "auuc": float(numpy.trapezoid(uplift, share)),
    }


cases = []
for ties in (8, 1, 0):
    score, treated, bought, _ = made_up(60, ties)
    half = numpy.full(60, 0.5)
    first, qini = qini_curve(bought, score, treated.astype(int))
    _, uplift = uplift_curve(bought, score, treated.astype(int))
    shares = (first / 60, qini / (60 * 0.5), uplift / 60)
    cases.append(case("scikit-uplift", score, treated, bought, half, *shares))
    # What both can say, they say alike.
    assert numpy.allclose(defined(score, treated, bought, half), shares, rtol=0, atol=1e-12)
for ties in (8, 1):
    score, treated, bought, chance = made_up(60, ties)
    money = (bought * random.lognormal(2, 0.5, 60)).round(2)
    done = numpy.where(treated, chance, 1 - chance)
    cases.append(case("definition", score, treated, money, done, *defined(score, treated, money, done)))

print(json.dumps(cases))
