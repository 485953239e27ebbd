"""Convolutions whose gradient is differentiated again at the price of convolutions.

A penalty on a slope needs the gradient of grad_x D(x) with respect to D's weights. What torch has
for that (`_convolution_double_backward`) makes the weights' part a convolution with the batch as
channels, called once for each group. But a convolution y = C(x, w) is bilinear. With its adjoints

    X(g, w) = (dy/dx)' g          W(g, x) = (dy/dw)' g

for which libraries have kernels, the three are each other's derivatives, and no other is needed:

    of C:  x <- X(g, w)   w <- W(g, x)
    of X:  g <- C(h, w)   w <- W(g, h)
    of W:  g <- C(x, h)   x <- X(g, h)

The idea is `conv2d_gradfix`'s (the code of StyleGAN2-ADA, Karras et al. 2020). Here not the layers
are replaced but the function that they call, for the time of a `with` block.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
_adjoints = torch.ops.aten.convolution_backward


class SlopeConvolutions(TorchFunctionMode):
    """`with SlopeConvolutions():` compute logits and their slope; the loss is for after it.

    Within the block nobody asks for the gradient of weights, which would be computed all the same.

    Attributes:
        slopes_only: True if that is so now.
    """

    slopes_only = False

    def __enter__(self) -> "SlopeConvolutions":
        self.slopes_only = True
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self.slopes_only = False
        super().__exit__(*error)

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function not in CONVOLUTIONS:
            return function(*args, **(kwargs or {}))
        return self.convolve(function, *args, **(kwargs or {}))

    def convolve(
        self,
        function: Callable,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """Convolve as torch does; the arguments have torch's names."""
        n = weight.ndim - 2
        if isinstance(padding, str) or input.ndim != weight.ndim:
            return function(input, weight, bias, stride, padding, dilation, groups)
        sizes = [[v] * n if isinstance(v, int) else list(v) for v in (stride, padding, dilation)]
        y = _C.apply(input, weight, self, (*sizes, False, [0] * n, groups))
        return y if bias is None else y + bias.view(-1, *[1] * n)


class _C(Function):
    """C(x, w). `how` is aten's stride, padding, dilation, transposed, output_padding, groups."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, mode: SlopeConvolutions, how: tuple) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.rest = mode, how
        return torch.ops.aten.convolution(x, w, None, *how)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        (x, w), (mode, _) = ctx.saved_tensors, ctx.rest
        for_x = _X.apply(g, w, x, *ctx.rest) if ctx.needs_input_grad[0] else None
        weights = ctx.needs_input_grad[1] and not mode.slopes_only
        return for_x, _W.apply(g, x, w, *ctx.rest) if weights else None, None, None


class _X(Function):
    """X(g, w), of the shape of `like`."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, w: Tensor, like: Tensor, mode: SlopeConvolutions, how: tuple
    ) -> Tensor:
        ctx.save_for_backward(g, w)
        ctx.rest = mode, how
        return _adjoints(g, like, w, None, *how, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple:
        g, w = ctx.saved_tensors
        for_g = _C.apply(h, w, *ctx.rest) if ctx.needs_input_grad[0] else None
        for_w = _W.apply(g, h, w, *ctx.rest) if ctx.needs_input_grad[1] else None
        return for_g, for_w, None, None, None


class _W(Function):
    """W(g, x), of the shape of `like`."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, like: Tensor, mode: SlopeConvolutions, how: tuple
    ) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.rest = mode, how
        return _adjoints(g, x, like, None, *how, [False, True, False])[1]

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple:
        g, x = ctx.saved_tensors
        for_g = _C.apply(x, h, *ctx.rest) if ctx.needs_input_grad[0] else None
        for_x = _X.apply(g, h, x, *ctx.rest) if ctx.needs_input_grad[1] else None
        return for_g, for_x, None, None, None
