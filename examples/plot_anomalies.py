"""
Anomaly detection with a threshold
==================================

A map trained on normal samples detects anomalies by their distance to the best-matching unit. A
threshold for this score can be chosen without any known anomalies, for example such that 5 % of
held-out normal samples exceed it.

The data are scikit-learn's breast cancer data set with 357 benign and 212 malignant tumors and 30
features. Each detector is trained on half of the benign tumors. A quarter of the benign tumors is
used to choose the threshold, and the remaining quarter is used for testing together with the
malignant tumors. All results are means over ten random splits.
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
FALSE_POSITIVE_RATE = 0.05  # nominal rate, sets the threshold
N_CONTAMINATING = 40

X, y = load_breast_cancer(return_X_y=True)
is_malignant = y == 0
detectors = {
    "map": lambda seed: TFSOM(anomaly_score="distance"),
    "map, isolation": lambda seed: TFSOM(),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "LocalOutlierFactor": lambda seed: LocalOutlierFactor(novelty=True),
}


def anomaly_scores(name, seed, train):
    """Fit a scaler and a detector on some tumors, and score all; higher is more abnormal."""
    scaled = StandardScaler().fit(X[train]).transform(X)
    detector = detectors[name](seed).fit(scaled[train])
    return -detector.score_samples(scaled)


# %%
# All detectors use their default parameters, except novelty detection for LocalOutlierFactor.
# "isolation", the default score of the map, is the mean distance of the unit to the nearest units
# that hold a tenth of the samples, plus a quarter of the distance of the sample to its unit. It is
# intended for training data that contain anomalies. The last column therefore shows the result if
# 40 malignant tumors are part of the training data.
TFSOM(2).fit(X)  # the first fit imports modules
measures = {name: [] for name in detectors}
grid = np.linspace(0, 1, 201)  # false positive rates of the ROC curves
curves = {name: [] for name in detectors}
for seed in range(N_SPLITS):
    rng = np.random.default_rng(seed)
    benign = rng.permutation(np.flatnonzero(~is_malignant))
    malignant = rng.permutation(np.flatnonzero(is_malignant))
    train, validation, benign_test = np.split(benign, [len(benign) // 2, 3 * len(benign) // 4])
    contaminating, malignant_test = np.split(malignant, [N_CONTAMINATING])
    test = np.concatenate([benign_test, malignant])
    contaminated_train = np.concatenate([train, contaminating])
    contaminated_test = np.concatenate([benign_test, malignant_test])
    for name in detectors:
        start = time.perf_counter()
        scores = anomaly_scores(name, seed, train)
        seconds = time.perf_counter() - start
        threshold = np.quantile(scores[validation], 1 - FALSE_POSITIVE_RATE)
        is_detected = scores > threshold
        contaminated_scores = anomaly_scores(name, seed, contaminated_train)
        measures[name].append(
            (
                roc_auc_score(is_malignant[test], scores[test]),
                precision_score(is_malignant[test], is_detected[test]),
                recall_score(is_malignant[test], is_detected[test]),
                is_detected[benign_test].mean(),
                seconds,
                roc_auc_score(
                    is_malignant[contaminated_test], contaminated_scores[contaminated_test]
                ),
            )
        )
        false_positive_rate, recall, _ = roc_curve(is_malignant[test], scores[test])
        curves[name].append(np.interp(grid, false_positive_rate, recall))

print(f"Means over {N_SPLITS} splits, and standard deviations of the ROC AUC.\n")
print(
    f"{'':20}{'ROC AUC':>15}{'precision':>11}{'recall':>8}{'false positives':>17}{'seconds':>9}"
    f"{'ROC AUC, contaminated':>23}"
)
for name, rows in measures.items():
    mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0)
    print(
        f"{name:20}{mean[0]:9.3f} ±{deviation[0]:.2f}{mean[1]:11.2f}{mean[2]:8.2f}{mean[3]:17.3f}"
        f"{mean[4]:9.3f}{mean[5]:17.3f} ±{deviation[5]:.2f}"
    )

# %%
# The left plot shows the mean ROC curves, with a dot for the threshold of each split. A threshold
# based on 89 tumors is not exact: the false positive rates vary around the nominal rate and are
# slightly higher on average. The right plot shows the tumors tested in the last split on the map.
# Malignant tumors are not spread over the whole map.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12.5, 5.8), width_ratios=[1, 1.2], layout="constrained"
)
for color, name in (("C0", "map"), ("C1", "IsolationForest"), ("C2", "LocalOutlierFactor")):
    left.plot(grid, np.mean(curves[name], axis=0), color=color, label=name)
    _, _, recalls, false_positive_rates, *_ = np.transpose(measures[name])
    left.plot(false_positive_rates, recalls, "o", color=color, markersize=4, alpha=0.5)
left.axvline(FALSE_POSITIVE_RATE, color="0.6", linestyle=":", zorder=0)
label = f"nominal rate: {FALSE_POSITIVE_RATE:.0%}"
left.text(FALSE_POSITIVE_RATE + 0.005, 0.02, label, color="0.4")
left.set(
    xlabel="False positive rate (benign tumors)",
    ylabel="True positive rate (malignant tumors)",
    title=f"Mean ROC curves of {N_SPLITS} splits, and thresholds (dots)",
    xlim=(0, 0.4),
    ylim=(0, 1.01),
)
left.legend(loc="lower right")
scaled = StandardScaler().fit(X[train]).transform(X)
som = TFSOM(anomaly_score="distance").fit(scaled[train])
threshold = np.quantile(-som.score_samples(scaled[validation]), 1 - FALSE_POSITIVE_RATE)
AnomalyMapDisplay.from_estimator(
    som, scaled[test], is_malignant[test], threshold=threshold, ax=right
)
_ = right.set_title(f"Tumors on the map; threshold {threshold:.1f}", fontsize="large")

# %%
# **When not to use a map:** if only a score is needed and all training data are normal.
# IsolationForest then has a slightly higher ROC AUC on these data, and does not require scaled
# features. In addition to a score, the map shows which anomalies are similar to each
# other, and which normal samples are similar to them.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "anomalies.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")
