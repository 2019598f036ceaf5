"""Kernels of the end of a token: the scale of its logits, and the choice of the next one."""

from ....hdl.spec.isa import Op, Reduce, To
from ...model.graph import Operation
from ...quant.static import logits_complete
from ..builder import Builder
from ..steps import IN_ORDER, Step, step


def scale(builder: Builder, classifier: Operation) -> Step:
    """Writes the scale of the logits to MEM: the scalar of the classifier's input, or 1 if that has none or the
    logits have been multiplied by it."""
    scalar = 0 if logits_complete(builder.graph) else builder.scalar
    return step(builder.vector_pass("logits' scale", 1, x=builder.layout.constants["one"], scalar=scalar,
                                    shift=builder.shifts["choice"], dst=builder.buffer["scale"]))


def choose(builder: Builder, operation: Operation) -> list[Step]:
    """Makes the token of the largest logit the next one; of equal logits, the first.

    Logits of one product are compared on their way into MEM. If several runs have made them, in
    chunks, a pass over all logits compares them.
    """
    config, layout, steps = builder.config, builder.layout, []
    if builder.place.streamed and layout.classifier_chunks > 1:
        steps.append(step(builder.vector_pass(
            "choice", config.beats_per_result, x=builder.buffer["logits"], to=To.NOWHERE, reduce=Reduce.ARGMAX,
            middle=layout.padded_results("classifier") // config.cols)))
    return [*steps, step(builder.op(Op.TOKEN, target=0), after=IN_ORDER)]
