"""Which samples stand in a row."""

import torch

from src.models.walks import traversal


def test_a_single_class_is_traversed() -> None:
    """A conditional model's rows are of the class asked for, or of the first one."""

    class Conditional:
        conditional, device, reconstruct = True, torch.device("cpu"), print

        def latents(self, n: int, seed: int) -> torch.Tensor:
            return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))

        def decode(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return z * torch.tensor([1.0, 0.0, 3.0, 2.0]) + labels[:, None]

    for labels, expected in ((None, 0), (torch.full((3,), 7), 7)):
        x, columns = traversal(Conditional(), 3, 0, labels)
        assert columns == 10
        rows = x.view(3, 10, 4) - expected
        assert [int(row.var(0).argmax()) for row in rows] == [2, 3, 0]
        assert rows[:, :, 1].eq(0).all()
