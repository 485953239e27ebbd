"""Self-attention over the positions of an image (SAGAN: Zhang et al. 2019, sec. 3).

    out = x + gamma * W_o softmax(q^T k) v,      q = W_q x,  k = W_k x,  v = W_v x

Convolutions see a neighbourhood, attention lets every position see all others. gamma starts at 0,
so that a network begins without it. Keys and values are max-pooled to half the size, as in the
authors' code (google/self-attention-gan, non_local.py): a quarter as many to look at.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """x (n, c, h, w) to the same shape; queries and keys have c/8 channels, values c/2.

    Args:
        channels: c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys, values = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, keys, 1, bias=False)
        self.key = nn.Conv2d(channels, keys, 1, bias=False)
        self.value = nn.Conv2d(channels, values, 1, bias=False)
        self.out = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        q = self.query(x).flatten(2)
        k, v = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        # Written out: the fused kernels have no second derivative, which gradient penalties need.
        weights = (q.mT @ k).float().softmax(-1).to(v.dtype)
        seen = (v @ weights.mT).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)
