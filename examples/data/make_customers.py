"""Generate customers.csv, a synthetic data set of customers of a shop.

As in real data, the segments overlap, have unequal sizes and skewed features, and some values are
missing. The data do not describe real persons or a real market.

    python examples/data/make_customers.py
"""

from pathlib import Path

import numpy as np

N_CUSTOMERS = 900
CATEGORIES = ("food", "fashion", "home", "electronics")
HEADER = (
    "recency_days,orders_per_year,spend_per_year,tenure_months,share_returned,"
    + ",".join(f"share_{category}" for category in CATEGORIES)
    + ",segment"
)

# Share of all customers, then typical values: days since the last order, orders per year, money
# per order, months since the first order, share of returned orders, and the parameters of the
# Dirichlet distribution of the shares of the categories.
SEGMENTS = {
    "occasional": (0.36, 70, 3.0, 45, 30, 0.06, (3, 3, 3, 1.5)),
    "loyal": (0.20, 12, 16.0, 55, 60, 0.05, (9, 2, 3, 1)),
    "lapsed": (0.17, 330, 1.3, 40, 48, 0.07, (2, 3, 3, 2)),
    "returner": (0.13, 30, 9.0, 70, 26, 0.32, (1, 11, 2, 1)),
    "new": (0.09, 18, 2.5, 40, 3, 0.08, (3, 4, 2, 2)),
    "big ticket": (0.05, 90, 2.2, 480, 36, 0.10, (0.7, 0.7, 2, 12)),
}
SPREAD = {"recency": 0.55, "orders": 0.4, "basket": 0.35, "tenure": 0.45}
N_ORDERS = 25  # concentration of the beta distribution of the share of returned orders
SHARE_MISSING = {"tenure_months": 0.08, "share_returned": 0.04, "recency_days": 0.02}


def generate(rng):
    """Return the values of random customers, shape (n_customers, 9), and their segments."""
    names = list(SEGMENTS)
    segments = rng.choice(len(names), N_CUSTOMERS, p=[SEGMENTS[name][0] for name in names])
    typical = np.array([SEGMENTS[name][1:6] for name in names])[segments]
    recency, orders, basket, tenure = (
        typical[:, k] * rng.lognormal(sigma=sigma, size=N_CUSTOMERS)
        for k, sigma in enumerate(SPREAD.values())
    )
    returned = typical[:, 4] * N_ORDERS
    returned = rng.beta(returned, N_ORDERS - returned)
    concentrations = np.array([SEGMENTS[name][6] for name in names])[segments]
    shares = np.array([rng.dirichlet(each) for each in concentrations])
    values = np.column_stack([recency, orders, orders * basket, tenure, returned, shares])
    return values, np.array(names)[segments]


def main():
    """Write customers.csv."""
    rng = np.random.default_rng(0)
    values, segments = generate(rng)
    columns = HEADER.split(",")
    is_missing = np.zeros(values.shape, dtype=bool)
    for name, share in SHARE_MISSING.items():
        is_missing[:, columns.index(name)] = rng.random(N_CUSTOMERS) < share
    decimals = (0, 1, 0, 0, 2, 2, 2, 2, 2)
    lines = [HEADER]
    for row, row_is_missing, segment in zip(values, is_missing, segments, strict=True):
        cells = [
            "" if cell_is_missing else f"{value:.{n}f}"
            for value, cell_is_missing, n in zip(row, row_is_missing, decimals, strict=True)
        ]
        lines.append(",".join([*cells, segment]))
    Path(__file__).with_name("customers.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
