"""Quality measures of a fitted map, and scorers for model selection."""

from sklearn_tfsom.metrics._classes import (
    class_counts,
    class_entropy,
    class_scatter_index,
    neg_class_entropy_scorer,
    neg_class_scatter_index_scorer,
    normalized_mutual_information,
    normalized_mutual_information_scorer,
    purity,
    purity_scorer,
)
from sklearn_tfsom.metrics._clusters import separation_curve
from sklearn_tfsom.metrics._energy import (
    distortion,
    heskes_energy,
    neg_distortion_scorer,
    neg_heskes_energy_scorer,
)
from sklearn_tfsom.metrics._pairs import (
    c_measure,
    c_measure_scorer,
    kruskal_shepard_error,
    neg_kruskal_shepard_error_scorer,
    neighborhood_preservation,
    neighborhood_preservation_scorer,
    trustworthiness,
    trustworthiness_scorer,
)
from sklearn_tfsom.metrics._quantization import (
    explained_variance,
    explained_variance_scorer,
    log_likelihood,
    log_likelihood_scorer,
    neg_quantization_error_scorer,
    quantization_error,
)
from sklearn_tfsom.metrics._topology import (
    combined_error,
    neg_absolute_topographic_product_scorer,
    neg_combined_error_scorer,
    neg_topographic_error_scorer,
    topographic_error,
    topographic_function,
    topographic_product,
)
from sklearn_tfsom.metrics._units import hit_histogram, u_matrix

__all__ = [
    "c_measure",
    "c_measure_scorer",
    "class_counts",
    "class_entropy",
    "class_scatter_index",
    "combined_error",
    "distortion",
    "explained_variance",
    "explained_variance_scorer",
    "heskes_energy",
    "hit_histogram",
    "kruskal_shepard_error",
    "log_likelihood",
    "log_likelihood_scorer",
    "neg_absolute_topographic_product_scorer",
    "neg_class_entropy_scorer",
    "neg_class_scatter_index_scorer",
    "neg_combined_error_scorer",
    "neg_distortion_scorer",
    "neg_heskes_energy_scorer",
    "neg_kruskal_shepard_error_scorer",
    "neg_quantization_error_scorer",
    "neg_topographic_error_scorer",
    "neighborhood_preservation",
    "neighborhood_preservation_scorer",
    "normalized_mutual_information",
    "normalized_mutual_information_scorer",
    "purity",
    "purity_scorer",
    "quantization_error",
    "separation_curve",
    "topographic_error",
    "topographic_function",
    "topographic_product",
    "trustworthiness",
    "trustworthiness_scorer",
    "u_matrix",
]
