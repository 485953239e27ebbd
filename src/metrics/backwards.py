"""Data of a translation with sources and targets exchanged, to score what goes the other way."""

import torch

from src.data.base import DataModule, identity
from src.data.cache import fingerprint
from src.data.spec import DataSpec, Split, to_uint8

MOST = 10_000  # images of a split whose sources are made, evenly spaced
AT_ONCE = 500


class Backwards(DataModule):
    """A view of data that are set up: their sources are its samples. Nothing is trained on it.

    Sources that a degradation makes are made once, at most 10,000 of a split.

    Args:
        data: set up, with sources.
    """

    backwards = True

    def __init__(self, data: DataModule) -> None:
        own = data.spec
        source = DataSpec(own.kind, own.shape)
        spec = DataSpec(own.kind, own.source.shape, source=source, paired=own.paired)
        super().__init__(spec, data.batch_size, data.seed)
        self.data = data
        self.setup()

    def load(self) -> tuple[dict[str, Split], dict[str, object]]:
        data, splits = self.data, {}
        for name, (x, _) in data.splits.items():
            if name in data.sources:
                splits[name] = Split(data.sources[name])
                self.sources[name] = x
            else:
                n = min(len(x), MOST)
                index = torch.arange(n) * len(x) // n
                made = [to_uint8(data.source_of(name, part)) for part in index.split(AT_ONCE)]
                splits[name] = Split(torch.cat(made))
                self.sources[name] = x if n == len(x) else x[index]
        known = data.data_id
        own = identity(
            known.get("sources", known["name"]),
            known["source"],
            splits,
            fingerprint(known, "backwards"),
        )
        turned = {"sources": known["name"]} if "sources" in known else {}
        return splits, known | own | turned | {"direction": "backwards"}
