# SPDX-License-Identifier: Apache-2.0
"""What a traced graph is rewritten to: the same answers from fewer and plainer operators.

torch.onnx's own step of this kind leaves tables that only depend on weights and sizes to be
computed at every answer, and compares each pair of Slice nodes of a network, which takes a quarter
of an hour where windows are cut by hundreds of them.
"""

from __future__ import annotations

from typing import Final

from onnxscript import ir
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewriteRule, rewrite
from onnxscript.rewriter.rules import common as rules

from depth_core.export.constants import fold_large_constants

RULES: Final[tuple[RewriteRule, ...]] = (
    rules.mul_by_1_rule,
    rules.add_0_rule,
    rules.sub_0_rule,
    rules.div_by_1_rule,
    rules.two_reshapes_matmul_reshape_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule,
    rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.min_min_rule,
    rules.max_max_rule,
    rules.min_max_rule,
    rules.max_min_rule,
    rules.successive_clip_relu_rule,
    rules.successive_relu_clip_rule,
    rules.successive_relu_rule,
    rules.successive_clip_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.flatten_to_reshape_rule,
    rules.reshape_reshape_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.no_op_static_scatter_nd_rule,
    rules.no_op_dynamic_scatter_nd_rule,
    rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_gemm_rule,
)
"""All of the rules torch.onnx applies that look at one place of a graph; the order counts."""

_ROUNDS: Final = 2
"""A rule may make room for another; none of our networks gains by a third round."""


def simplify(model: ir.Model) -> None:
    """Rewrite `model` in place."""
    _remove_stated_defaults(model)
    ir.passes.common.InlinePass()(model)
    _measure_after_casts(model.graph)
    for _ in range(_ROUNDS):
        fold_constants(model, onnx_shape_inference=True)
        rewrite(model, RULES)
    ir.passes.common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    fold_large_constants(model.graph)
    for clean in (
        ir.passes.common.RemoveUnusedNodesPass(),
        ir.passes.common.RemoveUnusedOpsetsPass(),
        ir.passes.common.DeduplicateInitializersPass(),
        ir.passes.common.CommonSubexpressionEliminationPass(),
        ir.passes.common.OutputFixPass(),
        ir.passes.common.NameFixPass(),
        ir.passes.common.ClearMetadataAndDocStringPass(),
    ):
        clean(model)


def _remove_stated_defaults(model: ir.Model) -> None:
    """Drop a reduction of `none`, which TensorRT 10.0 to 10.8 refuse though it says nothing."""
    for node in model.graph.all_nodes():
        stated = node.attributes.get('reduction')
        if node.op_type == 'ScatterND' and stated is not None and stated.value == 'none':
            del node.attributes['reduction']


def _measure_after_casts(graph: ir.Graph) -> None:
    """Take the sizes of an input from its cast: TensorRT does nothing else with uint8."""
    for given in graph.inputs:
        casts = [node for node in given.consumers() if node.op_type == 'Cast']
        for node in tuple(given.consumers()):
            if node.op_type in {'Shape', 'Size'} and casts:
                node.replace_input_with(0, casts[0].outputs[0])
    graph.sort()
