"""
Anomalies, and a threshold to call them
=======================================

A map that was trained on what is normal has a score for everything else: the distance to the
best-matching unit. The score becomes an alarm by a threshold, and that can be chosen without
having seen a single anomaly: so that of normal samples, kept aside, one in twenty is above it.

The data are scikit-learn's breast cancer set, 357 benign tumors and 212 malignant ones, 30
features each. Detectors learn from half of the benign ones and nothing else, a quarter sets the
threshold, a quarter is tested together with the malignant ones. Ten random splits.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import AnomalyMapDisplay

N_SPLITS = 10
FALSE_ALARMS = 0.05  # as promised
N_UNNOTICED = 40

X, y = load_breast_cancer(return_X_y=True)
is_malignant = y == 0
detectors = {
    "map": lambda seed: TFSOM(),
    "map, u_height": lambda seed: TFSOM(),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "LocalOutlierFactor": lambda seed: LocalOutlierFactor(novelty=True),
}


def anomaly_scores(name, seed, rows):
    """Train a detector on some tumors, standardized by these, and score all: high is abnormal."""
    scaled = StandardScaler().fit(X[rows]).transform(X)
    detector = detectors[name](seed).fit(scaled[rows])
    options = {"method": "u_height"} if name == "map, u_height" else {}
    return -detector.score_samples(scaled, **options)


# %%
# All detectors are at their defaults. "u_height" is the map's other score, which adds how far the
# unit is from its neighbors: for anomalies that the map may have learnt. Hence the last column: 40
# malignant tumors have gone unnoticed into the training data.
TFSOM(2).fit(X)  # the first fit starts TensorFlow
measures = {name: [] for name in detectors}
shares = np.linspace(0, 1, 201)  # of false alarms, for the curves
curves = {name: [] for name in detectors}
for seed in range(N_SPLITS):
    rng = np.random.default_rng(seed)
    benign = rng.permutation(np.flatnonzero(~is_malignant))
    malignant = rng.permutation(np.flatnonzero(is_malignant))
    train, clean, rest = np.split(benign, [len(benign) // 2, 3 * len(benign) // 4])
    unnoticed, noticed = np.split(malignant, [N_UNNOTICED])
    test, test_noticed = np.concatenate([rest, malignant]), np.concatenate([rest, noticed])
    for name in detectors:
        start = time.perf_counter()
        scores = anomaly_scores(name, seed, train)
        seconds = time.perf_counter() - start
        threshold = np.quantile(scores[clean], 1 - FALSE_ALARMS)
        is_alarm = scores > threshold
        spoiled = anomaly_scores(name, seed, np.concatenate([train, unnoticed]))
        measures[name].append(
            (
                roc_auc_score(is_malignant[test], scores[test]),
                precision_score(is_malignant[test], is_alarm[test]),
                recall_score(is_malignant[test], is_alarm[test]),
                is_alarm[rest].mean(),
                seconds,
                roc_auc_score(is_malignant[test_noticed], spoiled[test_noticed]),
            )
        )
        false_alarms, found, _ = roc_curve(is_malignant[test], scores[test])
        curves[name].append(np.interp(shares, false_alarms, found))

print(f"Means over {N_SPLITS} splits; of the ROC-AUC also the standard deviation.\n")
print(
    f"{'':20}{'ROC-AUC':>15}{'precision':>11}{'recall':>8}{'false alarms':>14}{'seconds':>9}"
    f"{'ROC-AUC, 40 unnoticed':>23}"
)
for name, rows in measures.items():
    mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0)
    print(
        f"{name:20}{mean[0]:9.3f} ±{deviation[0]:.2f}{mean[1]:11.2f}{mean[2]:8.2f}{mean[3]:14.3f}"
        f"{mean[4]:9.3f}{mean[5]:17.3f} ±{deviation[5]:.2f}"
    )

# %%
# The picture: the mean curves, with a dot for the threshold of each split; and where the tumors
# tested in the last split lie on the map. Malignant ones do not lie just anywhere. And a promise
# made on 89 tumors is a rough one: the alarms stray around it, and are a little more on average.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12.5, 5.8), width_ratios=[1, 1.2], layout="constrained"
)
for color, name in (("C0", "map"), ("C1", "IsolationForest"), ("C2", "LocalOutlierFactor")):
    left.plot(shares, np.mean(curves[name], axis=0), color=color, label=name)
    _, _, recalls, false_alarms, *_ = np.transpose(measures[name])
    left.plot(false_alarms, recalls, "o", color=color, markersize=4, alpha=0.5)
left.axvline(FALSE_ALARMS, color="0.6", linestyle=":", zorder=0)
left.text(FALSE_ALARMS + 0.005, 0.02, f"promised: {FALSE_ALARMS:.0%} false alarms", color="0.4")
left.set(
    xlabel="false alarms, of benign tumors",
    ylabel="found, of malignant tumors",
    title=f"ROC curves, means of {N_SPLITS} splits; a dot for each threshold",
    xlim=(0, 0.4),
    ylim=(0, 1.01),
)
left.legend(loc="lower right")
scaled = StandardScaler().fit(X[train]).transform(X)
som = TFSOM().fit(scaled[train])
threshold = np.quantile(-som.score_samples(scaled[clean]), 1 - FALSE_ALARMS)
AnomalyMapDisplay.from_estimator(
    som, scaled[test], is_malignant[test], threshold=threshold, ax=right
)
_ = right.set_title(f"Tumors on the map; alarm above {threshold:.1f}", fontsize="large")

# %%
# **When not to use a map:** where a score is all that is wanted. The forest's is a little better
# here and needs no scaled features, and it suffers least if anomalies hide in the training data.
# What the map adds is the place: which anomalies are alike, and which normal samples are near.

# %%
# As a script this saves the picture; the gallery shows it.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "anomalies.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nThe picture: {path}")
