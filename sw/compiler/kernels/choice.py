"""Kernels of the end of a token: the scale of its logits, and the choice of the next one."""

from ....hdl.spec.isa import Op, Reduce, To
from ...model.graph import Operation
from ..builder import Builder
from ..steps import IN_ORDER, Step, step


def scale(builder: Builder, classifier: Operation) -> Step:
    """The scale of the logits into MEM: the scalar of the classifier's input, or 1 if it has been applied already."""
    scalar = 0 if classifier.scaled else builder.scalar
    return step(builder.vector_pass("logits' scale", 1, x=builder.layout.constants["one"], scalar=scalar,
                                    shift=builder.shifts["choice"], dst=builder.buffer["scale"]))


def choose(builder: Builder, operation: Operation) -> list[Step]:
    """The first of the largest logits is the next token; logits that came in chunks are all gone through once more."""
    config, layout, steps = builder.config, builder.layout, []
    if builder.place.streamed and layout.classifier_chunks > 1:
        steps.append(step(builder.vector_pass(
            "choice", config.beats_per_result, x=builder.buffer["logits"], to=To.NOWHERE, reduce=Reduce.ARGMAX,
            middle=layout.padded_results("classifier") // config.cols)))
    return [*steps, step(builder.op(Op.TOKEN, target=0), after=IN_ORDER)]
