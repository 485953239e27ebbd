"""Networks: plain modules that know nothing of how they are trained."""
