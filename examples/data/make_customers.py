"""Draw the sample in customers.csv: invented customers of an invented shop.

No row stands for a person. The segments overlap, are of unequal size and skewed, and some values
are missing, as in a real table; what is found in it says nothing about any market.

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

# Share of all customers, then typical values: days since the last order, orders a year, money per
# order, months since the first order, share of orders sent back, and how many parts of the money
# go to each category.
SEGMENTS = {
    "occasional": (0.36, 70, 3.0, 45, 30, 0.06, (3, 3, 3, 1.5)),
    "loyal": (0.20, 12, 16.0, 55, 60, 0.05, (9, 2, 3, 1)),
    "lapsed": (0.17, 330, 1.3, 40, 48, 0.07, (2, 3, 3, 2)),
    "returner": (0.13, 30, 9.0, 70, 26, 0.32, (1, 11, 2, 1)),
    "new": (0.09, 18, 2.5, 40, 3, 0.08, (3, 4, 2, 2)),
    "big ticket": (0.05, 90, 2.2, 480, 36, 0.10, (0.7, 0.7, 2, 12)),
}
SPREAD = {"recency": 0.55, "orders": 0.4, "basket": 0.35, "tenure": 0.45}
N_ORDERS_LOOKED_AT = 25  # the more, the less the share of returns varies
SHARE_MISSING = {"tenure_months": 0.08, "share_returned": 0.04, "recency_days": 0.02}


def draw(rng):
    """Draw customers, in random order: their values (n, 9), and the names of their segments."""
    names = list(SEGMENTS)
    segments = rng.choice(len(names), N_CUSTOMERS, p=[SEGMENTS[name][0] for name in names])
    typical = np.array([SEGMENTS[name][1:6] for name in names])[segments]
    recency, orders, basket, tenure = (
        typical[:, k] * rng.lognormal(sigma=sigma, size=N_CUSTOMERS)
        for k, sigma in enumerate(SPREAD.values())
    )
    returned = typical[:, 4] * N_ORDERS_LOOKED_AT
    returned = rng.beta(returned, N_ORDERS_LOOKED_AT - returned)
    parts = np.array([SEGMENTS[name][6] for name in names])[segments]
    shares = np.array([rng.dirichlet(each) for each in parts])
    values = np.column_stack([recency, orders, orders * basket, tenure, returned, shares])
    return values, np.array(names)[segments]


def main():
    """Write the table."""
    rng = np.random.default_rng(0)
    values, segments = draw(rng)
    columns = HEADER.split(",")
    is_missing = np.zeros(values.shape, dtype=bool)
    for name, share in SHARE_MISSING.items():
        is_missing[:, columns.index(name)] = rng.random(N_CUSTOMERS) < share
    decimals = (0, 1, 0, 0, 2, 2, 2, 2, 2)
    lines = [HEADER]
    for row, gaps, segment in zip(values, is_missing, segments, strict=True):
        cells = [
            "" if gap else f"{value:.{n}f}"
            for value, gap, n in zip(row, gaps, decimals, strict=True)
        ]
        lines.append(",".join([*cells, segment]))
    Path(__file__).with_name("customers.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
