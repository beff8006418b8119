# SPDX-License-Identifier: Apache-2.0
"""Whether a decoder can run a model at all."""

from golden_model.decoder_config import DecoderConfig
from golden_model.weights import DecoderWeights
from host.errors import UserError

__all__ = ["check_fits", "check_norms"]


def check_norms(weights: DecoderWeights) -> None:
    """Raise `UserError` if a model lacks the norms ahead of Wo and Wdown."""
    if not weights.sub_norms:
        raise UserError("the model has no norm ahead of Wo and Wdown, which the hardware always "
                        "computes; --backend cpu runs it")


def check_fits(weights: DecoderWeights, config: DecoderConfig) -> None:
    """Raise `UserError` if a model does not fit a decoder; the message names what and the limit."""
    check_norms(weights)
    shape, numerics = weights.shape, weights.numerics
    attention = config.attention.attention
    for name, value, limit, most in (
            ("hidden", shape.hidden, "max_hidden", config.max_hidden),
            ("ffn", shape.ffn, "max_ffn", config.max_ffn),
            ("vocab", shape.vocab, "max_vocab", config.max_vocab),
            ("heads", shape.heads, "attention.max_heads", attention.max_heads),
            ("head_dim", shape.head_dim, "attention.max_n", config.attention.max_n),
            ("layers * kv_heads", shape.layers * shape.kv_heads, "attention.streams",
             attention.streams)):
        if value > most:
            raise UserError(f"the model's {name} is {value}; the decoder takes at most {most} "
                            f"({limit})")
    for name, value, of in (("head_dim", shape.head_dim, config.lanes),
                            ("hidden", shape.hidden, config.lanes),
                            ("heads per KV head", shape.heads // shape.kv_heads,
                             attention.queries)):
        if value % of:
            raise UserError(f"the model's {name} is {value}, which must be a multiple of {of}")
    for name, built in (("act_format", ("fp4", "int4") if config.up_bits >= 5 else ("int4",)),
                        ("wo_format", ("int8",)), ("topk_block", (0,)), ("topk_key", ("code",)),
                        ("kv_code", ("midrise",)), ("kv_bits", (attention.code_bits,)),
                        ("bos_bits", (attention.bos_bits,))):
        value = getattr(numerics, name)
        if value not in built:
            raise UserError(f"the model's {name} is {value}; the decoder is built for "
                            f"{' or '.join(map(str, built))}")
