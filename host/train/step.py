# SPDX-License-Identifier: Apache-2.0
"""One optimiser step, as fast as the device allows.

The model is small enough that launching kernels would dominate on a GPU.  There the blocks are
compiled and the whole step (windows, forward, backward, clipping, AdamW) is captured as one CUDA
graph; if either fails, the step falls back to what works and says so.
"""

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional

from host.train.config import Recipe, Stage
from host.train.model import Decoder
from host.train.tokenizer import BOS

__all__ = ["TrainingStep", "build_optimizer"]

WARM_STEPS = 3
"""Steps ahead of a capture: they compile, and let the optimiser allocate its state."""

log = logging.getLogger(__name__)


def build_optimizer(model: Decoder, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with two groups: projections, which weight decay applies to, and everything else."""
    projections = [p for name, p in model.named_parameters() if name.endswith(".weight")]
    others = [p for name, p in model.named_parameters() if not name.endswith(".weight")]
    on_gpu = others[0].is_cuda
    lr = torch.tensor(0.0, device=others[0].device) if on_gpu else 0.0
    return torch.optim.AdamW(
        [{"params": projections}, {"params": others, "weight_decay": 0.0}], lr=lr,
        betas=(recipe.beta1, recipe.beta2), fused=on_gpu, capturable=on_gpu)


class TrainingStep:
    """Callable that trains on one batch within one stage.

    Parameters
    ----------
    model, optimizer
        Changed in place.
    text
        Token ids int64 [n] of the training split, on the model's device.
    recipe, stage
        What to train with.
    accelerate
        Compile and capture, on a CUDA device.
    """

    def __init__(self, model: Decoder, optimizer: torch.optim.AdamW, text: Tensor, recipe: Recipe,
                 stage: Stage, accelerate: bool = True):
        self.model, self.optimizer, self.recipe, self.stage = model, optimizer, recipe, stage
        self.text = text
        self.body = torch.arange(model.shape.context - 1, device=text.device)
        self.offsets = torch.zeros(recipe.batch, dtype=torch.int64, device=text.device)
        self.loss = torch.zeros((), device=text.device)
        self.noise_bits = stage.noise_bits if stage.noise_weight else 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm_steps = WARM_STEPS if accelerate and text.is_cuda else -1
        if self.warm_steps > 0:
            for block in model.layers:
                block.compile(dynamic=False)
        optimizer.param_groups[0]["weight_decay"] = stage.weight_decay

    def __call__(self, offsets: Tensor, lr: float) -> Tensor:
        """Train on the windows that start at `offsets` int64 [batch]; the loss, a scalar."""
        self.offsets.copy_(offsets, non_blocking=True)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        if self.graph is not None:
            self.graph.replay()
        elif self.warm_steps > 0:
            self._warm()
        elif self.warm_steps == 0:
            self._capture()
        else:
            self._train()
        return self.loss

    def _train(self) -> None:
        windows = self.text[self.offsets[:, None] + self.body]       # [batch, context - 1]
        tokens = functional.pad(windows, (1, 0), value=BOS)          # [batch, context]
        with torch.autocast(self.text.device.type, torch.bfloat16, enabled=self.text.is_cuda,
                            cache_enabled=False):
            logits, noise = self.model.logits_and_noise(
                tokens, self.stage.scheme, noise_bits=self.noise_bits)
        # [batch, context - 1, vocab]: nothing follows the last token.
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), windows.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        (loss + self.stage.noise_weight * noise).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.loss.copy_(loss.detach())

    def _warm(self) -> None:
        """One step on a side stream, as capturing wants; compiled unless that fails."""
        self.warm_steps -= 1
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            try:
                self._train()
            except RuntimeError as error:
                log.warning("training without torch.compile: %s", str(error)[:300])
                torch.compiler.set_stance("force_eager")
                self._train()
        torch.cuda.current_stream().wait_stream(side)

    def _capture(self) -> None:
        """Record the step, then run it; without a graph if it cannot be recorded."""
        self.warm_steps = -1
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with torch.cuda.graph(graph):
                self._train()
        except RuntimeError as error:
            log.warning("training without a CUDA graph: %s", str(error)[:300])
            self._train()
            return
        self.graph = graph
        graph.replay()
