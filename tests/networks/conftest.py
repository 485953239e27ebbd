"""Feature networks are tested with the data and weights of the metrics that use them."""

from tests.metrics.conftest import digit_data, digit_splits, random_inception, real_mnist

__all__ = ["digit_data", "digit_splits", "random_inception", "real_mnist"]
